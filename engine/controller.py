"""Takes keys from the queue, has each reconciled in its lane, and sees to it that it comes again.

One dispatcher loop hands keys to the lanes of the executor, so a key never waits behind a host it
does not need. What a reconcile raises ends here: a database that is away and a host that is lost
delay the key, a newer engine stops this one, and anything else is a defect that is logged and tried
again later. Every key comes round about once a minute. Started by engine/active.py.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from db.errors import DatabaseUnavailable, Fenced
from db.logs import get_logger
from db.states import Kind
from engine.errors import Transient
from engine.executor import GENERAL, Executor, disk_lane, power_lane
from engine.reconcilers import Context, Outcome
from engine.reconcilers.disk_places import find_site
from engine.supervisor import Beat
from engine.workqueue import Key, WorkQueue

log = get_logger(__name__)

ROUND_S = 60.0
DEFECT_PAUSES_S = (1.0, 5.0, 30.0)
SYNC_WAIT_S = 1.0

Reconcile = Callable[[Key, str], Outcome]
"""(key, lane it runs in) -> what becomes of the key"""


class Controller:
    def __init__(
        self,
        context: Context,
        queue: WorkQueue,
        executor: Executor,
        reconcilers: Mapping[str, Reconcile],
        choose_lane: Callable[[Key], str],
        on_fenced: Callable[[], None],
    ) -> None:
        self._context, self._queue, self._executor = context, queue, executor
        self._reconcilers = reconcilers
        self._choose_lane = choose_lane
        self._on_fenced = on_fenced
        self._defects: dict[Key, int] = defaultdict(int)

    def dispatch(self, beat: Beat) -> None:
        """The loop. Nothing is reconciled before every table has been listed in full."""
        while not beat.stopping() and not self._context.watcher.wait_synced(SYNC_WAIT_S):
            beat.beat()
        while not beat.stopping():
            beat.beat()
            key = self._queue.get(1.0)
            if key is not None:
                self._submit(key, self._choose_lane(key))

    def _submit(self, key: Key, lane: str) -> None:
        self._executor.submit(lane, lambda: self._work(key, lane))

    def _work(self, key: Key, lane: str) -> None:
        """Runs on a worker of the lane. The key is ours until it is given back or moves on."""
        outcome = self._reconcile(key, lane)
        if outcome.move_to is not None and outcome.move_to != lane:
            self._submit(key, outcome.move_to)
            return
        try:
            if outcome.gone:
                return
            if outcome.topics and not self._context.topics.wait(key, outcome.topics, outcome.mark):
                self._queue.add(key)
            turn_s = ROUND_S * random.uniform(0.75, 1.25)  # noqa: S311 (spread, not secrecy)
            again_s = turn_s if outcome.again_s is None else min(turn_s, outcome.again_s)
            self._queue.add_after(key, again_s)
        finally:
            self._queue.done(key)

    def _reconcile(self, key: Key, lane: str) -> Outcome:
        begun = time.monotonic()
        try:
            outcome = self._reconcilers[key.kind](key, lane)
        except Fenced:
            self._on_fenced()
            return Outcome(gone=True)
        except DatabaseUnavailable as error:
            log.warning("reconcile_without_database", key=str(key), error=str(error))
            return Outcome(again_s=1.0)
        except Transient as error:
            log.warning("reconcile_delayed", key=str(key), reason=error.reason, error=str(error))
            return Outcome(again_s=error.retry_after_s or 2.0)
        except Exception:
            self._defects[key] += 1
            log.exception("reconcile_failed", key=str(key), lane=lane)
            pause = DEFECT_PAUSES_S[min(self._defects[key], len(DEFECT_PAUSES_S)) - 1]
            return Outcome(again_s=pause)
        self._defects.pop(key, None)
        took_ms = round((time.monotonic() - begun) * 1000, 1)
        log.debug("reconciled", key=str(key), lane=lane, took_ms=took_ms)
        return outcome


def lane_of_domain(context: Context, key: Key) -> str:
    """The lane of the host it is placed on, or that will make the disks of a desktop nobody has
    looked at yet, as far as the caches know. Whoever reads the row moves it where this was wrong.
    """
    digest = context.watcher.domains.get(key.id)
    if digest is None:
        return GENERAL
    if digest.hypervisor and context.units.get(digest.hypervisor):
        return power_lane(digest.hypervisor)
    if digest.is_new and digest.template and digest.kind == Kind.DESKTOP:
        placement = {"pool": digest.request.pool}
        row = {"id": digest.id, "kind": digest.kind, "placement": placement}
        site, _problem = find_site(context, row)
        return GENERAL if site is None else disk_lane(site.unit.id)
    return GENERAL
