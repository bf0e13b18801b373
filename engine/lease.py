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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from db import lease
from db.connection import Database
from db.errors import DatabaseUnavailable, Fenced
from db.lease import Sighting
from engine.errors import Transient

REFUSAL = "Another engine is active: this one must stop."

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


class Lease(lease.Lease):
    """This process's claim to be the engine. One per process; thread safe once acquired."""

    def __init__(
        self, database: Database, lock: DataLock, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(database, "lease", take_over_s=TAKE_OVER_S, refusal=REFUSAL, clock=clock)
        self._lock = lock

    def check(self) -> None:
        """Asked before every side effect. Raises Fenced, or Transient where nobody answers."""
        if self._lost:
            raise Fenced(REFUSAL)
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

    def _before_look(self) -> None:
        self._lock.try_take()

    def _may_take(self, seen: Sighting, row: dict[str, Any], now: float) -> bool:
        """Also where its holder is dead: the lock of the same folder is free, and now ours."""
        if super()._may_take(seen, row, now):
            return True
        return self._lock.held and row.get("lock") == self._lock.identity

    def _fields(self) -> dict[str, Any]:
        return {"lock": self._lock.identity if self._lock.held else None}
