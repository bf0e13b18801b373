"""What a domain is: read from the hosts' answers and the ledger of disks, whatever its row claims.
Pure.

`Facts` is all that a decision may rest on, for one row, as just gathered by
engine/reconcilers/domain_facts.py. `see` says what the domain is; what to do about it is decided in
engine/decisions.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from db.states import Activity, Desired, Observed, Reason
from engine.placement import Placed, Refused


class Knowledge(StrEnum):
    """What we know of a host: its domains are listed and events come; the first attempt to
    (re)connect is under way; it cannot be asked; or an administrator said that it is gone for good.
    """

    LISTED = "listed"
    PENDING = "pending"
    LOST = "lost"
    FENCED = "fenced"


POWER: dict[str, Observed] = {
    "running": Observed.STARTED,
    "blocked": Observed.STARTED,
    "shutdown": Observed.STARTED,
    "paused": Observed.PAUSED,
    "pmsuspended": Observed.PAUSED,
}
"""libvirt's words for a domain that is active; in any other it holds no memory and no disk."""

STOP_CAUSES: dict[str, tuple[Reason, str]] = {
    "shutdown": (Reason.GUEST_SHUTDOWN, "The guest was shut down from inside."),
    "crashed": (Reason.GUEST_CRASHED, "The guest crashed."),
    "failed": (Reason.GUEST_CRASHED, "The hypervisor's process for this guest ended by itself."),
    "destroyed": (Reason.POWERED_OFF, "It was powered off on its hypervisor."),
}
"""What a host's event said about the end of a domain."""

STOP_REASONS = frozenset(
    {
        Reason.GUEST_SHUTDOWN,
        Reason.GUEST_CRASHED,
        Reason.POWERED_OFF,
        Reason.STOPPED_UNSEEN,
        Reason.HOST_RESTARTED,
        Reason.DRAINED,
    }
)
DRAIN = "drain"
"""The step of the activity `stopping` where the wish is the hypervisor's and not the desktop's."""
DRAINED = "Its hypervisor was taken out of service, so it was shut down."


@dataclass(frozen=True)
class Making:
    """A template is being made of a desktop; `until`: when that is late."""

    until: datetime


@dataclass(frozen=True)
class Facts:
    """All that a decision may rest on, for one row, as just gathered."""

    hosts: Mapping[str, Knowledge] = field(default_factory=dict)
    """Every host of table `hypervisors`."""
    seen: Mapping[str, str] = field(default_factory=dict)
    """Listed host -> libvirt's word for this domain there."""
    foreign: frozenset[str] = frozenset()
    """Listed hosts where another installation has a domain of this id."""
    stops: Mapping[str, str] = field(default_factory=dict)
    """Host -> what its event said about the end of this domain."""
    boots: Mapping[str, str] = field(default_factory=dict)
    """Host -> what tells one start of that machine from the next."""
    draining: Mapping[str, bool] = field(default_factory=dict)
    """Host that is to be emptied -> whether its desktops are powered off instead of asked."""
    last_host: str | None = None
    """Where the engine's own table `consoles` says it was started last."""
    powered_off: bool = False
    """This very reconcile powered it off."""
    ask_again_at: datetime | None = None
    """This engine has asked the guest to shut down, and gives it until then before it asks again.
    """
    has_disks: bool = False
    """The ledger (or `observed`) says that disks were made for this row once."""
    unmade_disks: tuple[str, ...] = ()
    """Disks the row should have and never had."""
    has_ledger: bool = False
    """The ledger has a record of any kind: there may be files."""
    deletion_begun: bool = False
    children: int = 0
    """Domains whose disks are backed by this one's, and that shall stay."""
    leaving_children: int = 0
    """Such domains that are being deleted."""
    parent_problem: str | None = None
    """Why the template cannot be built upon now, or a template's desktop cannot become one."""
    making: Making | None = None
    """A template is being made of this desktop."""
    unsettled: bool = False
    """This template's making was begun, and is to be taken back or finished."""
    disk_host_problem: str | None = None
    """Why no host can work on its disks now."""
    pool_refused: str | None = None
    """Why its owner may have nothing made in its pool."""
    work: str | None = None
    """What a task does with its disks now: they are neither used nor touched meanwhile."""
    media_problem: str | None = None
    """Why what is to be in its drives cannot be used now."""
    media_topics: tuple[str, ...] = ()
    media_differ: bool = False
    """It runs, and something else is in its drives than should be."""
    placement: Placed | Refused | None = None
    """Where it would run; asked for only where it may have to start."""


