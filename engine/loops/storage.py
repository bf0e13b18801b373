"""Looks at the storage paths of one host every few seconds, and keeps what it sees in its unit.

From there the pool's report is made (engine/reconcilers/pool.py), and a path that a host cannot
work on is left out when a disk needs one, long before the host's own checks come round. One loop
for each unit, so a storage that hangs one host delays no other. Started beside the unit.
"""

from __future__ import annotations

import time
from dataclasses import replace

from db.errors import DatabaseUnavailable
from db.logs import get_logger
from engine.errors import EngineError
from engine.reconcilers import Context
from engine.storage.path_facts import PathFacts, look_argv, read_facts
from engine.supervisor import Beat
from engine.unit import Unit
from engine.workqueue import Key, WorkQueue

log = get_logger(__name__)

TURN_S = 0.5
EVERY_S = 10.0


class StorageWatch:
    def __init__(self, context: Context, queue: WorkQueue, unit: Unit) -> None:
        self._c, self._queue, self._unit = context, queue, unit

    def look(self, beat: Beat) -> None:
        """The loop. Paths that were just added are looked at at once."""
        due_at = 0.0
        paths: tuple[str, ...] = ()
        while beat.wait(TURN_S):
            wanted = tuple(sorted({path for _pool, path in self._unit.row.paths}))
            if time.monotonic() < due_at and wanted == paths:
                continue
            paths, due_at = wanted, time.monotonic() + EVERY_S
            if not self._unit.is_reached:
                self._note({})
                continue
            try:
                self._look_at(paths)
            except (EngineError, DatabaseUnavailable) as error:
                log.info("storage_not_seen", hypervisor=self._unit.id, error=str(error))
                self._note({})

    def _look_at(self, paths: tuple[str, ...]) -> None:
        settings = self._c.settings
        done = self._unit.ssh.run(
            look_argv(paths), timeout_s=settings.call_timeout_s, label="df of the storage paths"
        )
        self._note(read_facts(done.text, paths, self._c.installation))

    def _note(self, facts: dict[str, PathFacts]) -> None:
        before, self._unit.storage = self._unit.storage, facts
        if before == facts:
            return
        for pool in self._unit.row.pools:
            self._queue.add(Key("pool", pool))
        for topic in ("disk-host", "room"):
            self._c.topics.fire(topic)
        if before and facts and _gist(before) != _gist(facts):
            # Its page and its health are to say so too.
            self._unit.ask_for_check()


def _gist(facts: dict[str, PathFacts]) -> dict[str, PathFacts]:
    """Without the numbers that always change."""
    return {
        path: replace(one, size_bytes=None, free_bytes=0 if one.is_full else None)
        for path, one in facts.items()
    }
