"""Which engine is active: the one whose row `lease` in table `engine` moves.

The holder raises `counter` every second. Another engine takes over when it has seen the counter
stand still for TAKE_OVER_S on its own monotonic clock (wall clocks differ and jump), or at once
when the holder provably died: it used the same lock file on this machine, and that lock is free. A
take-over raises `epoch`, which every write of `observed` names, so a holder that comes back from a
long stop can write nothing. `check` is asked before every side effect. Used by engine/__main__.py.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from db.connection import Database, r
from db.errors import DatabaseUnavailable, Fenced
from db.logs import get_logger
from engine.errors import Transient

log = get_logger(__name__)

RENEW_S = 1.0
FRESH_S = 2.0
"""A renewal older than this is repeated before a side effect."""
TAKE_OVER_S = 4.0
"""Longer than FRESH_S by more than any step may last between `check` and its side effect."""


class DataLock:
    """The lock on this data folder. Its `identity` names the file on this boot of this machine, so
    a copied folder, or one seen from two machines, never passes for the same lock.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a")
        status = os.fstat(self._file.fileno())
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self.identity = f"{boot}:{status.st_dev}:{status.st_ino}"
        self.held = False

    def try_take(self) -> bool:
        if not self.held:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.held = True
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Sighting:
    """The lease as a waiting engine saw it, and since when it has not moved."""

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


def may_take(seen: Sighting, row: dict[str, Any], lock: DataLock, now: float) -> bool:
    """True where its holder is dead, or has stood still for too long."""
    if row.get("released") is True or now - seen.since >= TAKE_OVER_S:
        return True
    return lock.held and row.get("lock") == lock.identity


class Lease:
    """This process's claim to be the engine. One per process; thread safe once acquired."""

    def __init__(
        self, database: Database, lock: DataLock, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._lock = lock
        self._clock = clock
        self._mutex = threading.Lock()
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.epoch = 0
        self._counter = 0
        self._renewed_at = float("-inf")
        self._lost = False

    def acquire(self, stopped: Callable[[], bool], poll_s: float = 0.5) -> bool:
        """Wait until this engine is the active one. False where `stopped()` came first."""
        seen: Sighting | None = None
        said = ""
        while not stopped():
            try:
                self._lock.try_take()
                row = self._read()
                if row is not None:
                    seen = observe(seen, row, self._clock())
                if (row is None or (seen and may_take(seen, row, self._lock, self._clock()))) and (
                    self._take(row)
                ):
                    return True
                if row is not None and row.get("holder") != said:
                    said = str(row.get("holder"))
                    log.info("standing_by", holder=said)
            except DatabaseUnavailable as error:
                log.warning("lease_unavailable", error=str(error))
            time.sleep(poll_s)
        return False

    def renew(self) -> None:
        """Raise the counter. Raises Fenced where another engine holds the lease."""
        with self._mutex:
            if self._lost:
                raise Fenced("Another engine is active: this one must stop.")
            begun = self._clock()
            answer = self._database.run(
                _row().update(
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
                raise Fenced("Another engine is active: this one must stop.")
            self._counter += 1
            # Counted from before the request: whoever saw the old counter saw it no later.
            self._renewed_at = begun

    def check(self) -> None:
        """Asked before every side effect. Raises Fenced, or Transient where nobody answers."""
        if self._lost:
            raise Fenced("Another engine is active: this one must stop.")
        if self._clock() - self._renewed_at < FRESH_S:
            return
        try:
            self.renew()
        except DatabaseUnavailable as error:
            raise Transient(
                "DatabaseUnavailable",
                "The database does not answer, so nothing is done on any host.",
                step="lease",
                retry_after_s=1.0,
            ) from error

    def is_held(self) -> bool:
        """Asks the database itself: a script may have written an epoch that fences nobody."""
        row = self._read()
        return row is not None and (row.get("holder"), row.get("epoch")) == (
            self.holder,
            self.epoch,
        )

    def release(self) -> None:
        """Let the next engine take over without waiting."""
        with self._mutex:
            self._lost = True
            self._database.run(
                _row().update(
                    lambda row: r.branch(
                        row["holder"].default("").eq(self.holder), {"released": True}, {}
                    ),
                    durability="hard",
                )
            )

    def _read(self) -> dict[str, Any] | None:
        row: dict[str, Any] | None = self._database.run(
            r.table("engine", read_mode="majority").get("lease")
        )
        return row

    def _take(self, old: dict[str, Any] | None) -> bool:
        """Put ourselves into the row if it is still as it was read."""
        epoch = _number((old or {}).get("epoch")) + 1
        mine = {
            "id": "lease",
            "holder": self.holder,
            "epoch": epoch,
            "counter": 1,
            "lock": self._lock.identity if self._lock.held else None,
            "at": r.now(),
        }
        begun = self._clock()
        answer = self._database.run(
            _row().replace(
                lambda row: r.branch(row.eq(old), mine, row),
                durability="hard",
            )
            if old is not None
            else r.table("engine").insert(mine, durability="hard", conflict="error")
        )
        if answer["errors"] or not (answer["replaced"] or answer["inserted"]):
            return False
        self.epoch, self._counter, self._renewed_at = epoch, 1, begun
        log.info("active", holder=self.holder, epoch=epoch)
        return True


def _row() -> Any:
    return r.table("engine").get("lease")


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0
