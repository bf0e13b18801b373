"""The queue of keys: each waits once, and is worked on by one thread at a time.

A key added while it waits is the same key; one added while it is worked on comes again afterwards.
`add_after` brings a key back later, `Topics` when something it waits for has changed. Keys carry no
message: whoever takes one reads the row and the facts anew. Fed by engine/watcher.py, by libvirt's
events and by timers; emptied by engine/controller.py.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Key(NamedTuple):
    """`kind` names a reconciler (engine/active.py). A script may have made rows whose ids are no
    strings.
    """

    kind: str
    id: Hashable

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"


@dataclass(frozen=True)
class Depth:
    waiting: int
    processing: int
    delayed: int


class WorkQueue:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Condition()
        self._waiting: deque[Key] = deque()
        self._dirty: set[Key] = set()
        self._processing: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._closed = False

    def add(self, key: Key) -> None:
        """Have `key` worked on as soon as a thread is free; supersedes what was set for later."""
        with self._lock:
            self._due.pop(key, None)
            self._add(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Have it come back in `delay_s`; of several times set for a key the earliest counts."""
        with self._lock:
            due = self._clock() + max(0.0, delay_s)
            if key in self._dirty or due >= self._due.get(key, float("inf")):
                return
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))
            self._lock.notify()

    def get(self, timeout_s: float) -> Key | None:
        """The next key, now this thread's until `done`; None after `timeout_s` or when closed."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while not self._closed:
                self._move_due()
                if self._waiting:
                    key = self._waiting.popleft()
                    self._dirty.discard(key)
                    self._due.pop(key, None)
                    self._processing.add(key)
                    return key
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._lock.wait(min(left, self._until_due()))
            return None

    def done(self, key: Key) -> None:
        """Give the key back. If it was added meanwhile it waits again at once."""
        with self._lock:
            self._processing.discard(key)
            if key in self._dirty:
                self._waiting.append(key)
                self._lock.notify()

    def depth(self) -> Depth:
        with self._lock:
            return Depth(len(self._waiting), len(self._processing), len(self._due))

    def close(self) -> None:
        """Let every `get` return None from now on."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def _add(self, key: Key) -> None:
        if key in self._dirty or self._closed:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._waiting.append(key)
            self._lock.notify()

    def _move_due(self) -> None:
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            # A key set anew for an earlier time, or worked on since, leaves its old entry behind.
            if self._due.get(key) == due:
                del self._due[key]
                self._add(key)

    def _until_due(self) -> float:
        return max(0.0, self._heap[0][0] - self._clock()) if self._heap else 60.0


class Topics:
    """Keys that wait for something else (`room`, `parent/<id>`, `host/<id>`), woken when it fires.

    Waiting begins after the facts were read, so a change in between would be missed: `mark` is
    taken before the facts, and `wait` refuses if a topic has fired since.
    """

    def __init__(self, wake: Callable[[Key], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._count = 0
        self._fired: dict[str, int] = {}
        self._keys: dict[str, set[Key]] = {}

    def mark(self) -> int:
        with self._lock:
            return self._count

    def wait(self, key: Key, topics: Iterable[str], mark: int) -> bool:
        """False where one of them fired after `mark`: the key must look again now."""
        wanted = list(topics)
        with self._lock:
            if any(self._fired.get(topic, 0) > mark for topic in wanted):
                return False
            for topic in wanted:
                self._keys.setdefault(topic, set()).add(key)
            return True

    def wake(self, key: Key) -> None:
        """Have one key looked at now, whatever it waits for."""
        self._wake(key)

    def fire(self, topic: str) -> None:
        with self._lock:
            self._count += 1
            self._fired[topic] = self._count
            keys = self._keys.pop(topic, set())
        for key in sorted(keys, key=str):
            self._wake(key)

    def forget(self, topic: str) -> None:
        """The thing the topic is about is gone for good."""
        with self._lock:
            self._fired.pop(topic, None)
