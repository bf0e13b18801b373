"""Lanes: bounded workers for each hypervisor, so a host that hangs delays no other.

A reconcile that may block on a host runs in that host's lane and blocks on no other; what needs no
host runs in the lane GENERAL. Work waits in its lane in order, for nothing but a free worker there.
Calls that never come back are bounded below this (engine/hypervisor/deadline.py), so a worker
returns in the end and its lane goes on. Used by engine/controller.py alone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from db.logs import get_logger

log = get_logger(__name__)

IDLE_WORKER_S = 30.0
GENERAL = "general"
LANE_SIZES = {"general": 4, "power": 4, "disks": 12, "tasks": 6, "downloads": 3}
"""Workers by the lane's first word: `general`, `power/<host>`, `disks/<host>` for what takes
seconds, `downloads/<host>` and `tasks/<host>` for what may take hours (of the last only a few are
ever busy for long, see engine/reconcilers/task_job.py). Of those of `disks` most wait for one of
them to act for all, see engine/storage/overlays.py.
"""

Job = Callable[[], None]


def power_lane(hypervisor: str) -> str:
    return f"power/{hypervisor}"


def disk_lane(hypervisor: str) -> str:
    return f"disks/{hypervisor}"


def task_lane(hypervisor: str) -> str:
    return f"tasks/{hypervisor}"


def download_lane(hypervisor: str) -> str:
    return f"downloads/{hypervisor}"


def lanes_of(hypervisor: str) -> tuple[str, ...]:
    return tuple(f"{kind}/{hypervisor}" for kind in LANE_SIZES if kind != GENERAL)


@dataclass(frozen=True)
class LaneLoad:
    waiting: int
    busy: int
    oldest_s: float
    """How long the job that runs longest has been running."""


class Executor:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._closed = False

    def submit(self, lane: str, job: Job) -> None:
        with self._lock:
            if self._closed:
                return
            if lane not in self._lanes:
                self._lanes[lane] = _Lane(lane, LANE_SIZES[lane.partition("/")[0]])
            self._lanes[lane].submit(job)

    def drop(self, hypervisor: str) -> None:
        """Forget a host's lanes when nothing waits there: hypervisors come and go."""
        with self._lock:
            for lane in lanes_of(hypervisor):
                if lane in self._lanes and self._lanes[lane].is_idle():
                    del self._lanes[lane]

    def load(self) -> dict[str, LaneLoad]:
        with self._lock:
            lanes = dict(self._lanes)
        return {name: lane.load() for name, lane in lanes.items()}

    def close(self, timeout_s: float) -> bool:
        """Start nothing more and wait for what runs. False where something still runs."""
        with self._lock:
            self._closed = True
            lanes = list(self._lanes.values())
        deadline = time.monotonic() + timeout_s
        for lane in lanes:
            lane.empty()
        return all(lane.wait_idle(deadline) for lane in lanes)


class _Lane:
    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = name, size
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._workers = 0
        self._idle = 0
        self._busy_since: dict[int, float] = {}

    def submit(self, job: Job) -> None:
        with self._changed:
            self._jobs.append(job)
            if self._idle < len(self._jobs) and self._workers < self._size:
                self._workers += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            else:
                self._changed.notify_all()

    def load(self) -> LaneLoad:
        with self._changed:
            oldest = min(self._busy_since.values(), default=time.monotonic())
            return LaneLoad(len(self._jobs), len(self._busy_since), time.monotonic() - oldest)

    def is_idle(self) -> bool:
        with self._changed:
            return not self._jobs and not self._busy_since

    def empty(self) -> None:
        with self._changed:
            self._jobs.clear()

    def wait_idle(self, deadline: float) -> bool:
        with self._changed:
            while self._busy_since or self._jobs:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def _work(self) -> None:
        while (job := self._take()) is not None:
            try:
                job()
            except Exception:
                # The controller's jobs handle their errors; whatever comes here is a defect, and
                # the worker outlives it.
                log.exception("job_failed", lane=self._name)
            finally:
                with self._changed:
                    del self._busy_since[threading.get_ident()]
                    self._changed.notify_all()

    def _take(self) -> Job | None:
        deadline = time.monotonic() + IDLE_WORKER_S
        with self._changed:
            self._idle += 1
            try:
                while not self._jobs:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        self._workers -= 1
                        return None
                    self._changed.wait(left)
                self._busy_since[threading.get_ident()] = time.monotonic()
                return self._jobs.popleft()
            finally:
                self._idle -= 1
