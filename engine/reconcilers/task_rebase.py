"""A template that moves under those built upon it: their disks are told where it lies now.

Only the name in a disk's header changes (`qemu-img rebase -u`), as the file in the new place is the
same. Until every disk has been told both files are there, so each of them can be used at any time;
the ledger says `rebasing` meanwhile, and whoever comes next goes on. A disk that is open is not
told: the work waits until none of those built upon the template runs. Called by task_work.py and
task_settle.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db import queries
from db.states import Reason
from engine.errors import Terminal
from engine.reconcilers.disk_places import DiskSite, all_paths, prove_storage
from engine.reconcilers.domain_reading import WORK_MARKS, Reading, read
from engine.reconcilers.task_job import (
    Job,
    Waiting,
    require_stopped_below,
)
from engine.storage.disks import DiskFacts
from engine.storage.paths import check_disk_path, split_disk_path
from engine.storage.work import DiskWork
from engine.workqueue import Key

Record = dict[str, Any]


def require_ready_below(job: Job, domain_id: str) -> None:
    """None of those built upon it runs, nor is on its way to be something else. Raises Waiting."""
    require_stopped_below(job, domain_id)
    for child in _children(job, domain_id):
        name = child.row.get("name")
        making = child.making or child.templating
        if making is not None:
            raise Waiting(
                Reason.MAKING_TEMPLATE,
                f"A template is being made of {name!r}, which is built upon it.",
                (f"making/{making.get('desktop')}",),
            )
        if any(record.get("state") == "deleting" for record in child.records):
            raise Waiting(
                Reason.WORKED_ON,
                f"{name!r}, which is built upon it, is being deleted.",
                (f"children/{domain_id}",),
            )
        task = job.c.watcher.tasks.running_on(child.id, but=job.order.id)
        if task is not None or any(WORK_MARKS & set(record) for record in child.records):
            raise Waiting(
                Reason.WORKED_ON,
                f"The disks of {name!r}, which are built upon it, are being worked on.",
                (f"task/{child.id}",),
            )


def _children(job: Job, domain_id: str) -> list[Reading]:
    rows = queries.list_children(job.c.database, domain_id)
    found = (read(job.c, row["id"]) for row in rows)
    return [child for child in found if child is not None]


def disks_upon(job: Job, path: str) -> list[Record]:
    """The ledger's records of disks that have this file of ours as backing file."""
    domain_id = split_disk_path(path).domain_id
    found = queries.list_by_index(job.c.database, "disks", "parent", domain_id)
    return [record for record in found if record.get("backing") == path]


def unmade_upon(job: Job, domain_id: str) -> list[Record]:
    """Of disks that were being made, perhaps upon it: their files may be there already."""
    children = _children(job, domain_id)
    return [one for child in children for one in child.records if one.get("state") == "making"]


def paths_upon(job: Job, reading: Reading) -> list[str]:
    """The storage paths of the disks built upon these."""
    records = [one for record in reading.records for one in disks_upon(job, str(record["path"]))]
    records += unmade_upon(job, reading.id)
    return sorted({split_disk_path(str(record["path"])).pool_path for record in records})


def rebase_paths(job: Job, reading: Reading) -> list[str]:
    """What a host has to work on to finish a move that was cut off; nothing where none was."""
    marks = [record["rebasing"] for record in reading.records if is_rebasing(record)]
    if not marks:
        return []
    return [*paths_upon(job, reading), *(split_disk_path(str(m["to"])).pool_path for m in marks)]


def is_rebasing(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("rebasing"), Mapping)


def require_based(job: Job, work: DiskWork, site: DiskSite, path: str) -> None:
    """Every disk built upon `path` is there, and says so itself. Raises Terminal before anything is
    done.
    """
    for record in disks_upon(job, path):
        upon = _proved(job, site, record)
        facts = work.look(upon)
        if facts is None or facts.backing != path:
            says = "is not there" if facts is None else f"is based on {facts.backing or 'nothing'}"
            raise Terminal(
                Reason.DISK_MISSING if facts is None else Reason.DISK_FAILED,
                f"The disk {upon} is to be based on {path}, and {says}. Nothing was changed.",
                step="chain",
            )


def finish_rebase(
    job: Job, reading: Reading, work: DiskWork, site: DiskSite, record: Mapping[str, Any]
) -> Record:
    """Forward, from wherever it was cut: all disks are told, then the record says where it lies.
    Within `stopped_below`. Raises Waiting where those built upon it are not ready.
    """
    require_ready_below(job, reading.id)
    old = job.place_of(reading, record)
    to = job.place_of(reading, record, record["rebasing"].get("to"))
    job.prove(site, [to])
    for upon in disks_upon(job, old):
        facts = _tell(job, work, _proved(job, site, upon), old, to)
        job.record(upon, backing=facts.backing if facts else to)
        job.c.topics.wake(Key("domain", upon["domain"]))
    for upon in unmade_upon(job, reading.id):
        _tell(job, work, _proved(job, site, upon), old, to)
    return job.record(record, path=to, rebasing=None, moved_from=old)


def _tell(job: Job, work: DiskWork, path: str, old: str, to: str) -> DiskFacts | None:
    """What the disk is then, if it is there. One that is based on something else stays so."""
    job.c.lease.check()
    facts = work.look(path)
    return work.rebase(path, to) if facts is not None and facts.backing == old else facts


def _proved(job: Job, site: DiskSite, record: Mapping[str, Any]) -> str:
    """The path of another domain's disk: its own, inside its pool, and on the right storage."""
    pool_id = str(record.get("pool") or "default")
    allowed = all_paths(job.c.watcher.pools.get(pool_id))
    place = check_disk_path(str(record["path"]), str(record["domain"]), allowed)
    prove_storage(job.c, DiskSite(pool_id, place.pool_path, site.unit), make=False)
    return place.path
