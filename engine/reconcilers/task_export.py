"""Export: the disks of a desktop or template as an image that other programs read, as a medium.

The medium's row is written by who orders, with `source: {"task": id}`; the task puts the file into
its folder and the medium's own reconciler finds it there. Nothing of the desktop changes. Called by
engine/reconcilers/task.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from db import observed as door
from db import queries
from db.rowcheck import RowProblem, SpecModel
from db.sentences import explain
from db.states import Reason
from db.taskcheck import ExportArgs
from engine.errors import HostLost, Terminal
from engine.reconcilers.disk_places import DiskSite, find_media_site, prove_storage
from engine.reconcilers.owners import pool_refused
from engine.reconcilers.task_job import FAILURES, Job, Result, Waiting
from engine.reconcilers.task_work import ROOM_TO_SPARE, Bench, at_work, chosen, read_chain
from engine.storage.exports import EXTENSIONS, ExportWork
from engine.storage.media_paths import MediaPlace, place_media
from engine.storage.ova import PackedDisk, build_ovf


def export(job: Job) -> Result:
    args = job.args(ExportArgs)
    medium = _require_medium(job, args.medium)
    record = queries.read_media(job.c.database, args.medium)["record"] or {}
    pool = str(record.get("pool") or medium.get("pool") or "default")
    refused = pool_refused(job.c, medium, pool)
    if refused:
        raise Waiting(Reason.POOL_REFUSED, refused, ("disk-host",))
    site, problem = find_media_site(
        job.c,
        pool,
        args.medium,
        str(record["pool_path"]) if record.get("pool_path") else None,
    )
    if site is None:
        raise Waiting(Reason.NO_DISK_HOST, str(problem), ("disk-host",))
    with at_work(job, (site.path,), alone=False) as bench:
        site = DiskSite(site.pool, site.path, bench.site.unit)
        prove_storage(job.c, site, make=True)
        place = place_media(site.path, args.medium)
        _keep_record(job, site, place)
        work = ExportWork(site.unit.ssh, job.c.installation)
        work.withdraw(place)
        try:
            _write_image(job, bench, work, place, args)
            _require_medium(job, args.medium)
            job.c.lease.check()
            site.unit.media.publish(place, EXTENSIONS[args.format])
        except FAILURES as error:
            if not isinstance(error, HostLost):
                work.withdraw(place)
            raise
    job.c.topics.fire(f"parent/{job.order.id}")
    return Result(
        f"{medium.get('name')!r} is on the storage, as a medium.",
        {"medium": args.medium, "format": args.format},
    )


def _write_image(
    job: Job, bench: Bench, work: ExportWork, place: MediaPlace, args: ExportArgs
) -> None:
    if args.format == "ova":
        _write_ova(job, bench, work, place)
        return
    record = chosen(bench.reading, args.disk)[0]
    path = job.place_of(bench.reading, record)
    chain = read_chain(job, bench, record)
    need = work.measure(path, flat=True)
    job.progress.begin("copy", 0.0, 100.0, sum(facts.actual_size for facts in chain))
    work.export(path, args.format, place, need + ROOM_TO_SPARE, job.watch)


def _write_ova(job: Job, bench: Bench, work: ExportWork, place: MediaPlace) -> None:
    row, records = bench.reading.row, bench.reading.records
    spec = _read_spec(row)
    disks = []
    for at, record in enumerate(records):
        path = job.place_of(bench.reading, record)
        chain = read_chain(job, bench, record)
        share = 90.0 / len(records)
        job.progress.begin("copy", share * at, share, sum(facts.actual_size for facts in chain))
        name = f"machine-disk{at + 1}.vmdk"
        need = 2 * work.measure(path, flat=True) + ROOM_TO_SPARE
        size = work.stage(path, name, place, need, job.watch)
        disks.append(PackedDisk(name, size, chain[0].virtual_size))
    job.progress.begin("pack", 90.0, 10.0)
    ovf = build_ovf(str(row.get("name")), spec.vcpus, spec.memory_mib, disks, spec.firmware)
    sizes = [disk.size for disk in disks]
    work.pack(ovf, [disk.file for disk in disks], sizes, place, sum(sizes) + ROOM_TO_SPARE)


def _read_spec(row: Mapping[str, Any]) -> SpecModel:
    """What machine it is, before anything is copied: nobody may have judged the row since."""
    try:
        return SpecModel.model_validate(row.get("spec") or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(["spec", *(str(part) for part in first["loc"])])
        problem = RowProblem(field, explain(first))
        message = f"{row.get('name')!r} cannot be described. {problem.message}"
        raise Terminal(Reason.INVALID_ROW, message, step=field) from error


def _require_medium(job: Job, media_id: str) -> Mapping[str, Any]:
    """The row that is to have the file: it says so itself."""
    row = queries.get_row(job.c.database, "media", media_id)
    if row is None:
        raise Terminal(Reason.TARGET_GONE, "The medium to make is not there (any more).")
    source, desired = row.get("source"), row.get("desired")
    if not isinstance(source, Mapping) or source.get("task") != job.order.id:
        raise Terminal(
            Reason.INVALID_ROW,
            "The row's field 'args.medium' is wrong: that medium's source does not name this task.",
            step="args.medium",
        )
    if not isinstance(desired, Mapping) or desired.get("state") != "available":
        raise Terminal(Reason.TARGET_GONE, "The medium to make is not wanted any more.")
    return dict(row)


def _keep_record(job: Job, site: DiskSite, place: MediaPlace) -> None:
    """That there may be something of this medium on the storage. As the media reconciler has it."""
    record = {
        "id": queries.media_record_id(place.media_id),
        "media": place.media_id,
        "pool": site.pool,
        "pool_path": site.path,
        "path": place.folder,
        "state": "making",
        "at": job.c.now(),
    }
    door.put_record(job.c.database, "disks", record, epoch=job.c.lease.epoch)
