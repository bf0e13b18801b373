"""Chooses the hypervisor a desktop runs on, or says why none. Pure.

Eligible is a host that is online, listed, enabled, of the desktop's pool and has its networks;
among those with room the one where it is being started already, then the favourite, then the one
the pool's balancer puts first. What is missing is named, because a desktop without room waits and
its owner reads the sentence. Whose turn it is where several wait is for engine/turns.py. Called by
engine/room.py while the domain reconciler gathers facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from db.states import Reason
from engine.balancers import rank
from engine.capacity import HostRoom, Request, hardware_missing_on, missing_on, networks_missing_on

__all__ = ["HostRoom", "Placed", "Refused", "Request", "choose", "missing_on"]

DEFAULT_BALANCER = "free_memory"


@dataclass(frozen=True)
class Placed:
    hypervisor: str


@dataclass(frozen=True)
class Refused:
    """NoHypervisor, NoNetwork, HardwareMissing: none would take it however empty. NoCapacity: wait
    until there is room. Others: what stands in the way whatever the hosts have.
    """

    reason: Reason
    message: str


def choose(
    request: Request, hosts: Iterable[HostRoom], balancer: str = DEFAULT_BALANCER
) -> Placed | Refused:
    of_pool = [host for host in hosts if request.pool in host.pools]
    if request.forced is not None:
        of_pool = [host for host in of_pool if host.id == request.forced]
        if not of_pool:
            return Refused(
                Reason.NO_HYPERVISOR,
                f"It must run on {request.forced!r}, which was removed, is disabled or is not in "
                f"the pool {request.pool!r}. An administrator may choose another: 'Where it runs'.",
            )
    if not of_pool:
        return Refused(
            Reason.NO_HYPERVISOR, f"The pool {request.pool!r} has no hypervisor that runs desktops."
        )
    ready = [host for host in of_pool if host.problem is None]
    if not ready:
        problems = _of_each(of_pool, lambda host: f": {host.problem}")
        return Refused(Reason.NO_HYPERVISOR, f"No hypervisor is ready. {problems}.")
    able = [host for host in ready if hardware_missing_on(request, host) is None]
    if not able:
        lacks = _of_each(ready, lambda host: f" {hardware_missing_on(request, host)}")
        return Refused(Reason.HARDWARE_MISSING, f"No hypervisor can give it its hardware: {lacks}.")
    fitting = [host for host in able if networks_missing_on(request, host) is None]
    if not fitting:
        lacks = _of_each(able, lambda host: f" {networks_missing_on(request, host)}")
        return Refused(Reason.NO_NETWORK, f"No hypervisor has its networks: {lacks}.")
    roomy = [host for host in fitting if missing_on(request, host) is None]
    if not roomy:
        lacks = _of_each(fitting, lambda host: f" {missing_on(request, host)}")
        return Refused(Reason.NO_CAPACITY, f"Waiting for room: {lacks}.")
    return Placed(min(roomy, key=lambda host: _rank(request, host, balancer)).id)


def _rank(request: Request, host: HostRoom, balancer: str) -> tuple[Any, ...]:
    return (
        host.id != request.current,
        host.id == request.avoid,
        host.id != request.favourite,
        *rank(balancer, host),
    )


def _of_each(hosts: Iterable[HostRoom], say: Callable[[HostRoom], str]) -> str:
    return "; ".join(f"{host.id}{say(host)}" for host in sorted(hosts, key=lambda host: host.id))
