"""Follows the tables: every change goes into the caches and puts keys on the queue.

One loop per table. Nothing is decided here and no change is kept for later: the key is enough,
because whoever takes it reads the row anew. A change that is only the echo of what this engine has
written puts no key. Until every table has been listed in full once, nothing is reconciled at all.
Started by engine/active.py under the supervisor.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Hashable
from typing import Any

from db.changefeed import Changed, Listed, Lost, Removed, Synced, follow
from db.connection import Database
from db.logs import get_logger
from engine.cache import DomainChange, Domains, Rows
from engine.supervisor import Beat
from engine.task_cache import Tasks
from engine.workqueue import Key, Topics, WorkQueue

log = get_logger(__name__)

LISTED_SPREAD_S = 5.0
"""Rows found at the start are looked at within this time, so new wishes need not wait for them."""

DOMAIN_FIELDS = (
    "id",
    "kind",
    "name",
    "origin",
    "spec",
    "placement",
    "desired",
    "restart_on_failure",
    "user",
    "group",
    "category",
)
OBSERVED_FIELDS = (
    "state",
    "hypervisor",
    "reason",
    "message",
    "epoch",
    "failure",
    "activity",
    "for",
    "queue",
)


class Watcher:
    """The caches and what keeps them true."""

    def __init__(self, database: Database, queue: WorkQueue, topics: Topics) -> None:
        self._database, self._queue, self._topics = database, queue, topics
        self.domains = Domains()
        self.hypervisors = Rows()
        self.pools = Rows()
        self.interfaces = Rows()
        self.interests = Rows()
        self.marks = Rows()
        self.enrolments = Rows()
        self.media = Rows()
        self.tasks = Tasks()
        self._synced: dict[str, threading.Event] = {table: threading.Event() for table in TABLES}

    def loops(self) -> dict[str, Callable[[Beat], None]]:
        return {f"feed-{table}": self._loop(table) for table in TABLES}

    def wait_synced(self, timeout_s: float) -> bool:
        """True once every table has been listed in full."""
        return all(event.wait(timeout_s) for event in self._synced.values())

    def balancer_of(self, pool: str) -> str:
        row = self.pools.get(pool)
        return str(row.get("balancer") if row else None)

    def _loop(self, table: str) -> Callable[[Beat], None]:
        def run(beat: Beat) -> None:
            select = SELECTIONS.get(table)
            for event in follow(
                self._database,
                table,
                stopped=beat.stopping,
                select=select,
                heartbeat_s=1.0,
                on_beat=beat.beat,
            ):
                match event:
                    case Listed(row) | Changed(row):
                        self._keep(table, row, isinstance(event, Listed))
                    case Removed(row_id):
                        TABLES[table][1](self, row_id)
                    case Synced():
                        self._synced[table].set()
                    case Lost(message):
                        log.warning("feed_broke", table=table, error=message)

        return run

    def _keep(self, table: str, row: dict[str, Any], listed: bool) -> None:
        """A row that cannot be kept is passed over: no other is to wait for it, as a loop that
        broke upon it would meet it again at the next listing.
        """
        if not isinstance(row["id"], Hashable):
            log.error("row_with_impossible_id", table=table, id=repr(row["id"]))
            return
        try:
            TABLES[table][0](self, row, listed)
        except Exception:
            log.exception("row_not_kept", table=table, id=repr(row["id"]))

    def _put_domain(self, row: dict[str, Any], listed: bool) -> None:
        change = self.domains.put(row)
        key = Key("domain", row["id"])
        if listed and is_quiet(row):
            self._queue.add_after(key, random.uniform(0, LISTED_SPREAD_S))  # noqa: S311
        elif not change.ours:
            self._queue.add(key)
        if not listed:
            self._look_at_tasks(row["id"])
        self.announce(change)

    def _look_at_tasks(self, domain_id: Hashable) -> None:
        """Work on its disks may have waited for just this."""
        for task_id in self.tasks.open_on(domain_id):
            self._queue.add(Key("task", task_id))

    def _put_task(self, row: dict[str, Any], listed: bool) -> None:
        before = self.tasks.get(row["id"])
        self.tasks.put(row)
        if before is None or _without_observed(before) != _without_observed(row):
            self._queue.add(Key("task", row["id"]))

    def _remove_task(self, row_id: Hashable) -> None:
        self.tasks.remove(row_id)
        self._queue.add(Key("task", row_id))

    def _remove_domain(self, row_id: Hashable) -> None:
        change = self.domains.remove(row_id)
        self._queue.add(Key("domain", row_id))
        self._look_at_tasks(row_id)
        self.announce(change)

    def announce(self, change: DomainChange) -> None:
        """Wake what waits for this domain: those built upon it, what it is built upon, and those
        that wait for room.
        """
        digest = change.after or change.before
        if digest is None:
            return
        self._topics.fire(f"parent/{digest.id}")
        if change.after is None and digest.template:
            self._topics.fire(f"children/{digest.template}")
        if change.frees_room:
            self._topics.fire("room")

    def _put_hypervisor(self, row: dict[str, Any], listed: bool) -> None:
        before = self.hypervisors.get(row["id"])
        self.hypervisors.put(row)
        if before is None or _without_observed(before) != _without_observed(row):
            self._queue.add(Key("hypervisor", row["id"]))
            if listed or self.enrolments.get(row["id"]) is not None:
                self._queue.add(Key("enrolment", row["id"]))
            self._topics.fire("room")

    def _remove_hypervisor(self, row_id: Hashable) -> None:
        self.hypervisors.remove(row_id)
        self._queue.add(Key("hypervisor", row_id))

    def _put_enrolment(self, row: dict[str, Any], listed: bool) -> None:
        self.enrolments.put(row)
        self._queue.add(Key("enrolment", row["id"]))

    def _remove_enrolment(self, row_id: Hashable) -> None:
        self.enrolments.remove(row_id)
        self._queue.add(Key("enrolment", row_id))

    def _put_media(self, row: dict[str, Any], listed: bool) -> None:
        before = self.media.get(row["id"])
        self.media.put(row)
        key = Key("media", row["id"])
        if listed and is_quiet(row):
            self._queue.add_after(key, random.uniform(0, LISTED_SPREAD_S))  # noqa: S311
        elif before is None or _without_observed(before) != _without_observed(row):
            self._queue.add(key)
        if before is None or _state_of(before) != _state_of(row):
            self._topics.fire(f"media/{row['id']}")

    def _remove_media(self, row_id: Hashable) -> None:
        self.media.remove(row_id)
        self._queue.add(Key("media", row_id))
        self._topics.fire(f"media/{row_id}")

    def _put_pool(self, row: dict[str, Any], listed: bool) -> None:
        before = self.pools.get(row["id"])
        self.pools.put(row)
        if before is not None and _without_observed(before) == _without_observed(row):
            return
        self._queue.add(Key("pool", row["id"]))
        self._topics.fire("room")
        self._topics.fire("disk-host")
        for hypervisor in self.hypervisors.all():
            self._queue.add(Key("hypervisor", hypervisor["id"]))

    def _put_orphan(self, row: dict[str, Any], listed: bool) -> None:
        if row.get("desired"):
            self._queue.add(Key("orphan", row["id"]))

    def _remove_orphan(self, row_id: Hashable) -> None:
        """Nothing is kept of them here."""

    def _put_interface(self, row: dict[str, Any], listed: bool) -> None:
        self.interfaces.put(row)
        self._topics.fire("room")

    def _remove_pool(self, row_id: Hashable) -> None:
        self.pools.remove(row_id)
        self._topics.fire("room")
        self._topics.fire("disk-host")
        for hypervisor in self.hypervisors.all():
            self._queue.add(Key("hypervisor", hypervisor["id"]))


def is_quiet(row: dict[str, Any]) -> bool:
    """True where the last wish was finished, as far as the row says: it can wait a little."""
    observed, desired = row.get("observed"), row.get("desired")
    if not isinstance(observed, dict) or not isinstance(desired, dict):
        return False
    done = observed.get("for")
    if not isinstance(done, dict) or observed.get("activity"):
        return False
    return (done.get("state"), done.get("at")) == (desired.get("state"), desired.get("at"))


def _without_observed(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "observed"}


def _state_of(row: dict[str, Any]) -> Any:
    observed = row.get("observed")
    return observed.get("state") if isinstance(observed, dict) else None


def _put_simply(name: str) -> Callable[[Watcher, dict[str, Any], bool], None]:
    def put(watcher: Watcher, row: dict[str, Any], listed: bool) -> None:
        getattr(watcher, name).put(row)

    return put


def _remove_simply(name: str) -> Callable[[Watcher, Hashable], None]:
    def remove(watcher: Watcher, row_id: Hashable) -> None:
        getattr(watcher, name).remove(row_id)

    return remove


TABLES: dict[
    str,
    tuple[Callable[[Watcher, dict[str, Any], bool], None], Callable[[Watcher, Hashable], None]],
] = {
    "domains": (Watcher._put_domain, Watcher._remove_domain),
    "hypervisors": (Watcher._put_hypervisor, Watcher._remove_hypervisor),
    "hypervisors_pools": (Watcher._put_pool, Watcher._remove_pool),
    "enrolments": (Watcher._put_enrolment, Watcher._remove_enrolment),
    "media": (Watcher._put_media, Watcher._remove_media),
    "interfaces": (Watcher._put_interface, _remove_simply("interfaces")),
    "interests": (_put_simply("interests"), _remove_simply("interests")),
    "orphans": (Watcher._put_orphan, Watcher._remove_orphan),
    "storage_marks": (_put_simply("marks"), _remove_simply("marks")),
    "tasks": (Watcher._put_task, Watcher._remove_task),
}
"""table -> (what a row does, what its removal does)"""

SELECTIONS: dict[str, Callable[[Any], Any]] = {
    "domains": lambda table: table.pluck(
        *DOMAIN_FIELDS, {"observed": dict.fromkeys(OBSERVED_FIELDS, True)}
    ),
}
