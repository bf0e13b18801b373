"""Holds the lease `clock`, and calls each duty every two seconds while it has it.

A duty looks at the rows anew each time and does what is missing, so a web side that takes over goes
on where the other was cut off. A duty must return soon: what takes long is a process of its own.
Started by webapp.server.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from db.connection import Database
from db.errors import DatabaseUnavailable, Fenced
from db.lease import Lease
from db.logs import get_logger

log = get_logger(__name__)

ROW = "clock"
TICK_S = 2.0
TAKE_OVER_S = 12.0
STOP_S = 3.0
REFUSAL = "Another web side does what the clock asks for."


class Duty(Protocol):
    def tick(self, epoch: int) -> None:
        """Do what is due. `epoch` is the lease's: writes name it."""

    def stop(self) -> None:
        """The lease is lost or given back: end what runs. Called again without harm."""


class Clock:
    def __init__(self, database: Database, duties: Sequence[Duty]) -> None:
        self._database, self._duties = database, duties
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the duties and let another web side take over at once."""
        self._stopped.set()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            lease = Lease(self._database, ROW, take_over_s=TAKE_OVER_S, refusal=REFUSAL)
            try:
                if lease.acquire(self._stopped.is_set):
                    self._hold(lease)
            except (DatabaseUnavailable, Fenced) as error:
                log.warning("clock_lost", error=str(error))
            except Exception:  # the loop's top: another try, with everything read anew
                log.exception("clock_failed")
            finally:
                for duty in self._duties:
                    duty.stop()
            self._stopped.wait(TICK_S)

    def _hold(self, lease: Lease) -> None:
        while not self._stopped.is_set():
            lease.renew()
            for duty in self._duties:
                duty.tick(lease.epoch)
            self._stopped.wait(TICK_S)
        for duty in self._duties:
            duty.stop()
        lease.release()
