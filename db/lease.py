"""A lease: one row of table `engine` that says which of several processes does something alone.

The holder raises `counter`. Another process takes over when it has seen the counter stand still for
`take_over_s` on its own monotonic clock: wall clocks differ and jump, so none is compared. A
take-over raises `epoch`, which the holder's writes name, so that one which comes back from a long
stop can write nothing. Used by `engine.lease` (which engine is active) and by `webapp.clock` (which
web side does what time asks for).
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from db.connection import Database, r
from db.errors import DatabaseUnavailable, Fenced
from db.logs import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class Sighting:
    """The lease as a waiting process saw it, and since when it has not moved."""

    holder: str
    epoch: int
    counter: int
    since: float


def observe(previous: Sighting | None, row: dict[str, Any], now: float) -> Sighting:
    """Remember the row; `since` restarts whenever anything in it moved. Pure."""
    seen = (str(row.get("holder")), _number(row.get("epoch")), _number(row.get("counter")))
    if previous and (previous.holder, previous.epoch, previous.counter) == seen:
        return previous
    return Sighting(*seen, since=now)


class Lease:
    """This process's claim on row `row_id`. Thread safe once acquired.

    `refusal`: what Fenced says where another has taken over.
    """

    def __init__(
        self,
        database: Database,
        row_id: str,
        *,
        take_over_s: float,
        refusal: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._row_id = row_id
        self._take_over_s = take_over_s
        self._refusal = refusal
        self._clock = clock
        self._mutex = threading.Lock()
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.epoch = 0
        self._counter = 0
        self._renewed_at = float("-inf")
        self._lost = False

    def acquire(self, stopped: Callable[[], bool], poll_s: float = 0.5) -> bool:
        """Wait until this process holds it. False where `stopped()` came first."""
        seen: Sighting | None = None
        said = ""
        while not stopped():
            try:
                self._before_look()
                row = self._read()
                if row is not None:
                    seen = observe(seen, row, self._clock())
                if (
                    row is None or (seen and self._may_take(seen, row, self._clock()))
                ) and self._take(row):
                    return True
                if row is not None and row.get("holder") != said:
                    said = str(row.get("holder"))
                    log.info("standing_by", lease=self._row_id, holder=said)
            except DatabaseUnavailable as error:
                log.warning("lease_unavailable", lease=self._row_id, error=str(error))
            time.sleep(poll_s)
        return False

    def renew(self) -> None:
        """Raise the counter. Raises Fenced where another process holds the lease."""
        with self._mutex:
            if self._lost:
                raise Fenced(self._refusal)
            begun = self._clock()
            answer = self._database.run(
                self._row().update(
                    lambda row: r.branch(
                        row["holder"].default("").eq(self.holder)
                        & row["epoch"].default(0).eq(self.epoch),
                        {"counter": self._counter + 1, "at": r.now()},
                        r.error("fenced"),
                    ),
                    durability="hard",
                )
            )
            if answer["errors"] or answer["skipped"]:
                self._lost = True
                raise Fenced(self._refusal)
            self._counter += 1
            # Counted from before the request: whoever saw the old counter saw it no later.
            self._renewed_at = begun

    def is_held(self) -> bool:
        """Asks the database itself: a script may have written an epoch that fences nobody."""
        row = self._read()
        return row is not None and (row.get("holder"), row.get("epoch")) == (
            self.holder,
            self.epoch,
        )

    def release(self) -> None:
        """Let the next process take over without waiting."""
        with self._mutex:
            self._lost = True
            self._database.run(
                self._row().update(
                    lambda row: r.branch(
                        row["holder"].default("").eq(self.holder), {"released": True}, {}
                    ),
                    durability="hard",
                )
            )

    def _before_look(self) -> None:
        """Called before each look while waiting."""

    def _may_take(self, seen: Sighting, row: dict[str, Any], now: float) -> bool:
        """True where its holder has let go, or has stood still for too long."""
        return row.get("released") is True or now - seen.since >= self._take_over_s

    def _fields(self) -> dict[str, Any]:
        """What the row says of its holder besides."""
        return {}

    def _read(self) -> dict[str, Any] | None:
        row: dict[str, Any] | None = self._database.run(
            r.table("engine", read_mode="majority").get(self._row_id)
        )
        return row

    def _take(self, old: dict[str, Any] | None) -> bool:
        """Put ourselves into the row if it is still as it was read."""
        epoch = _number((old or {}).get("epoch")) + 1
        mine = {
            "id": self._row_id,
            "holder": self.holder,
            "epoch": epoch,
            "counter": 1,
            **self._fields(),
            "at": r.now(),
        }
        begun = self._clock()
        answer = self._database.run(
            self._row().replace(
                lambda row: r.branch(row.eq(old), mine, row),
                durability="hard",
            )
            if old is not None
            else r.table("engine").insert(mine, durability="hard", conflict="error")
        )
        if answer["errors"] or not (answer["replaced"] or answer["inserted"]):
            return False
        self.epoch, self._counter, self._renewed_at = epoch, 1, begun
        log.info("active", lease=self._row_id, holder=self.holder, epoch=epoch)
        return True

    def _row(self) -> Any:
        return r.table("engine").get(self._row_id)


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0
