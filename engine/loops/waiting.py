"""Keeps the places in the queues true that desktops waiting for room are shown.

A place changes when somebody ahead starts, is called off or is deleted. Those whose row shows
another place than they have are looked at again, which writes it; a few at each turn and the first
of the queue first, so that a long queue is no storm of writes. Whether anybody starts does not
depend on it. Started by engine/active.py.
"""

from __future__ import annotations

from db.logs import get_logger
from engine.reconcilers import Context
from engine.supervisor import Beat
from engine.workqueue import Key, WorkQueue

log = get_logger(__name__)

TURN_S = 0.5
PER_TURN = 40


class Places:
    def __init__(self, context: Context, queue: WorkQueue) -> None:
        self._c, self._queue = context, queue

    def keep(self, beat: Beat) -> None:
        """The loop."""
        lengths: dict[str, int] = {}
        while beat.wait(TURN_S):
            for key in self.outdated()[:PER_TURN]:
                self._queue.add(key)
            before, lengths = lengths, self._lengths()
            for pool in lengths.keys() | before.keys():
                if lengths.get(pool) != before.get(pool):
                    self._queue.add(Key("pool", pool))

    def _lengths(self) -> dict[str, int]:
        return {
            pool: len(self._c.room.queue_of(pool))
            for pool in self._c.watcher.domains.pools_waited_for()
        }

    def outdated(self) -> list[Key]:
        """Whose row shows another place than it has."""
        found = []
        for pool in sorted(self._c.watcher.domains.pools_waited_for()):
            queue = self._c.room.queue_of(pool)
            for at, one in enumerate(queue, start=1):
                digest = self._c.watcher.domains.get(one.id)
                shown = digest.queue[1:] if digest and digest.queue else None
                if shown != (at, len(queue)):
                    found.append(Key("domain", one.id))
        return found
