"""One medium as it was read, and the writing of what came of a step: `observed` and the ledger.

`observed` is written whole: what is kept from one write to the next is kept by name. Of it and of
the ledger (table `disks`, `media/<id>`) only what says something new is written. Called by
engine/reconcilers/media.py; for domains see engine/reconcilers/observation.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from db import observed as door
from db import queries
from db.media_states import MediaWish
from db.states import MediaState
from engine.media_decisions import seen_state
from engine.reconcilers import Context
from engine.reconcilers.disk_places import DiskSite
from engine.reconcilers.observation import is_news
from engine.sight import observed_of
from engine.storage.media_paths import place_media

KEPT = (
    *("path", "pool", "size", "format", "sha256", "hardware"),
    *("for", "failure", "activity", "progress"),
)
"""What is kept from one write to the next; the rest is said anew or is gone."""
NOTHING_GOES_ON: dict[str, Any] = {"activity": None, "progress": None}
NOTHING_IS_THERE: dict[str, Any] = {"path": None, "size": None, "hardware": None}


class Medium:
    """A row of table `media` and its record in the ledger, None where nothing was begun. What is
    written is what it holds from then on.
    """

    def __init__(
        self, context: Context, row: dict[str, Any], record: dict[str, Any] | None
    ) -> None:
        self._c = context
        self.row, self.record = row, record

    @property
    def id(self) -> str:
        return str(self.row["id"])

    def show(self, site: DiskSite, step: str, progress: dict[str, Any] | None = None) -> None:
        """That it is being downloaded, and how far that is."""
        deadline = self._c.now() + timedelta(seconds=self._c.settings.download_timeout_s)
        before = observed_of(self.row).get("activity")
        if isinstance(before, Mapping) and isinstance(before.get("deadline"), datetime):
            deadline = before["deadline"] if before.get("step") == step else deadline
        changes: dict[str, Any] = {
            "state": MediaState.DOWNLOADING,
            "activity": {"name": "downloading", "step": step, "deadline": deadline},
            "hypervisor": site.unit.id,
            "pool": site.pool,
            "reason": None,
            "message": None,
        }
        failure = observed_of(self.row).get("failure")
        if progress is not None:
            # Bytes that come are what ends a failure.
            changes |= {"progress": progress, "failure": None}
        elif isinstance(failure, Mapping) and failure.get("terminal"):
            changes["failure"] = None
        self.write(changes)

    def write(self, changes: Mapping[str, Any]) -> None:
        """These fields of `observed`, with what is kept of the others."""
        old = observed_of(self.row)
        new: dict[str, Any] = {key: old.get(key) for key in KEPT}
        new |= {"state": seen_state(old), "reason": None, "message": None, "hypervisor": None}
        if "failure" not in changes and isinstance(new["failure"], Mapping):
            kept = new["failure"]
            new |= {"reason": kept.get("reason"), "message": kept.get("message")}
        new |= {**changes, "at": self._c.now()}
        plain = {key: getattr(value, "value", value) for key, value in new.items()}
        if is_news(self.row, plain, self._c.lease.epoch):
            self._c.write("media", self.row, plain)
            self.row["observed"] = {**plain, "epoch": self._c.lease.epoch}

    def keep_record(self, site: DiskSite, state: str, **more: Any) -> None:
        """Its record in the ledger: what was begun, and on which storage."""
        record = {
            "id": queries.media_record_id(self.row["id"]),
            "media": self.row["id"],
            "pool": site.pool,
            "pool_path": site.path,
            "path": place_media(site.path, self.id).folder,
            "state": state,
            **more,
        }
        if self.record is None or any(self.record.get(k) != v for k, v in record.items()):
            value = {**record, "at": self._c.now()}
            door.put_record(self._c.database, "disks", value, epoch=self._c.lease.epoch)
            self.record = value


def media_wish_record(wish: MediaWish) -> dict[str, Any]:
    """A wish as failures and `for` name it."""
    return {"state": wish.state.value, "at": wish.at}
