"""Sweeps what the engine kept of domains whose row is gone: records, passwords, pictures, numbers.

A row is removed before what belongs to it, so that no crash can make its disks look as if they had
never been there; an engine killed between the two leaves the rest behind. Its successor sweeps at
once, and everyone looks again now and then. A ledger record of a disk that may still be on storage
is no leftover: it stays until engine/loops/orphans.py has seen that the file is gone. Templates
that a killed engine was making are looked at too, whether their rows are there or not.
"""

from __future__ import annotations

from typing import Any

from db import observed as door
from db import queries
from db.errors import DatabaseUnavailable
from db.logs import get_logger
from db.schema import OF_A_DOMAIN
from engine.reconcilers import Context
from engine.supervisor import Beat
from engine.workqueue import Key

log = get_logger(__name__)

EVERY_S = 300.0
LISTED_S = 1.0


class Leftovers:
    def __init__(self, context: Context) -> None:
        self._c = context

    def sweep_again(self, beat: Beat) -> None:
        """The loop. The first round waits for the tables to be listed, so that nothing is in the
        way of what is asked right after a start.
        """
        while not self._c.watcher.wait_synced(LISTED_S):
            if not beat.wait(LISTED_S):
                return
        while True:
            try:
                self.sweep()
            except DatabaseUnavailable as error:
                log.warning("leftovers_not_swept", error=str(error))
            if not wait(beat, EVERY_S):
                return

    def sweep(self) -> None:
        self._wake_makings()
        found: list[tuple[str, Any]] = [
            ("disks", record["id"])
            for record in queries.list_without_domain(self._c.database, "disks", "domain")
            if record.get("state") == "deleting"
        ]
        for table in OF_A_DOMAIN:
            rows = queries.list_without_domain(self._c.database, table, "id")
            found += [(table, row["id"]) for row in rows]
        if found:
            self._c.lease.check()
            door.drop_records(self._c.database, found)
            log.info("leftovers_swept", number=len(found))

    def _wake_makings(self) -> None:
        """Templates whose making an engine left off. Nothing else would tell of one whose row was
        removed while no engine was there.
        """
        for record in queries.list_makings(self._c.database):
            self._c.topics.wake(Key("domain", record["template"]))


def wait(beat: Beat, pause_s: float) -> bool:
    """Beating all the while. False where the loop is to stop."""
    waited_s = 0.0
    while waited_s < pause_s:
        if not beat.wait(1.0):
            return False
        waited_s += 1.0
    return True
