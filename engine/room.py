"""Who takes room where: what is placed already, what is being placed at this moment, who waits.

A placement counts from the moment it is chosen, before it is written and long before the feed
brings it back, or a class of thirty starting at once would all be put on the emptiest host.
`reserve` chooses and remembers under one lock; the reservation ends with the reconcile, when the
row itself counts. Who waits is read from the rows themselves (engine/cache.py), so a queue outlives
the engine. Used by the domain reconciler and engine/loops/waiting.py.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from engine.cache import Domains
from engine.placement import DEFAULT_BALANCER, HostRoom, Placed, Refused, Request
from engine.turns import Waiting, take_turn

RECENT_S = 12.0
"""A measurement of the processors may be this old: what was placed since is added to it."""


@dataclass(frozen=True)
class _Reservation:
    hypervisor: str
    memory_mib: int
    vcpus: int


class Room:
    """`balancer_of`: the balancer that a pool's row names."""

    def __init__(
        self,
        domains: Domains,
        balancer_of: Callable[[str], str] = lambda _pool: DEFAULT_BALANCER,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._domains = domains
        self._balancer_of = balancer_of
        self._clock = clock
        self._lock = threading.Lock()
        self._reserved: dict[Hashable, _Reservation] = {}
        self._turns: dict[str, int] = {}
        self._recent: dict[str, deque[tuple[float, int]]] = {}

    def reserve(
        self,
        domain_id: Hashable,
        request: Request,
        hosts: Sequence[HostRoom],
        since: datetime | None = None,
    ) -> Placed | Refused:
        """Choose among `hosts` (whose use is filled in here) and hold the place until `release`.
        `since`: when it was wished started, which is its place in the queue.
        """
        with self._lock:
            self._reserved.pop(domain_id, None)
            answer = take_turn(
                request,
                self._ahead_of(domain_id, request.pool, since),
                [self._filled(host, domain_id) for host in hosts],
                self._clock(),
                self._balancer_of(request.pool),
            )
            if isinstance(answer, Placed):
                self._note(domain_id, request, answer.hypervisor)
            return answer

    def release(self, domain_id: Hashable) -> bool:
        """True where the room that was held is free again: it was not placed there after all."""
        with self._lock:
            held = self._reserved.pop(domain_id, None)
        return held is not None and domain_id not in self._domains.on_host(held.hypervisor)

    def queue_of(self, pool: str) -> list[Waiting]:
        """Who waits for room in this pool, the first first."""
        return sorted(self._domains.waiting(pool), key=lambda one: one.place)

    def place_in_queue(
        self, domain_id: Hashable, request: Request, since: datetime
    ) -> tuple[int, int]:
        """(its place, how many wait), itself counted whether its row says so yet or not."""
        others = [one for one in self._domains.waiting(request.pool) if one.id != domain_id]
        own = Waiting(domain_id, request, since).place
        return 1 + sum(1 for one in others if one.place < own), 1 + len(others)

    def _ahead_of(self, domain_id: Hashable, pool: str, since: datetime | None) -> list[Waiting]:
        own = (since or self._clock(), str(domain_id))
        return [one for one in self.queue_of(pool) if one.id != domain_id and one.place < own]

    def _note(self, domain_id: Hashable, request: Request, hypervisor: str) -> None:
        held = _Reservation(hypervisor, request.memory_mib, request.vcpus)
        self._reserved[domain_id] = held
        if hypervisor == request.current:
            return  # chosen before: only looked at again
        self._turns[hypervisor] = max(self._turns.values(), default=0) + 1
        recent = self._recent.setdefault(hypervisor, deque(maxlen=1000))
        recent.append((time.monotonic(), request.vcpus))

    def _filled(self, host: HostRoom, without: Hashable) -> HostRoom:
        used = self._domains.usage(host.id, without)
        placed = set(self._domains.on_host(host.id))
        pending = [
            reservation
            for domain_id, reservation in self._reserved.items()
            if reservation.hypervisor == host.id and domain_id not in placed
        ]
        horizon = time.monotonic() - RECENT_S
        return replace(
            host,
            domains=used.domains + len(pending),
            used_memory_mib=used.memory_mib + sum(one.memory_mib for one in pending),
            used_vcpus=used.vcpus + sum(one.vcpus for one in pending),
            turn=self._turns.get(host.id, 0),
            recent_vcpus=sum(vcpus for at, vcpus in self._recent.get(host.id, ()) if at >= horizon),
        )
