"""The kinds of work on the disks of one domain, each from checks to the last record of the ledger.

Every kind looks first, does what it can in a file of its own, compares that with the disk, writes
down what it is about to do, and only then puts it in place; so until the last moment the disk is as
it was, and done again each finds what is done. Called by engine/reconcilers/task.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from db.sentences import counted
from db.states import Kind, Reason, TaskKind
from db.taskcheck import ConvertArgs, MoveArgs, ResizeArgs, VerifyArgs
from engine.errors import HostLost, Terminal, Transient
from engine.reconcilers.disk_places import DiskSite, all_paths, prove_storage
from engine.reconcilers.domain_reading import Reading
from engine.reconcilers.task_job import (
    FAILURES,
    Job,
    Result,
    Waiting,
    chain_of,
    count_children,
    require_stopped,
    require_stopped_below,
    stopped_below,
)
from engine.reconcilers.task_rebase import (
    finish_rebase,
    paths_upon,
    rebase_paths,
    require_based,
    require_ready_below,
)
from engine.reconcilers.task_settle import settle_records
from engine.storage.paths import USE_OF_KIND, place_disk, split_disk_path
from engine.storage.qemu_img import GIB, ImageFacts, Rewrite, to_bytes
from engine.storage.work import DiskWork

ROOM_TO_SPARE = 16 * 1024 * 1024
"""Free bytes a copy leaves behind, beyond what it may take."""
COPY_SHARE = 60.0
"""Percent of the time that the copy takes; comparing takes the rest."""


@dataclass(frozen=True)
class Bench:
    """A domain whose disks are held, on a host that works on them."""

    reading: Reading
    site: DiskSite
    work: DiskWork


@contextmanager
def at_work(
    job: Job, also: tuple[str, ...] = (), *, alone: bool = True, own: str = ""
) -> Iterator[Bench]:
    """The target stopped, its disks held, the row shown as running, and what an earlier try left
    settled. `alone`: the disks are written; otherwise others may read them too, and `own` is what
    is held alone. What fails within is settled before it is told.
    """
    job.require_turn(job.order.target)
    reading = job.read_target()
    require_stopped(job.c, reading)
    unfinished = rebase_paths(job, reading)
    # Nothing may be built upon a disk while those built upon it are told where it lies now.
    alone = alone or bool(unfinished)
    site = job.require_site(reading, (*also, *unfinished))
    own, shared = (reading.id, ()) if alone else (own or job.order.id, (reading.id,))
    held = job.holding(own, *shared, *chain_of(reading))
    with job.slots.take(site.unit.id), held:
        reading = job.read_target()
        require_stopped(job.c, reading)
        job.c.lease.check()
        job.progress.begin("storage")
        work = job.work_on(site)
        settle_records(job, reading, work, site)
        bench = Bench(reading, site, work)
        try:
            yield bench
        except FAILURES as error:
            if not isinstance(error, HostLost):
                _clean_up(job, bench)
            raise


def _clean_up(job: Job, bench: Bench) -> None:
    """Nothing of a try that failed is left: the disks are as the ledger has them."""
    again = job.read_target()
    settle_records(job, again, bench.work, bench.site)
    for record in again.records:
        bench.work.discard(job.place_of(again, record))


def chosen(reading: Reading, disk: str | None) -> list[dict[str, Any]]:
    """The disk of that id, or all."""
    if disk is None:
        return reading.records
    found = [record for record in reading.records if record.get("disk") == disk]
    if not found:
        raise Terminal(Reason.INVALID_ROW, f"It has no disk {disk!r}.", step="args.disk")
    return found


def require_childless(job: Job, reading: Reading) -> None:
    children = count_children(job, reading)
    if children:
        raise Terminal(
            Reason.IN_USE,
            f"{counted(children, 'desktop is', 'desktops are')} built upon it, which this would "
            "break. Nothing was changed.",
            step="children",
        )


def read_chain(job: Job, bench: Bench, record: Mapping[str, Any]) -> list[ImageFacts]:
    """The disk and what it is based on; refused where that is not what the ledger says, or not
    ours.
    """
    path = job.place_of(bench.reading, record)
    chain = bench.work.look_chain(path)
    pool = all_paths(job.c.watcher.pools.get(bench.site.pool))
    for facts in chain:
        if split_disk_path(facts.path).pool_path not in pool:
            raise Terminal(
                Reason.DISK_FAILED,
                f"The disk is based on {facts.path}, which is outside the pool. "
                "Nothing was changed.",
                step="chain",
            )
    if chain[0].backing != record.get("backing"):
        raise Terminal(
            Reason.DISK_FAILED,
            f"The disk is based on {chain[0].backing or 'nothing'}, and the ledger says "
            f"{record.get('backing') or 'nothing'}. Nothing was changed.",
            step="chain",
        )
    return chain


def resize(job: Job) -> Result:
    args = job.args(ResizeArgs)
    with at_work(job) as bench:
        require_childless(job, bench.reading)
        records = chosen(bench.reading, args.disk)
        record = records[0]
        job.progress.begin("resize")
        facts = bench.work.resize(job.place_of(bench.reading, record), to_bytes(args.size_gib))
        job.record(record, size=facts.virtual_size)
        gib = facts.virtual_size / GIB
        return Result(
            f"The disk has {gib:g} GiB now. The system inside must be told to use them.",
            {"disks": [{"id": record["disk"], "size": facts.virtual_size}]},
        )


def convert(job: Job) -> Result:
    args = job.args(ConvertArgs)

    def how(facts: ImageFacts) -> Rewrite:
        if facts.backing is not None and args.preallocation != "off":
            raise Terminal(
                Reason.INVALID_ROW,
                "A disk that is based on a template cannot be preallocated: make it independent "
                "first (flatten).",
                step="args.preallocation",
            )
        return Rewrite(facts.backing, args.compress, args.preallocation)

    return _rewrite(job, args.disk, how)


def sparsify(job: Job) -> Result:
    return _rewrite(job, _disk(job), lambda facts: Rewrite(facts.backing))


def flatten(job: Job) -> Result:
    return _rewrite(job, _disk(job), lambda facts: None if facts.backing is None else Rewrite(None))


def _disk(job: Job) -> str | None:
    return getattr(job.order.args, "disk", None)


def _rewrite(job: Job, disk: str | None, how_of: Callable[[ImageFacts], Rewrite | None]) -> Result:
    """Disks written anew in place. `how_of` says how, or None where there is nothing to do."""
    require_stopped_below(job, job.order.target)
    with at_work(job) as bench:
        records = chosen(bench.reading, disk)
        chains = [read_chain(job, bench, record) for record in records]
        hows = [how_of(chain[0]) for chain in chains]
        told = []
        for at, (record, chain, how) in enumerate(zip(records, chains, hows, strict=True)):
            before = chain[0].actual_size
            after = before
            if how is not None:
                after = _rewrite_one(job, bench, record, chain, how, at, len(records))
            told.append({"id": record["disk"], "before": before, "after": after})
        before, after = (sum(disk[key] for disk in told) for key in ("before", "after"))
        return Result(
            f"Its disks take {_size(after)} now; it was {_size(before)}.", {"disks": told}
        )


def _rewrite_one(
    job: Job,
    bench: Bench,
    record: dict[str, Any],
    chain: list[ImageFacts],
    how: Rewrite,
    at: int,
    count: int,
) -> int:
    path, work = str(record["path"]), bench.work
    flat = how.backing is None and chain[0].backing is not None
    need = work.measure(path, flat=flat)
    if how.preallocation in ("falloc", "full"):
        need = max(need, chain[0].virtual_size)
    source = sum(facts.actual_size for facts in (chain if flat else chain[:1]))
    whole = 100.0 / count
    job.progress.begin("copy", whole * at, whole * COPY_SHARE / 100, source)
    token = work.copy(path, path, how, need + ROOM_TO_SPARE, job.watch)
    job.progress.begin("compare", whole * (at + COPY_SHARE / 100), whole * (1 - COPY_SHARE / 100))
    work.require_same(path, path, token, job.watch)
    # Those built upon it can start while the copy is made, and not while it takes its place.
    with stopped_below(job, bench.reading.id):
        record = job.record(record, replacing={"token": token, "task": job.order.id})
        facts = work.replace(path, token)
        job.record(record, replacing=None, backing=facts.backing, size=facts.virtual_size)
    return facts.actual_size


def move(job: Job) -> Result:
    args = job.args(MoveArgs)
    target = job.read_target()
    use = USE_OF_KIND[Kind(target.kind)]
    pool_id = str((target.records[0].get("pool") if target.records else None) or "default")
    pool = job.c.watcher.pools.get(pool_id) or {}
    paths = [str(entry.get("path")) for entry in (pool.get("paths") or {}).get(use) or []]
    if args.path not in paths:
        raise Terminal(
            Reason.INVALID_ROW,
            f"{args.path} is none of the paths for {use} of the pool {pool_id!r}: "
            f"{', '.join(paths) or 'it has none'}.",
            step="args.path",
        )
    require_ready_below(job, target.id)
    with at_work(job, (args.path, *paths_upon(job, target))) as bench:
        require_ready_below(job, target.id)
        prove_storage(job.c, DiskSite(pool_id, args.path, bench.site.unit), make=True)
        records = [
            record
            for record in bench.reading.records
            if split_disk_path(str(record["path"])).pool_path != args.path
        ]
        for at, record in enumerate(records):
            _move_one(job, bench, record, args.path, at, len(records))
        moved = [{"id": record["disk"], "path": args.path} for record in records]
        return Result(f"Its disks lie in {args.path} now.", {"disks": moved})


def _move_one(
    job: Job, bench: Bench, record: dict[str, Any], pool_path: str, at: int, count: int
) -> None:
    path, work = job.place_of(bench.reading, record), bench.work
    chain = read_chain(job, bench, record)
    require_based(job, work, bench.site, path)
    to = place_disk(pool_path, bench.reading.id, str(record["disk"])).path
    if work.look(to) is not None:
        raise Terminal(
            Reason.DISK_FAILED, f"There is a file {to} already, and it is not touched.", step="move"
        )
    record = job.record(record, moving={"to": to, "task": job.order.id})
    whole = 100.0 / count
    job.progress.begin("copy", whole * at, whole * COPY_SHARE / 100, chain[0].actual_size)
    token = _link(work, path, to) if work.is_near(path, pool_path) else None
    if token is None:
        need = chain[0].actual_size + ROOM_TO_SPARE
        token = work.copy(path, to, None, need, job.watch)
        base = whole * (at + COPY_SHARE / 100)
        job.progress.begin("compare", base, whole * (1 - COPY_SHARE / 100))
        work.require_same(path, to, token, job.watch)
    work.publish(to, token, beside=path)
    job.progress.begin("rebase", whole * (at + 1), 0.0)
    with stopped_below(job, bench.reading.id):
        require_ready_below(job, bench.reading.id)
        record = job.record(record, moving=None, rebasing={"to": to, "task": job.order.id})
        record = finish_rebase(job, bench.reading, work, bench.site, record)
    work.delete(path)
    job.record(record, moved_from=None)


def _link(work: DiskWork, path: str, to: str) -> str | None:
    """The same file under another name; None where that cannot be: two mounts of one filesystem
    have one device, and still no name reaches from one into the other.
    """
    try:
        return work.link(path, to)
    except Transient as error:
        if isinstance(error, HostLost) or error.reason != Reason.DISK_FAILED:
            raise
    return None


def verify(job: Job) -> Result:
    args = job.args(VerifyArgs)
    try:
        require_stopped(job.c, job.read_target())
    except Waiting as waiting:
        if waiting.reason == Reason.NOT_STOPPED:
            raise Terminal(
                Reason.NOT_STOPPED, "The disks of a running desktop cannot be checked: stop it."
            ) from None
        raise
    with at_work(job, alone=args.repair) as bench:
        records = chosen(bench.reading, args.disk)
        told = []
        for at, record in enumerate(records):
            path = job.place_of(bench.reading, record)
            job.progress.begin("check", 100.0 * at / len(records), 0.0)
            found = bench.work.check(path, repair=False, watch=job.watch)
            if args.repair and (found["corruptions"] or found["leaks"]):
                job.c.lease.check()
                job.progress.begin("repair", 100.0 * at / len(records), 0.0)
                found = bench.work.check(path, repair=True, watch=job.watch)
            told.append({"id": record["disk"], **found})
        broken = sum(disk["corruptions"] + disk["errors"] for disk in told)
        leaks = sum(disk["leaks"] for disk in told)
        fixed = sum(disk["corruptions_fixed"] + disk["leaks_fixed"] for disk in told)
        return Result(
            _verdict(broken, leaks, fixed), {"disks": told, "ok": not broken and not leaks}
        )


def _verdict(broken: int, leaks: int, fixed: int) -> str:
    repaired = f"{counted(fixed, 'was', 'were')} repaired. " if fixed else ""
    if broken:
        errors = counted(broken, "error was", "errors were")
        return f"{repaired}{errors} found: the disk is damaged."
    if leaks:
        clusters = counted(leaks, "cluster takes space and holds", "clusters take space and hold")
        return f"{repaired}No errors, but {clusters} nothing."
    return f"{repaired}No errors were found."


def _size(size: int) -> str:
    return f"{size / GIB:.2f} GiB" if size >= GIB else f"{size / 1024**2:.1f} MiB"


KINDS: dict[TaskKind, Callable[[Job], Result]] = {
    TaskKind.RESIZE: resize,
    TaskKind.MOVE: move,
    TaskKind.CONVERT: convert,
    TaskKind.SPARSIFY: sparsify,
    TaskKind.FLATTEN: flatten,
    TaskKind.VERIFY: verify,
}
