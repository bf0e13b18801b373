"""Gives a deadline to calls that have none: libvirt, the resolver.

Such a call cannot be cancelled from outside, so it runs on a thread of its own kind; past its
deadline the caller goes on and the thread is abandoned. An abandoned call keeps its slot until it
really ends, so a host that hangs can never collect more than `slots` threads: after that, calls
fail at once. Whoever is told that a call is late closes the connection, and that ends the call.
`CallSlots` serves one host; `call_within` is the single shot.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

IDLE_WORKER_S = 30.0


class LateCall(Exception):
    """The call did not return in time (or found no slot); it may still be running."""


class CallSlots:
    """At most `slots` calls at once, each on a daemon thread that is used again when it came back
    in time.
    """

    def __init__(self, name: str, slots: int) -> None:
        self._name = name
        self._free = threading.BoundedSemaphore(slots)
        self._jobs: queue.SimpleQueue[_Job[Any]] = queue.SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    def call(self, timeout_s: float, function: Callable[[], T]) -> T:
        """The function's result or exception, or LateCall. Waiting for a slot counts."""
        deadline = time.monotonic() + timeout_s
        if not self._free.acquire(timeout=timeout_s):
            raise LateCall(f"all call slots of {self._name} are taken by calls that hang")
        job = _Job(function)
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            else:
                threading.Thread(target=self._work, name=f"calls-{self._name}", daemon=True).start()
        self._jobs.put(job)
        return job.wait(deadline - time.monotonic())

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_WORKER_S)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                continue  # a job was promised to this thread meanwhile
            job.perform()
            with self._lock:
                self._idle += 1
            self._free.release()


def call_within(timeout_s: float, function: Callable[[], T], *, name: str) -> T:
    """One call on a thread of its own. Raises LateCall."""
    job = _Job(function)
    threading.Thread(target=job.perform, name=name, daemon=True).start()
    return job.wait(timeout_s)


class _Job(Generic[T]):
    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._done = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None

    def perform(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:  # noqa: BLE001 (handed to the caller, whatever it is)
            self._error = error
        self._done.set()

    def wait(self, timeout_s: float) -> T:
        if not self._done.wait(max(0.0, timeout_s)):
            raise LateCall("the call passed its deadline")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]
