"""Makes what is match what is wanted, one key at a time: gather facts, decide, act, write.

`Context` is what every reconciler works with; `Outcome` what it tells the controller; `Elsewhere`
is raised where a host has to be asked whose lane this is not. A reconciler keeps nothing between
two calls: whatever must survive is in the row or in the engine's own tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from db import observed as door
from db.connection import Database
from db.errors import Fenced
from db.logs import get_logger
from engine.disk_locks import DiskLocks
from engine.lease import Lease
from engine.reconcilers.history import tell
from engine.reconcilers.observation import is_news
from engine.room import Room
from engine.settings import EngineSettings
from engine.units import Units
from engine.watcher import Watcher
from engine.workqueue import Topics

log = get_logger(__name__)

KEPT: dict[str, tuple[str, ...]] = {"hypervisors": ("enrolment", "drain", "speeds")}
"""Parts of `observed` that are written by themselves (`write_part`)."""


@dataclass(frozen=True)
class Context:
    database: Database
    lease: Lease
    settings: EngineSettings
    installation: str
    watcher: Watcher
    units: Units
    topics: Topics
    room: Room
    disk_locks: DiskLocks

    def now(self) -> datetime:
        return datetime.now(UTC)

    def write_domain(
        self,
        row: Mapping[str, Any],
        observed: dict[str, Any],
        records: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Write `observed` if it says anything new, and let the caches know ahead of the feed.
        `records` of the ledger are written with it, before it.
        """
        if not records and not is_news(row, observed, self.lease.epoch):
            return
        # Noted first: the feed may bring it back before the write has returned.
        value = {**observed, "epoch": self.lease.epoch}
        change = self.watcher.domains.note_written(row, value)
        events = tell(row, observed, self.now())

        def put(heal: bool) -> None:
            door.write_domain(
                self.database,
                row["id"],
                observed,
                epoch=self.lease.epoch,
                heal=heal,
                records=records,
                events=events,
            )

        self._put("domains", row["id"], put)
        self.watcher.announce(change)

    def write(self, table: str, row: Mapping[str, Any], observed: dict[str, Any]) -> None:
        def put(heal: bool) -> None:
            door.write_observed(
                self.database,
                table,
                row["id"],
                observed,
                epoch=self.lease.epoch,
                heal=heal,
                keep=KEPT.get(table, ()),
            )

        self._put(table, row["id"], put)

    def write_part(self, table: str, row_id: Any, field: str, value: Any) -> None:
        """One of KEPT."""

        def put(heal: bool) -> None:
            door.write_part(
                self.database, table, row_id, field, value, epoch=self.lease.epoch, heal=heal
            )

        self._put(table, row_id, put)

    def _put(self, table: str, row_id: Any, put: Callable[[bool], None]) -> None:
        try:
            put(False)
        except Fenced:
            if not self.lease.is_held():
                raise
            # No newer engine wrote that epoch, so a script did.
            log.warning("epoch_healed", table=table, id=row_id)
            put(True)


@dataclass(frozen=True)
class Outcome:
    """What becomes of the key. `move_to`: it needs that lane and goes on there at once. Otherwise
    it comes again after `again_s` (None: in its turn), or when one of `topics` fires after `mark`.
    """

    again_s: float | None = None
    topics: tuple[str, ...] = ()
    mark: int = 0
    move_to: str | None = None
    gone: bool = False


DONE = Outcome()


class Elsewhere(Exception):
    """This key has to be worked on in another lane."""

    def __init__(self, lane: str) -> None:
        super().__init__(lane)
        self.lane = lane
