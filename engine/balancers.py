"""The ways to spread desktops over the hypervisors of a pool that have room. Pure.

Each is one function from a host (with room for this desktop) to a value that sorts: the lowest is
taken. A pool names its balancer; a name that is unknown spreads by free memory. Hosts that count
the same are told apart by what they run and then by name, so that a decision taken again is the
same. Called by engine/placement.py.

    free_memory   most memory free after the start
    round_robin   the one not chosen for longest
    least_cpu     the least busy processors, as measured, with what was placed there since
    weighted      fewest desktops for its weight
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from db.rowcheck import BALANCERS as NAMES
from engine.capacity import HostRoom

Balancer = Callable[[HostRoom], float]


def by_free_memory(host: HostRoom) -> float:
    return -host.free_memory_mib


def by_turn(host: HostRoom) -> float:
    return host.turn


def by_cpu(host: HostRoom) -> float:
    """In busy processors of each that is there. A host that was not measured counts what it was
    promised.
    """
    cpus = max(1, host.cpus)
    if host.cpu_percent is None:
        return host.used_vcpus / cpus
    return host.cpu_percent / 100 + host.recent_vcpus / cpus


def by_weight(host: HostRoom) -> float:
    return (host.domains + 1) / host.weight if host.weight > 0 else float("inf")


BALANCERS: Mapping[str, Balancer] = dict(
    zip(NAMES, (by_free_memory, by_turn, by_cpu, by_weight), strict=True)
)


def rank(balancer: str, host: HostRoom) -> tuple[Any, ...]:
    """Sorts hosts that have room; the lowest is taken."""
    measure = BALANCERS.get(balancer, by_free_memory)
    return (measure(host), host.domains, host.id)
