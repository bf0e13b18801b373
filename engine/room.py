"""Who takes room where: what is placed already, and what is being placed at this moment.

A placement counts from the moment it is chosen, before it is written and long before the feed
brings it back, or a class of thirty starting at once would all be put on the emptiest host.
`reserve` chooses and remembers under one lock; the reservation ends with the reconcile, when the
row itself counts. Used by the domain reconciler.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from engine.cache import Domains
from engine.placement import HostRoom, Placed, Refused, Request, choose


@dataclass(frozen=True)
class _Reservation:
    hypervisor: str
    memory_mib: int
    vcpus: int


class Room:
    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._lock = threading.Lock()
        self._reserved: dict[Hashable, _Reservation] = {}

    def reserve(
        self, domain_id: Hashable, request: Request, hosts: Sequence[HostRoom]
    ) -> Placed | Refused:
        """Choose among `hosts` (whose use is filled in here) and hold the place until `release`."""
        with self._lock:
            self._reserved.pop(domain_id, None)
            answer = choose(request, [self._filled(host, domain_id) for host in hosts])
            if isinstance(answer, Placed):
                self._reserved[domain_id] = _Reservation(
                    answer.hypervisor, request.memory_mib, request.vcpus
                )
            return answer

    def release(self, domain_id: Hashable) -> None:
        with self._lock:
            self._reserved.pop(domain_id, None)

    def _filled(self, host: HostRoom, without: Hashable) -> HostRoom:
        used = self._domains.usage(host.id, without)
        placed = set(self._domains.on_host(host.id))
        pending = [
            reservation
            for domain_id, reservation in self._reserved.items()
            if reservation.hypervisor == host.id and domain_id not in placed
        ]
        return replace(
            host,
            domains=used.domains + len(pending),
            used_memory_mib=used.memory_mib + sum(one.memory_mib for one in pending),
            used_vcpus=used.vcpus + sum(one.vcpus for one in pending),
        )