@dataclass(frozen=True)
class Sight:
    """What the domain is. `pending`: a host that may have it is just being (re)connected, so
    nothing new can be said for a moment.
    """

    state: Observed
    hypervisor: str | None = None
    reason: str | None = None
    message: str | None = None
    pending: bool = False

    @property
    def may_run(self) -> bool:
        """It runs, or nobody knows: what belongs to a running guest still means something."""
        return self.state in (Observed.STARTED, Observed.PAUSED, Observed.UNKNOWN)


NEVER_MADE = Sight(Observed.ABSENT)


def see(row: Mapping[str, Any], facts: Facts) -> Sight:
    """What the domain is, whatever `observed` claims: hosts first, then the ledger."""
    observed = observed_of(row)
    recorded = recorded_host(observed, facts.last_host)
    active = {host: POWER[word] for host, word in facts.seen.items() if word in POWER}
    if active:
        host = recorded if recorded in active else min(active)
        return Sight(active[host], host)
    if recorded is not None:
        knowledge = facts.hosts.get(recorded, Knowledge.LOST)
        if knowledge is Knowledge.PENDING:
            return Sight(_last_state(observed), recorded, pending=True)
        if knowledge is Knowledge.LOST:
            return Sight(
                Observed.UNKNOWN,
                recorded,
                Reason.HOST_UNREACHABLE,
                f"The hypervisor {recorded!r} cannot be asked, so nobody knows whether it runs.",
            )
    if not facts.has_disks:
        return Sight(Observed.ABSENT)
    reason, message = _why_stopped(row, observed, facts, recorded)
    return Sight(Observed.STOPPED, None, reason, message)


def observed_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row's `observed`, or nothing where a script put something that is none."""
    observed = row.get("observed")
    return dict(observed) if isinstance(observed, Mapping) else {}


def is_wished_away(row: Mapping[str, Any]) -> bool:
    desired = row.get("desired")
    return isinstance(desired, Mapping) and desired.get("state") == Desired.DELETED


def recorded_host(observed: Mapping[str, Any], last_host: str | None) -> str | None:
    """Where it was placed. The engine's own record speaks where `observed` was emptied."""
    recorded = observed.get("hypervisor")
    if isinstance(recorded, str) and recorded:
        return recorded
    return None if "epoch" in observed else last_host


def stop_deadline(observed: Mapping[str, Any], step: str | None = None) -> datetime | None:
    """When patience with the guest ends: kept in the row, so a restart does not prolong it. With
    `step`, only where the asking is that step.
    """
    activity = observed.get("activity")
    if not isinstance(activity, Mapping) or activity.get("name") != Activity.STOPPING:
        return None
    if step is not None and activity.get("step") != step:
        return None
    deadline = activity.get("deadline")
    return deadline if isinstance(deadline, datetime) else None


def is_wished_up(row: Mapping[str, Any]) -> bool:
    desired = row.get("desired")
    state = desired.get("state") if isinstance(desired, Mapping) else None
    return state in (Desired.STARTED, Desired.PAUSED)


def _last_state(observed: Mapping[str, Any]) -> Observed:
    try:
        return Observed(str(observed.get("state")))
    except ValueError:
        return Observed.UNKNOWN


def _why_stopped(
    row: Mapping[str, Any], observed: Mapping[str, Any], facts: Facts, recorded: str | None
) -> tuple[str | None, str | None]:
    if _was_drained(row, observed, facts, recorded):
        return Reason.DRAINED, DRAINED
    if facts.powered_off and recorded is not None:
        return Reason.POWERED_OFF, "It was powered off."
    if _last_state(observed) not in (Observed.STARTED, Observed.PAUSED, Observed.UNKNOWN) or (
        recorded is None
    ):
        kept = str(observed.get("reason")) in STOP_REASONS
        return (observed.get("reason"), observed.get("message")) if kept else (None, None)
    if facts.hosts.get(recorded) is Knowledge.FENCED:
        return Reason.HOST_RESTARTED, f"Its hypervisor {recorded!r} was removed for good."
    boot = facts.boots.get(recorded)
    if observed.get("host_boot") and boot and observed["host_boot"] != boot:
        return Reason.HOST_RESTARTED, f"The hypervisor {recorded!r} was restarted."
    if not is_wished_up(row) or stop_deadline(observed) is not None:
        return None, None
    return STOP_CAUSES.get(
        facts.stops.get(recorded, ""),
        (Reason.STOPPED_UNSEEN, "It ended while the engine was not watching."),
    )


def _was_drained(
    row: Mapping[str, Any], observed: Mapping[str, Any], facts: Facts, recorded: str | None
) -> bool:
    """It is down because its hypervisor was emptied, and not by its own wish."""
    if recorded is None or not is_wished_up(row):
        return False
    if stop_deadline(observed, DRAIN) is not None:
        return True
    cause = facts.stops.get(recorded, "destroyed")
    return recorded in facts.draining and cause == "destroyed"
