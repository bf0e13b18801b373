"""The one event loop: sockets, timers, and the greenlets queries run in.

Everything that touches documents runs in this loop's thread, so no locks guard them. A query
runs in a greenlet; when its time slice is used up, or it waits for a commit or for changes, it
switches back here and others get their turn. Other threads (the writer) only `ring()`.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from greenlet import getcurrent, greenlet

SLICE_S: Final = 0.004

Handler = Callable[[int], None]


class Loop:
    """epoll, ready greenlets, timers, and a bell for other threads."""

    def __init__(self) -> None:
        self.on_bell: list[Callable[[], None]] = []
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._ready: deque[tuple[greenlet, Any]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._hub = getcurrent()
        self._stopping = False
        self.slice_ends = 0.0
        self.watch(self._bell, select.EPOLLIN, self._answer_bell)

    # --- sockets and bell -----------------------------------------------------------------

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, events)

    def change(self, descriptor: int, events: int) -> None:
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def ring(self) -> None:
        """Wake the loop; any thread may call this."""
        os.eventfd_write(self._bell, 1)

    def _answer_bell(self, _: int) -> None:
        os.eventfd_read(self._bell)
        for answer in self.on_bell:
            answer()

    # --- greenlets ------------------------------------------------------------------------

    def spawn(self, function: Callable[[], None]) -> None:
        """Run the function in a greenlet of its own, right now, until it first waits."""
        self.slice_ends = time.perf_counter() + SLICE_S
        greenlet(function, self._hub).switch()

    def wake(self, sleeper: greenlet, value: Any = None) -> None:
        """Let a parked greenlet go on soon; `park()` returns the value."""
        self._ready.append((sleeper, value))

    def park(self) -> Any:
        """Wait in the current greenlet until someone wakes it."""
        return self._hub.switch()

    def yield_slice(self) -> float:
        """Let others run if this greenlet has used up its slice; the seconds it had used."""
        over_s = time.perf_counter() - self.slice_ends
        if over_s < 0:
            return 0.0
        current = getcurrent()
        if current is not self._hub:
            self._ready.append((current, None))
            self._hub.switch()
        return SLICE_S + over_s

    # --- timers ---------------------------------------------------------------------------

    def after(self, delay_s: float, function: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), function))

    # --- running --------------------------------------------------------------------------

    def stop(self) -> None:
        self._stopping = True
        self.ring()

    def run(self) -> None:
        while not self._stopping:
            timeout = -1.0
            if self._ready:
                timeout = 0.0
            elif self._timers:
                timeout = max(0.0, self._timers[0][0] - time.monotonic())
            for descriptor, events in self._epoll.poll(timeout):
                handler = self._handlers.get(descriptor)
                if handler is not None:
                    handler(events)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
            for _ in range(len(self._ready)):
                sleeper, value = self._ready.popleft()
                self.slice_ends = time.perf_counter() + SLICE_S
                sleeper.switch(value)
