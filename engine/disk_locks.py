"""Holds on disks within this engine: a domain's own disks alone, its backing chain shared.

So a template is never deleted while a desktop is being made upon it. Holds are taken all at once or
not at all and never waited for: who does not get one waits for the topic `disks/<id>` and decides
anew. Used by the reconcilers that touch disk files.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class Held(Exception):
    """Another action works on the disks of `domain_id`."""

    def __init__(self, domain_id: str) -> None:
        super().__init__(f"another action works on the disks of {domain_id}")
        self.topic = f"disks/{domain_id}"


class DiskLocks:
    def __init__(self, fire: Callable[[str], None]) -> None:
        self._fire = fire
        self._lock = threading.Lock()
        self._alone: set[str] = set()
        self._shared: Counter[str] = Counter()

    @contextmanager
    def hold(self, own: str, chain: Iterable[str] = ()) -> Iterator[None]:
        """Raises Held where another action is in the way."""
        shared = tuple(chain)
        with self._lock:
            for domain_id in shared:
                if domain_id in self._alone:
                    raise Held(domain_id)
            if own in self._alone or self._shared[own]:
                raise Held(own)
            self._alone.add(own)
            self._shared.update(shared)
        try:
            yield
        finally:
            with self._lock:
                self._alone.discard(own)
                self._shared.subtract(shared)
                self._shared += Counter()
            for domain_id in (own, *shared):
                self._fire(f"disks/{domain_id}")
