"""Lets go of what is too old to be kept: points of the windows, events.

A range of keys or of an index each, once a minute, so what is kept is bounded by the number of
desktops and never by time. Losing a round harms nobody. Started by engine/active.py.
"""

from __future__ import annotations

from datetime import timedelta

from db import observed as door
from db.errors import DatabaseUnavailable
from db.logs import get_logger
from db.windows import WINDOWS
from engine.loops.leftovers import wait
from engine.reconcilers import Context
from engine.supervisor import Beat

log = get_logger(__name__)

FIRST_S = 10.0
EVERY_S = 60.0
WINDOW_TABLES = ("domain_windows", "hypervisor_windows")


class Retention:
    def __init__(self, context: Context) -> None:
        self._c = context

    def keep(self, beat: Beat) -> None:
        """The loop."""
        pause_s = FIRST_S
        while wait(beat, pause_s):
            pause_s = EVERY_S
            try:
                self.drop(beat)
            except DatabaseUnavailable as error:
                log.warning("retention_delayed", error=str(error))

    def drop(self, beat: Beat) -> None:
        """One round."""
        self._c.lease.check()
        now = self._c.now()
        for table in WINDOW_TABLES:
            for window in WINDOWS.values():
                beat.beat()
                first, end = window.expired_ids(now.timestamp())
                door.drop_expired(self._c.database, table, first, end)
        before = now - timedelta(days=self._c.settings.events_days)
        door.drop_events_before(self._c.database, before)
