"""Owns the engine's loops: starts them, notices when one ends or hangs, starts it again.

A loop is a function that gets a Beat: it calls `beat()` at least every few seconds and returns when
`stopping()` is true. A loop that raises is logged and started again after a pause that grows. Each
loop's last beat is published in table `engine`, row `ticks`, for the admin page and /healthz. Made
by engine/active.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from db.errors import Fenced
from db.logs import get_logger

log = get_logger(__name__)

RESTART_PAUSES_S = (0.1, 0.5, 1.0, 2.0, 5.0)
QUIET_S = 60.0
"""A loop that ran this long has recovered: its next pause is the shortest again."""
SILENCE_S = 20.0
"""A loop that has not beaten for so long is shown as unhealthy."""


class Beat:
    """What a loop is given: the clock it shows itself alive on, and the order to stop."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.at = time.monotonic()

    def beat(self) -> None:
        self.at = time.monotonic()

    def stopping(self) -> bool:
        return self._stop.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Sleep, but wake to stop. True where the loop is to go on."""
        self.beat()
        return not self._stop.wait(timeout_s)


LoopBody = Callable[[Beat], None]


@dataclass
class _Loop:
    name: str
    body: LoopBody
    silence_s: float
    restarts: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    beat: Beat = field(init=False)

    def __post_init__(self) -> None:
        self.beat = Beat(self.stop)


class Supervisor:
    """`on_fenced` is called once when a loop finds that another engine is active."""

    def __init__(self, on_fenced: Callable[[], None]) -> None:
        self._on_fenced = on_fenced
        self._lock = threading.Lock()
        self._loops: dict[str, _Loop] = {}

    def start(self, name: str, body: LoopBody, *, silence_s: float = SILENCE_S) -> None:
        loop = _Loop(name, body, silence_s)
        loop.thread = threading.Thread(target=self._run, args=(loop,), name=name, daemon=True)
        with self._lock:
            if name in self._loops:
                raise ValueError(f"the loop {name} runs already")
            self._loops[name] = loop
        loop.thread.start()

    def tell_to_stop(self, name: str) -> None:
        with self._lock:
            loop = self._loops.get(name)
        if loop:
            loop.stop.set()

    def stop(self, names: list[str], timeout_s: float) -> list[str]:
        """Stop these loops, in order; the names of those that did not end in time."""
        deadline = time.monotonic() + timeout_s
        for name in names:
            self.tell_to_stop(name)
        late = []
        for name in names:
            with self._lock:
                loop = self._loops.pop(name, None)
            if loop is None or loop.thread is None:
                continue
            loop.thread.join(max(0.0, deadline - time.monotonic()))
            if loop.thread.is_alive():
                late.append(name)
        return late

    def names(self) -> list[str]:
        """In the order they were started."""
        with self._lock:
            return list(self._loops)

    def ticks(self) -> dict[str, Any]:
        """name -> {age_s, restarts, healthy}, as table `engine` shows it."""
        now = time.monotonic()
        with self._lock:
            loops = list(self._loops.values())
        return {loop.name: _describe(loop, now) for loop in loops}

    def _run(self, loop: _Loop) -> None:
        failures = 0
        while not loop.stop.is_set():
            begun = time.monotonic()
            try:
                loop.beat.beat()
                loop.body(loop.beat)
                if not loop.stop.is_set():
                    log.error("loop_ended", loop=loop.name)
            except Fenced:
                self._on_fenced()
                return
            except Exception:
                log.exception("loop_failed", loop=loop.name)
            if loop.stop.is_set():
                return
            failures = 1 if time.monotonic() - begun > QUIET_S else failures + 1
            loop.restarts += 1
            loop.stop.wait(RESTART_PAUSES_S[min(failures, len(RESTART_PAUSES_S)) - 1])


def _describe(loop: _Loop, now: float) -> dict[str, Any]:
    age_s = now - loop.beat.at
    alive = loop.thread is not None and loop.thread.is_alive()
    return {
        "age_s": round(age_s, 1),
        "restarts": loop.restarts,
        "healthy": alive and age_s < loop.silence_s,
    }
