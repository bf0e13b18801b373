"""Chooses the hypervisor a desktop runs on, or says why none. Pure.

Eligible is a host that is online, listed, enabled and of the desktop's pool; among those with room
the one where it is being started already, then the favourite, then the one with most free memory
after the start. What is missing is named, because a desktop without room waits and its owner reads
the sentence. Called by engine/reconcilers/domain.py while it gathers facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from db.states import Reason

HOST_SHARE = 0.05
HOST_SHARE_MIN_MIB = 256
"""Memory left to the host itself."""


@dataclass(frozen=True)
class Request:
    """What a desktop needs. `current` is where its start has begun already."""

    pool: str
    memory_mib: int
    vcpus: int
    forced: str | None = None
    favourite: str | None = None
    current: str | None = None
    avoid: str | None = None
    """Where the last try failed: taken only if there is no other."""


@dataclass(frozen=True)
class HostRoom:
    """A hypervisor with what is taken on it. `problem`: why it takes no desktop at all now."""

    id: str
    pools: frozenset[str]
    problem: str | None
    memory_mib: int
    used_memory_mib: int
    domains: int = 0
    used_vcpus: int = 0
    max_memory_mib: int | None = None
    max_vcpus: int | None = None
    max_domains: int | None = None

    @property
    def free_memory_mib(self) -> int:
        own = max(HOST_SHARE_MIN_MIB, int(self.memory_mib * HOST_SHARE))
        usable = self.memory_mib - own
        if self.max_memory_mib is not None:
            usable = min(usable, self.max_memory_mib)
        return usable - self.used_memory_mib


@dataclass(frozen=True)
class Placed:
    hypervisor: str


@dataclass(frozen=True)
class Refused:
    """NoHypervisor: none would take it however empty. NoCapacity: wait until there is room."""

    reason: Reason
    message: str


def choose(request: Request, hosts: Iterable[HostRoom]) -> Placed | Refused:
    of_pool = [host for host in hosts if request.pool in host.pools]
    if request.forced is not None:
        of_pool = [host for host in of_pool if host.id == request.forced]
        if not of_pool:
            return Refused(
                Reason.NO_HYPERVISOR,
                f"It must run on {request.forced!r}, which is not in the pool {request.pool!r}.",
            )
    if not of_pool:
        return Refused(
            Reason.NO_HYPERVISOR, f"The pool {request.pool!r} has no hypervisor that runs desktops."
        )
    ready = [host for host in of_pool if host.problem is None]
    if not ready:
        problems = "; ".join(f"{host.id}: {host.problem}" for host in sorted(of_pool, key=_by_id))
        return Refused(Reason.NO_HYPERVISOR, f"No hypervisor is ready. {problems}.")
    roomy = [host for host in ready if missing_on(request, host) is None]
    if not roomy:
        lacks = "; ".join(
            f"{host.id} {missing_on(request, host)}" for host in sorted(ready, key=_by_id)
        )
        return Refused(Reason.NO_CAPACITY, f"Waiting for room: {lacks}.")
    return Placed(min(roomy, key=lambda host: _rank(request, host)).id)


def missing_on(request: Request, host: HostRoom) -> str | None:
    """What this host lacks for it, in words, or None."""
    if request.memory_mib > host.free_memory_mib:
        free = max(0, host.free_memory_mib)
        return f"has {free} MiB of memory free, {request.memory_mib} MiB are needed"
    if host.max_vcpus is not None and host.used_vcpus + request.vcpus > host.max_vcpus:
        return f"has {host.used_vcpus} of {host.max_vcpus} virtual processors in use"
    if host.max_domains is not None and host.domains >= host.max_domains:
        return f"runs {host.domains} of at most {host.max_domains} desktops"
    return None


def _rank(request: Request, host: HostRoom) -> tuple[bool, bool, bool, int, str]:
    return (
        host.id != request.current,
        host.id == request.avoid,
        host.id != request.favourite,
        -host.free_memory_mib,
        host.id,
    )


def _by_id(host: HostRoom) -> str:
    return host.id
