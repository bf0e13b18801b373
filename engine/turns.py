"""Whose turn it is where several desktops of a pool wait for room. Pure.

First come, first served, by the time of the wish. Whoever asks is placed only in what is left once
all that have waited longer are placed, so it does not matter in which order they are looked at. One
that does not fit yet does not hold up smaller ones behind it, but not for ever either: after
PATIENCE the hypervisor on which it is nearest to fitting takes nothing new from behind it, empties
as desktops stop, and is its own in the end. At most one hypervisor of a pool is kept in this way at
a time, and none for a desktop that no hypervisor could run even if it were empty. Called by
engine/room.py.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from db.states import Reason
from engine.capacity import HostRoom, Request, could_ever_run
from engine.placement import DEFAULT_BALANCER, Placed, Refused, choose

PATIENCE = timedelta(seconds=120)
"""How long smaller desktops may go first."""


@dataclass(frozen=True)
class Waiting:
    """A desktop that waits for room, `since` when."""

    id: Hashable
    request: Request
    since: datetime

    @property
    def place(self) -> tuple[datetime, str]:
        """What the queue is sorted by."""
        return self.since, str(self.id)


def take_turn(
    request: Request,
    ahead: Sequence[Waiting],
    hosts: Iterable[HostRoom],
    now: datetime,
    balancer: str = DEFAULT_BALANCER,
) -> Placed | Refused:
    """Where it may run now. `ahead`: who has waited longer in the same pool, the longest first."""
    left = list(hosts)
    answer = choose(request, left, balancer)
    if request.current is not None:
        return answer  # it has begun: there is nothing to queue for any more
    is_kept = False
    for one in ahead:
        if isinstance(answer, Refused):
            break
        theirs = choose(one.request, left, balancer)
        if isinstance(theirs, Placed):
            left = [
                host.with_one_more(one.request) if host.id == theirs.hypervisor else host
                for host in left
            ]
        elif not is_kept and now - one.since >= PATIENCE:
            hope = best_hope(one.request, left)
            is_kept = hope is not None
            left = [replace(host, kept=True) if host.id == hope else host for host in left]
        else:
            continue
        answer = choose(request, left, balancer)
        if isinstance(answer, Refused):
            return Refused(
                Reason.NO_CAPACITY, "Waiting for room: what is free is for who has waited longer."
            )
    return answer


def best_hope(request: Request, hosts: Iterable[HostRoom]) -> str | None:
    """The hypervisor on which a desktop that does not fit is nearest to fitting."""
    able = [
        host
        for host in hosts
        if request.pool in host.pools
        and host.problem is None
        and request.forced in (None, host.id)
        and could_ever_run(request, host)
    ]
    nearest = min(able, key=lambda host: (-host.free_memory_mib, host.id), default=None)
    return nearest.id if nearest else None
