"""Deliver: a medium's file to the web side that a browser asked, which keeps it until it is saved.

The web side has no key to any host, so it leaves a key for tickets in table `uploads` under the
task's id, and the disk host sends the file there. Nothing of the medium changes; where it is to go
meanwhile, the delivery ends. Called by engine/reconcilers/task.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db import observed as door
from db import queries
from db.states import MediaDesired, MediaState, Reason
from db.upload_tickets import sign
from engine.errors import Terminal
from engine.executor import task_lane
from engine.reconcilers import Elsewhere
from engine.reconcilers.disk_places import find_media_site, prove_storage
from engine.reconcilers.task_job import Job, Result, Waiting
from engine.storage.deliveries import DeliveryHost, destination
from engine.storage.media_paths import place_media


def deliver(job: Job) -> Result:
    media_id = job.order.target
    found = queries.read_media(job.c.database, media_id)
    row, record = _require_medium(found["row"]), found["record"] or {}
    waiting = queries.get_row(job.c.database, "uploads", job.order.id)
    if waiting is None or waiting.get("media") != media_id:
        raise Terminal(
            Reason.INVALID_ROW,
            "No web side waits for this file. Order it with POST /api/v1/media/<id>/file.",
            step="id",
        )
    site, problem = find_media_site(
        job.c,
        str(record.get("pool") or row.get("pool") or "default"),
        media_id,
        str(record["pool_path"]) if record.get("pool_path") else None,
    )
    if site is None:
        raise Waiting(Reason.NO_DISK_HOST, str(problem), ("disk-host",))
    if job.lane != task_lane(site.unit.id):
        raise Elsewhere(task_lane(site.unit.id))
    job.progress.host = site.unit.id
    host = DeliveryHost(site.unit.ssh, job.c.installation)
    with job.slots.take(site.unit.id):
        job.c.lease.check()
        job.progress.begin("storage")
        prove_storage(job.c, site, make=False)
        place = place_media(site.path, media_id)
        stored = host.look(place)
        if stored is None or stored.size != waiting.get("size"):
            message = f"The file of {row.get('name')!r} is not on the storage as it was."
            raise Terminal(Reason.MEDIA_NOT_READY, message, step="look")
        job.progress.begin("send", 0.0, 100.0, stored.size)
        ticket = sign(str(waiting["key"]), job.order.id, job.c.now().timestamp())
        host.send(
            place,
            stored,
            destination(str(waiting["url"]), ticket),
            on_bytes=lambda size: job.progress.hear(100.0 * size / max(1, stored.size)),
            is_stopped=lambda: job.is_stopped() or _is_unwanted(job, media_id),
        )
    door.drop_records(job.c.database, [("uploads", job.order.id)])
    return Result(f"{row.get('name')!r} can be saved now.", {"medium": media_id})


def _require_medium(row: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if row is None:
        raise Terminal(Reason.TARGET_GONE, "The medium is not there (any more).", step="target")
    observed = row.get("observed")
    state = observed.get("state") if isinstance(observed, Mapping) else None
    if state != MediaState.AVAILABLE:
        message = f"The medium {row.get('name')!r} is not there."
        raise Terminal(Reason.MEDIA_NOT_READY, message, step="target")
    return row


def _is_unwanted(job: Job, media_id: str) -> bool:
    """The medium is to go."""
    row = job.c.watcher.media.get(media_id)
    wish = row.get("desired") if row else None
    return not isinstance(wish, Mapping) or wish.get("state") != MediaDesired.AVAILABLE
