"""Brings work on disks that was cut off, by a kill, a failure or a cancel, to one of its two ends.

What the records of the ledger say of it, and which way each goes, is in task_job.py. Harmless where
nothing was begun, and done again anywhere. Used by the task reconcilers before they begin, after
they failed, and when they are cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db import observed as door
from db.states import TARGETS_MEDIUM, Reason
from engine.errors import EngineError, HostLost
from engine.executor import task_lane
from engine.reconcilers import Elsewhere
from engine.reconcilers.disk_places import DiskSite, find_work_site
from engine.reconcilers.domain_reading import Reading, read
from engine.reconcilers.task_job import Job, Waiting, running_below, stopped_below
from engine.reconcilers.task_rebase import finish_rebase, rebase_paths
from engine.storage.work import DiskWork


def settle(job: Job) -> bool:
    """Bring what this task had begun to one of its two ends; False where no host can now. Harmless
    where nothing was begun.
    """
    reading = None if job.order.kind in TARGETS_MEDIUM else read(job.c, job.order.target)
    into = read(job.c, job.order.into) if job.order.into else None
    is_settled = True
    for one in (reading, into):
        if one is None or not one.records:
            continue
        site, _ = find_work_site(job.c, one.row, one.records, rebase_paths(job, one))
        if site is None:
            is_settled = False
            continue
        if job.lane != task_lane(site.unit.id):
            raise Elsewhere(task_lane(site.unit.id))
        with job.holding(one.id):
            try:
                work = job.work_on(site)
                settle_records(job, one, work, site)
                if one is into and not end_making(job, one):
                    undo_making(job, one, work)
                for record in one.records:
                    work.discard(job.place_of(one, record))
            except (HostLost, Waiting):
                is_settled = False
    return is_settled


def settle_records(job: Job, reading: Reading, work: DiskWork, site: DiskSite) -> None:
    """The disks are held and `reading` was read since. Raises Waiting where those built upon them
    run, and have to be told of a move.
    """
    job.prove(site, [job.place_of(reading, record) for record in reading.records])
    settled = []
    for record in reading.records:
        path = job.place_of(reading, record)
        if isinstance(record.get("rebasing"), Mapping):
            with stopped_below(job, reading.id):
                record = finish_rebase(job, reading, work, site, record)
            path = job.place_of(reading, record)
        if record.get("moved_from"):
            work.delete(job.place_of(reading, record, record["moved_from"]))
            record = job.record(record, moved_from=None)
        if isinstance(record.get("moving"), Mapping):
            work.delete(job.place_of(reading, record, record["moving"].get("to")))
            record = job.record(record, moving=None)
        if isinstance(record.get("replacing"), Mapping):
            record = _settle_replacing(job, work, path, record)
        settled.append(record)
    reading.records = settled


def _settle_replacing(
    job: Job, work: DiskWork, path: str, record: Mapping[str, Any]
) -> dict[str, Any]:
    """A copy of another task may be older than the disk: only our own goes forward, and not under
    a desktop that was started since.
    """
    mark = record["replacing"]
    is_ours = mark.get("task") == job.order.id and isinstance(mark.get("token"), str)
    if is_ours and not running_below(job, str(record["domain"])):
        try:
            facts = work.replace(path, mark["token"])
            return job.record(
                record, replacing=None, backing=facts.backing, size=facts.virtual_size
            )
        except EngineError as error:
            if error.reason != Reason.IN_USE:
                raise
    work.discard(path)
    facts_now = work.look(path)
    if facts_now is None:
        return job.record(record, replacing=None)
    return job.record(
        record, replacing=None, backing=facts_now.backing, size=facts_now.virtual_size
    )


def is_whole(job: Job, new: Reading) -> bool:
    """Whether this task had made every disk of the new domain: their records lose its id only then,
    so one without it speaks for those that were cut off before they did.
    """
    ours = [record.get("task") == job.order.id for record in new.records]
    ended = [record for record, our in zip(new.records, ours, strict=True) if not our]
    return bool(ended) and all(
        record.get("state") == "made" and record.get("task") is None for record in ended
    )


def end_making(job: Job, new: Reading) -> bool:
    """The last step, again, of a task that was cut off in it or after it; False where it had not
    come so far.
    """
    if not is_whole(job, new):
        return False
    left = [record for record in new.records if record.get("task") == job.order.id]
    if left:
        job.record_all(left, state="made", task=None)
    return True


def undo_making(job: Job, new: Reading, work: DiskWork) -> None:
    """Remove the disks that this task had begun to make for a new domain, and their records."""
    for record in new.records:
        if record.get("task") == job.order.id:
            job.c.lease.check()
            work.delete(job.place_of(new, record))
            work.discard(job.place_of(new, record))
            door.drop_record(job.c.database, "disks", record["id"])
    new.records = [record for record in new.records if record.get("task") != job.order.id]
