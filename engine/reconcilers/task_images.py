"""The kinds of work that make a new desktop or template: out of another one, or of an image.

The new domain's row is written by who orders (webapp or a script), with `origin: {"task": id}`; the
task alone makes its disks and their records, and until it has, the row waits for it. Records of
disks that are being made carry the task's id, so whoever comes next knows what to remove; they lose
it in the end, all together, when every disk is whole. What is made depends on nothing else. Called
by engine/reconcilers/task.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from db import queries
from db.states import MediaState, Reason
from db.taskcheck import ImportArgs, IntoArgs
from engine.errors import HostLost, Terminal
from engine.executor import task_lane
from engine.reconcilers import Elsewhere
from engine.reconcilers.disk_places import (
    DiskSite,
    find_path_site,
    find_site,
    pool_of,
    prove_storage,
)
from engine.reconcilers.domain_reading import Reading, read
from engine.reconcilers.owners import pool_refused
from engine.reconcilers.task_job import (
    FAILURES,
    Job,
    Result,
    Waiting,
)
from engine.reconcilers.task_settle import end_making, is_whole, undo_making
from engine.reconcilers.task_work import COPY_SHARE, ROOM_TO_SPARE, at_work, chosen, read_chain
from engine.sight import is_wished_away
from engine.storage.imports import Image, ImportWork
from engine.storage.media_paths import check_media_path
from engine.storage.paths import place_disk, split_disk_path
from engine.storage.qemu_img import Rewrite


@dataclass(frozen=True)
class Making:
    """Where the new disks go, and how much of the whole each is."""

    job: Job
    into: Reading
    site: DiskSite
    count: int

    def begin(self, at: int, disk_id: str, bus: str = "virtio") -> dict[str, Any]:
        """The record that says a file may appear."""
        return self.job.record(
            {
                "id": f"{self.into.id}/{disk_id}",
                "domain": self.into.id,
                "disk": disk_id,
                "path": place_disk(self.site.path, self.into.id, disk_id).path,
                "pool": self.site.pool,
                "bus": bus,
                "order": f"{at:03d}",
                "backing": None,
                "state": "making",
                "task": self.job.order.id,
            }
        )

    def step(self, name: str, at: int, total_bytes: int | None = None) -> None:
        whole = 100.0 / self.count
        first = name != "compare"
        base = whole * (at if first else at + COPY_SHARE / 100)
        share = whole * (COPY_SHARE if first else 100 - COPY_SHARE) / 100
        self.job.progress.begin(name, base, share, total_bytes)

    def finish(self, records: list[dict[str, Any]]) -> None:
        self.job.record_all(records, state="made", task=None)


def duplicate(job: Job) -> Result:
    into_id = job.args(IntoArgs).into
    new = require_new(job, into_id)
    if end_making(job, new):
        return _made(new)
    source = job.read_target()
    place = require_path(job, new, source)
    with at_work(job, (place.path,), alone=False, own=into_id) as bench:
        site = DiskSite(place.pool, place.path, bench.site.unit)
        with making(job, into_id, site, len(bench.reading.records)) as made:
            records = []
            for at, record in enumerate(chosen(bench.reading, None)):
                records.append(_duplicate_one(job, made, bench.work, at, record, bench))
            made.finish(records)
    return _made(new)


def _made(new: Reading, **facts: Any) -> Result:
    return Result(f"{new.row.get('name')!r} is made.", {"into": new.id, **facts})


def _duplicate_one(
    job: Job, made: Making, work: Any, at: int, source: Mapping[str, Any], bench: Any
) -> dict[str, Any]:
    path = job.place_of(bench.reading, source)
    chain = read_chain(job, bench, source)
    record = made.begin(at, str(source["disk"]), str(source.get("bus") or "virtio"))
    to = str(record["path"])
    need = work.measure(path, flat=True) + ROOM_TO_SPARE
    made.step("copy", at, sum(facts.actual_size for facts in chain))
    token = work.copy(path, to, Rewrite(None), need, job.watch)
    made.step("compare", at)
    work.require_same(path, to, token, job.watch)
    job.c.lease.check()
    facts = work.publish(to, token, beside=path)
    return job.record(record, size=facts.virtual_size, backing=facts.backing)


def import_image(job: Job) -> Result:
    into_id = job.args(ImportArgs).into
    job.require_turn(into_id)
    new = require_new(job, into_id)
    if end_making(job, new):
        return _made(new)
    medium, media_path = require_medium(job)
    place = require_path(job, new, None)
    site, problem = find_path_site(job.c, place.pool, [place.path, media_path])
    if site is None:
        raise Waiting(Reason.NO_DISK_HOST, str(problem), ("disk-host",))
    if job.lane != task_lane(site.unit.id):
        raise Elsewhere(task_lane(site.unit.id))
    job.progress.host = site.unit.id
    work = ImportWork(site.unit.ssh, job.c.installation)
    with job.slots.take(site.unit.id), job.holding(into_id):
        job.c.lease.check()
        job.progress.begin("storage")
        prove_storage(job.c, DiskSite(place.pool, media_path, site.unit), make=False)
        image = work.recognise(medium)
        members = work.list_members(medium) if image.format == "ova" else [""]
        with making(job, into_id, site, len(members)) as made:
            records = [
                _import_one(job, made, work, at, image, member) for at, member in enumerate(members)
            ]
            made.finish(records)
    return _made(new, format=image.format)


def _import_one(
    job: Job, made: Making, work: ImportWork, at: int, image: Image, member: str
) -> dict[str, Any]:
    record = made.begin(at, f"disk{at}", job.args(ImportArgs).bus)
    path = str(record["path"])
    if member:
        made.step("unpack", at)
        image = work.unpack(image.path, member, path, image.size + ROOM_TO_SPARE, job.watch)
    need = work.measure_image(image) + ROOM_TO_SPARE
    made.step("copy", at, image.size)
    token = work.take_over(image, path, need, job.watch)
    made.step("compare", at)
    work.require_same_image(image, path, token, job.watch)
    job.c.lease.check()
    facts = work.publish(path, token)
    work.discard(path)
    return job.record(record, size=facts.virtual_size, backing=facts.backing)


@contextmanager
def making(job: Job, into_id: str, site: DiskSite, count: int) -> Iterator[Making]:
    """The new domain's disks are held. What an earlier try left is removed first, and what this
    one leaves when it fails.
    """
    prove_storage(job.c, site, make=True)
    work = job.work_on(site)
    new = require_new(job, into_id)
    undo_making(job, new, work)
    try:
        yield Making(job, new, site, count)
    except FAILURES as error:
        again = read(job.c, into_id)
        is_reached = again is not None and not isinstance(error, HostLost)
        if again is not None and is_reached and not end_making(job, again):
            undo_making(job, again, work)
        raise


def require_new(job: Job, into_id: str) -> Reading:
    """The row that is to have the disks: it says so itself, and nothing was made for it yet, or
    all of it by this task.
    """
    new = read(job.c, into_id)
    if new is None:
        raise Terminal(
            Reason.TARGET_GONE, "The desktop or template to make is not there (any more)."
        )
    if is_wished_away(new.row):
        raise Terminal(Reason.TARGET_GONE, "What was to be made is being deleted.")
    origin = new.row.get("origin")
    if not isinstance(origin, Mapping) or origin.get("task") != job.order.id:
        raise Terminal(
            Reason.INVALID_ROW,
            "The row's field 'args.into' is wrong: that domain's origin does not name this task.",
            step="args.into",
        )
    strange = any(record.get("task") != job.order.id for record in new.records)
    if strange and not is_whole(job, new):
        raise Terminal(
            Reason.INVALID_ROW,
            "The row's field 'args.into' is wrong: that domain has disks already.",
            step="args.into",
        )
    return new


def require_path(job: Job, new: Reading, source: Reading | None) -> DiskSite:
    """The pool's path for what is made. From one pool into another nothing is copied."""
    if source is not None:
        pools = {str(record.get("pool")) for record in source.records} | {pool_of(new.row)}
        if len(pools) > 1:
            raise Terminal(
                Reason.INVALID_ROW,
                f"From one pool into another nothing is copied ({', '.join(sorted(pools))}).",
                step="placement.pool",
            )
    refused = pool_refused(job.c, new.row, pool_of(new.row))
    if refused:
        raise Waiting(Reason.POOL_REFUSED, refused, ("disk-host",))
    begun = [split_disk_path(str(record["path"])).pool_path for record in new.records]
    site, problem = find_site(job.c, new.row)
    if site is None:
        raise Waiting(Reason.NO_DISK_HOST, str(problem), ("disk-host",))
    return DiskSite(site.pool, begun[0], site.unit) if begun else site


def require_medium(job: Job) -> tuple[str, str]:
    """(its file, the pool's path it lies in): a disk image that is there."""
    row = queries.get_row(job.c.database, "media", job.order.target)
    if row is None:
        raise Terminal(Reason.TARGET_GONE, "The medium is not there (any more).", step="target")
    observed = row.get("observed")
    seen = observed if isinstance(observed, Mapping) else {}
    if row.get("kind") != "disk":
        raise Terminal(Reason.INVALID_ROW, f"{row.get('name')!r} is no disk image.", step="target")
    if seen.get("state") != MediaState.AVAILABLE:
        raise Waiting(
            Reason.MEDIA_NOT_READY,
            f"The medium {row.get('name')!r} is not there yet.",
            (f"media/{job.order.target}",),
        )
    pool = job.c.watcher.pools.get(str(row.get("pool") or "default")) or {}
    paths = [str(one.get("path")) for one in (pool.get("paths") or {}).get("media") or []]
    path = check_media_path(seen.get("path"), job.order.target, paths)
    return path, path.rsplit("/", 2)[0]
