"""What every kind of work on disks needs: the target, a host that works on its disks, the disks
held, and the ledger written.

A record of the ledger says what is about to happen to its file before it does:

    replacing {token, task}   a finished copy takes the disk's place: goes forward
    moving {to, task}         a copy is being made elsewhere: goes back, the copy is removed
    rebasing {to, task}       the copy is whole, and those built upon the disk are being told of it:
                              goes forward, as either file serves them until all have been told
    moved_from path           the copy is the disk now: goes forward, the old file is removed

so task_settle.py can finish or undo it whoever comes next. Used by the task reconcilers.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from db import observed as door
from db import queries
from db.sentences import counted
from db.states import Observed, Reason
from db.taskcheck import Args, Order
from engine.disk_locks import Held
from engine.errors import EngineError, Terminal
from engine.executor import task_lane
from engine.reconcilers import Context, Elsewhere
from engine.reconcilers.disk_places import (
    DiskSite,
    all_paths,
    find_work_site,
    prove_storage,
)
from engine.reconcilers.domain_reading import Reading, read
from engine.reconcilers.task_progress import Progress
from engine.sight import is_wished_away, observed_of, recorded_host
from engine.storage.paths import check_disk_path, split_disk_path
from engine.storage.work import DiskWork, Watch

A = TypeVar("A", bound=Args)

DEFECTS: tuple[type[Exception], ...] = (ValueError, TypeError, LookupError, AttributeError)
"""What a row that nobody foresaw makes of the engine's own steps. A database that is away, and a
newer engine, are none of these.
"""
TASKS_AT_ONCE = 2
"""On one host. Its lane has more workers, so that those that wait do not stand in it."""


class Waiting(Exception):
    """Something else has to change first; one of the topics, or the target's row, tells."""

    def __init__(self, reason: Reason, message: str, topics: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reason, self.message, self.topics = reason, message, topics


FAILURES: tuple[type[Exception], ...] = (EngineError, Waiting, Held, *DEFECTS)
"""What ends a try; after these nothing of it is left behind."""


@dataclass(frozen=True)
class Result:
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Slots:
    """So many tasks at once on each host; the others wait where they can be cancelled, not in the
    lane.
    """

    def __init__(self, fire: Callable[[str], None]) -> None:
        self._fire = fire
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    @contextmanager
    def take(self, host: str) -> Iterator[None]:
        """Raises Waiting where none is free."""
        with self._lock:
            if self._taken[host] >= TASKS_AT_ONCE:
                raise Waiting(
                    Reason.WAITING_ITS_TURN,
                    f"{TASKS_AT_ONCE} other tasks run on {host}: it begins when one ends.",
                    (f"task-slot/{host}",),
                )
            self._taken[host] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[host] -= 1
            self._fire(f"task-slot/{host}")


class Job:
    """One order being carried out."""

    def __init__(
        self, context: Context, order: Order, lane: str, progress: Progress, slots: Slots
    ) -> None:
        self.c, self.order, self.lane = context, order, lane
        self.progress, self.slots = progress, slots

    def args(self, model: type[A]) -> A:
        """The order's arguments, which are of this kind's model."""
        if not isinstance(self.order.args, model):
            raise TypeError(f"{self.order.kind} has other arguments than {model.__name__}")
        return self.order.args

    @property
    def watch(self) -> Watch:
        return Watch(self.progress.hear, self.is_stopped)

    def is_stopped(self) -> bool:
        """It was cancelled, or its row is gone."""
        row = self.c.watcher.tasks.get(self.order.id)
        desired = row.get("desired") if row else None
        return row is None or (isinstance(desired, Mapping) and desired.get("state") == "cancelled")

    def read_target(self) -> Reading:
        reading = read(self.c, self.order.target)
        if reading is None:
            raise Terminal(
                Reason.TARGET_GONE, "What it is to work on is not there (any more).", step="target"
            )
        if is_wished_away(reading.row) or any(
            record.get("state") == "deleting" for record in reading.records
        ):
            raise Terminal(Reason.TARGET_GONE, "What it is to work on is being deleted.")
        return reading

    def require_turn(self, domain_id: str) -> None:
        """One task at a time for a domain, the begun one first."""
        other = self.c.watcher.tasks.running_on(domain_id, but=self.order.id)
        if other is not None:
            raise Waiting(
                Reason.WORKED_ON,
                f"Another task works on its disks ({other.get('kind')}).",
                (f"task/{domain_id}",),
            )

    def require_site(self, reading: Reading, also: Iterable[str] = ()) -> DiskSite:
        """A host for all of its disks, once we are in its lane for tasks. Raises Elsewhere."""
        site, problem = find_work_site(self.c, reading.row, reading.records, also)
        if site is None:
            raise Waiting(Reason.NO_DISK_HOST, problem or "It has no disks.", ("disk-host",))
        if self.lane != task_lane(site.unit.id):
            raise Elsewhere(task_lane(site.unit.id))
        self.progress.host = site.unit.id
        return site

    def work_on(self, site: DiskSite) -> DiskWork:
        return DiskWork(site.unit.ssh, self.c.installation)

    def place_of(self, reading: Reading, record: Mapping[str, Any], path: Any = None) -> str:
        """The record's path (or another that it names), proved to be this domain's own and inside
        the pool.
        """
        pool = self.c.watcher.pools.get(record.get("pool") or "default")
        text = str(record.get("path") if path is None else path)
        return check_disk_path(text, reading.id, all_paths(pool)).path

    def prove(self, site: DiskSite, paths: Iterable[str]) -> None:
        for pool_path in sorted({split_disk_path(path).pool_path for path in paths}):
            prove_storage(self.c, DiskSite(site.pool, pool_path, site.unit), make=False)

    def record(self, record: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
        """Write a record of the ledger. A change to None takes the key out."""
        return self.record_all([record], **changes)[0]

    def record_all(
        self, records: Iterable[Mapping[str, Any]], **changes: Any
    ) -> list[dict[str, Any]]:
        """Several, with the same changes, in one round trip."""
        self.c.lease.check()
        values = [{**record, **changes, "at": self.c.now()} for record in records]
        for value in values:
            for key in ("replacing", "moving", "rebasing", "moved_from", "task"):
                if value.get(key) is None:
                    value.pop(key, None)
        door.write_ledger(self.c.database, values, (), epoch=self.c.lease.epoch)
        return values

    @contextmanager
    def holding(self, own: str, *shared: str) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.c.disk_locks.hold(own, dict.fromkeys(shared)))
            yield


def chain_of(reading: Reading) -> list[str]:
    """The domains that its disks are based on, as the ledger knows them."""
    backings = [str(record["backing"]) for record in reading.records if record.get("backing")]
    return [split_disk_path(path).domain_id for path in backings]


def require_stopped(context: Context, reading: Reading) -> None:
    """Raises Waiting. What is seen and what is recorded both count; the disks are held, so it
    cannot start after this look.
    """
    if reading.making is not None or reading.templating is not None:
        desktop = (reading.making or reading.templating or {}).get("desktop")
        raise Waiting(
            Reason.MAKING_TEMPLATE,
            "A template is being made: the work begins once that is done.",
            (f"making/{desktop}",),
        )
    observed = observed_of(reading.row)
    host = recorded_host(observed, reading.last_host)
    hosts = [host] if host else [unit.id for unit in context.units.seen(reading.id)]
    name = reading.row.get("name")
    if hosts:
        raise Waiting(
            Reason.NOT_STOPPED,
            f"{name!r} is in use on {hosts[0]}: the work begins once it is stopped.",
        )
    if reading.making or reading.templating:
        raise Waiting(
            Reason.WORKED_ON,
            f"A template is being made of (or as) {name!r}: the work begins when it is done.",
            (f"making/{reading.id}",),
        )
    ready = reading.made and len(reading.made) == len(reading.records)
    if not ready or observed.get("state") == Observed.ABSENT:
        raise Waiting(Reason.PARENT_NOT_READY, f"The disks of {name!r} are not made yet.")


def running_below(job: Job, domain_id: str) -> list[str]:
    """Those that have this domain's disks open through their own, as seen or as recorded."""
    below = queries.list_descendants(job.c.database, domain_id)
    return [
        str(row["id"])
        for row in below
        if recorded_host(observed_of(row), None) or job.c.units.seen(row["id"])
    ]


def require_stopped_below(job: Job, domain_id: str) -> None:
    """Raises Waiting. A guest keeps the file it opened: over NFS it would vanish under it."""
    running = running_below(job, domain_id)
    if running:
        raise Waiting(
            Reason.NOT_STOPPED,
            f"{counted(len(running), 'desktop built upon it is', 'desktops built upon it are')} "
            "running: it begins once none does.",
            tuple(f"parent/{key}" for key in running),
        )


@contextmanager
def stopped_below(job: Job, domain_id: str) -> Iterator[None]:
    """None of those built upon it runs, nor starts meanwhile. Raises Waiting."""
    below = queries.list_descendants(job.c.database, domain_id)
    with job.holding(f"below/{domain_id}", *(str(row["id"]) for row in below)):
        require_stopped_below(job, domain_id)
        yield


def count_children(job: Job, reading: Reading) -> int:
    return len(queries.list_children(job.c.database, reading.id))
