"""Decides what to do about one domain: (row, facts, now) -> Decision. Pure, and with
engine/sight.py the only place where state words are compared.

`see` (engine/sight.py) says what the domain is; `decide` looks the wish and that sight up in one
complete table and returns the one next action. Nothing here touches a
host or the database: engine/reconcilers/domain.py gathers the facts, performs the action, writes
what came of it and decides anew, so a lost event or a killed engine changes only the delay.

A failure does not change a row's place in the table. A transient one delays the next try, a
terminal one waits for a new wish; meanwhile what is seen is still reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from db.sentences import counted
from db.states import Activity, Desired, Kind, Observed, Reason, Wish, is_handled, read_wish
from engine.actions import (
    NEEDS_DISKS,
    Action,
    AskShutdown,
    ChangeMedia,
    CreateDisks,
    DeleteDisks,
    Fail,
    Forget,
    Hold,
    PowerOff,
    RemoveRow,
    Renew,
    Rest,
    Resume,
    Settle,
    Start,
    Suspend,
    Wait,
)
from engine.placement import Placed
from engine.sight import DRAIN, DRAINED, Facts, Making, Sight, observed_of, see, stop_deadline

RESTART_PAUSE_S = 60.0
"""A guest that crashes right after its start is not started again faster than this."""


RESTART_REASONS = frozenset({Reason.GUEST_CRASHED, Reason.HOST_RESTARTED})
"""What `restart_on_failure` makes good. A guest shut down from inside stays down."""


@dataclass(frozen=True)
class Decision:
    sight: Sight
    wish: Wish
    action: Action


@dataclass(frozen=True)
class _Case:
    row: Mapping[str, Any]
    observed: Mapping[str, Any]
    wish: Wish
    is_new: bool
    sight: Sight
    facts: Facts
    now: datetime

    @property
    def host(self) -> str:
        return self.sight.hypervisor or ""


def decide(row: Mapping[str, Any], facts: Facts, now: datetime) -> Decision:
    """The next action for a valid row (db/rowcheck.py has judged it)."""
    observed = observed_of(row)
    wish = read_wish(row["desired"])
    if facts.deletion_begun:
        # Once begun it is final, whatever a script wishes since.
        wish = replace(wish, state=Desired.DELETED)
    sight = see(row, facts)
    case = _Case(row, observed, wish, not is_handled(wish, observed), sight, facts, now)
    action = _gate(case) or RULES[wish.state, sight.state](case)
    return Decision(sight, wish, _after_work(case, action))


def needs_room(row: Mapping[str, Any]) -> bool:
    """Whether it may have to be placed: for who gathers the facts."""
    return read_wish(row["desired"]).state is Desired.STARTED


def _gate(case: _Case) -> Action | None:
    """What comes before the table: another's domain, a host just connecting, failures."""
    if case.sight.pending:
        return Hold((f"host/{case.sight.hypervisor}",))
    if case.facts.foreign:
        where = ", ".join(sorted(case.facts.foreign))
        return Fail(
            Reason.IN_USE, f"Another installation has a domain of this id on {where}: not touched."
        )
    if case.facts.unsettled:
        return _settle(case)
    if case.facts.making and case.sight.state in (Observed.ABSENT, Observed.STOPPED):
        return _wait_for_template(case, case.facts.making)
    failure = case.observed.get("failure")
    if not isinstance(failure, Mapping) or failure.get("reason") == Reason.INVALID_ROW:
        return None
    if failure.get("terminal") is True:
        return None if case.is_new or case.host in case.facts.draining else Rest()
    retry_at = failure.get("retry_at")
    if isinstance(retry_at, datetime) and case.now < retry_at and _is_of(failure, case.wish):
        return Rest(until=retry_at)
    return None


def _after_work(case: _Case, action: Action) -> Action:
    """What needs the disks waits for the task that has them."""
    if case.facts.work is None or not isinstance(action, NEEDS_DISKS):
        return action
    return Wait(Reason.WORKED_ON, case.facts.work, (f"task/{case.row.get('id')}",))


def _settle(case: _Case) -> Action:
    """Before anything else, even for a wish that failed for good: a desktop waits for it."""
    failure = case.observed.get("failure")
    if isinstance(failure, Mapping) and _is_of(failure, case.wish):
        retry_at = failure.get("retry_at")
        if isinstance(retry_at, datetime) and case.now < retry_at:
            return Rest(until=retry_at)
    return Settle()


def _wait_for_template(case: _Case, making: Making) -> Action:
    """Neither started nor deleted, and no disk made: the wish is kept until it is done."""
    return Wait(
        Reason.MAKING_TEMPLATE,
        "A template is being made of this desktop. It goes on by itself when that is done.",
        (f"making/{case.row.get('id')}",),
        Activity.TEMPLATING,
        making.until,
    )


def _is_of(failure: Mapping[str, Any], wish: Wish) -> bool:
    return failure.get("wish") == wish_record(wish)


def wish_record(wish: Wish) -> dict[str, Any]:
    """A wish as failures name it. `for` leaves `force` out: forcing what is done is no new wish."""
    return {"state": wish.state.value, "at": wish.at, "force": wish.force}


def _finish(case: _Case) -> Action:
    return Rest(finished=True)


def _finish_with_media(case: _Case) -> Action:
    """Whether it is reached for the first time or was long ago: media are changed while it runs."""
    if case.facts.media_differ:
        return ChangeMedia(case.host)
    return _finish(case)


def _create(case: _Case) -> Action:
    if case.facts.pool_refused:
        return Wait(Reason.POOL_REFUSED, case.facts.pool_refused, ("disk-host",))
    if case.facts.parent_problem:
        origin = case.row.get("origin") or {}
        if origin.get("media"):
            topics: tuple[str, ...] = (f"media/{origin['media']}",)
            return Wait(Reason.MEDIA_NOT_READY, case.facts.parent_problem, topics)
        parent = origin.get("template") or origin.get("desktop") or origin.get("task")
        topics = (f"parent/{parent}", f"making/{parent}")
        return Wait(Reason.PARENT_NOT_READY, case.facts.parent_problem, topics)
    if case.facts.disk_host_problem:
        return Wait(Reason.NO_DISK_HOST, case.facts.disk_host_problem, ("disk-host",))
    return CreateDisks(case.facts.unmade_disks)


def _rest_when_made(case: _Case) -> Action:
    return _create(case) if case.facts.unmade_disks else _finish(case)


def _start_or_stay(case: _Case) -> Action:
    if case.is_new:
        return _create(case) if case.facts.unmade_disks else _start(case)
    if case.sight.reason == Reason.DRAINED:
        return Renew()
    if case.row.get("restart_on_failure") is not True or case.sight.reason not in RESTART_REASONS:
        return Rest()
    started_at = case.observed.get("started_at")
    if isinstance(started_at, datetime):
        allowed_at = started_at + timedelta(seconds=RESTART_PAUSE_S)
        if case.now < allowed_at:
            return Rest(until=allowed_at)
    return Renew()


def _start(case: _Case) -> Action:
    if case.facts.media_problem:
        topics = case.facts.media_topics
        return Wait(Reason.MEDIA_NOT_READY, case.facts.media_problem, topics)
    placement = case.facts.placement
    if isinstance(placement, Placed):
        return Start(placement.hypervisor)
    if placement is None:
        return Wait(Reason.NO_HYPERVISOR, "No hypervisor was looked for.", ("room",))
    if case.sight.reason == Reason.DRAINED:
        message = f"{DRAINED} It starts again as soon as it can. {placement.message}"
        return Wait(Reason.DRAINED, message, ("room",))
    return Wait(placement.reason, placement.message, ("room",))


def _resume_if_new(case: _Case) -> Action:
    return Resume(case.host) if case.is_new else Rest()


def _suspend(case: _Case) -> Action:
    return Suspend(case.host)


def _stop(case: _Case) -> Action:
    if case.wish.force or case.facts.draining.get(case.host):
        return PowerOff(case.host)
    return _ask(case, stop_deadline(case.observed), drain=False)


def _ask(case: _Case, deadline: datetime | None, *, drain: bool) -> Action:
    """To shut down: again and again until the deadline, and then no more."""
    if deadline is None:
        return AskShutdown(case.host, None, drain)
    if case.now >= deadline:
        return PowerOff(case.host)
    ask_again_at = case.facts.ask_again_at
    if ask_again_at is not None and case.now < ask_again_at:
        return Rest(until=min(ask_again_at, deadline))
    return AskShutdown(case.host, deadline, drain)


def _unless_drained(rule: Callable[[_Case], Action]) -> Callable[[_Case], Action]:
    """A desktop that is to be up goes down while its hypervisor is being emptied. Its wish stays
    what it is. One that was paused wakes first, so that the guest can shut down in order.
    """

    def guarded(case: _Case) -> Action:
        deadline = stop_deadline(case.observed, DRAIN)
        if case.host not in case.facts.draining:
            # Called off: a guest that was asked may still obey, and is then started again.
            asked = deadline is not None and case.now < deadline
            return Rest(until=deadline) if asked else rule(case)
        if case.facts.draining[case.host]:
            return PowerOff(case.host)
        if case.sight.state is Observed.PAUSED:
            return Resume(case.host)
        return _ask(case, deadline, drain=True)

    return guarded


def _power_off(case: _Case) -> Action:
    return PowerOff(case.host)


def _wait_for_host(case: _Case) -> Action:
    return Wait(
        Reason.HOST_UNREACHABLE, str(case.sight.message), (f"host/{case.sight.hypervisor}",)
    )


def _deleting(rule: Callable[[_Case], Action]) -> Callable[[_Case], Action]:
    """Refuse what others are built upon. Once begun it is final."""

    def guarded(case: _Case) -> Action:
        if case.facts.deletion_begun:
            return rule(case)
        if case.facts.children:
            return Fail(
                Reason.IN_USE,
                f"{counted(case.facts.children, 'other domain is', 'other domains are')} built "
                f"upon this {_kind(case)}: delete that first. Nothing was deleted.",
            )
        if case.facts.leaving_children:
            return Wait(
                Reason.IN_USE,
                counted(
                    case.facts.leaving_children,
                    "domain built upon it is being deleted first.",
                    "domains built upon it are being deleted first.",
                ),
                (f"children/{case.row.get('id')}",),
            )
        return rule(case)

    return guarded


def _kind(case: _Case) -> str:
    return str(case.row.get("kind") or Kind.DESKTOP.value)


def _delete_disks(case: _Case) -> Action:
    if case.facts.disk_host_problem:
        return Wait(Reason.NO_DISK_HOST, case.facts.disk_host_problem, ("disk-host",))
    return DeleteDisks()


def _remove(case: _Case) -> Action:
    """Never made: but where making had begun there may be a file."""
    return _delete_disks(case) if case.facts.has_ledger else RemoveRow()


def _wait_or_forget(case: _Case) -> Action:
    return Forget(case.host) if case.wish.force else _wait_for_host(case)


RULES: dict[tuple[Desired, Observed], Callable[[_Case], Action]] = {
    (Desired.STOPPED, Observed.ABSENT): _create,
    (Desired.STOPPED, Observed.STOPPED): _rest_when_made,
    (Desired.STOPPED, Observed.STARTED): _stop,
    (Desired.STOPPED, Observed.PAUSED): _power_off,
    (Desired.STOPPED, Observed.UNKNOWN): _wait_for_host,
    (Desired.STARTED, Observed.ABSENT): _create,
    (Desired.STARTED, Observed.STOPPED): _start_or_stay,
    (Desired.STARTED, Observed.STARTED): _unless_drained(_finish_with_media),
    (Desired.STARTED, Observed.PAUSED): _unless_drained(_resume_if_new),
    (Desired.STARTED, Observed.UNKNOWN): _wait_for_host,
    (Desired.PAUSED, Observed.ABSENT): _create,
    (Desired.PAUSED, Observed.STOPPED): _rest_when_made,
    (Desired.PAUSED, Observed.STARTED): _unless_drained(_suspend),
    (Desired.PAUSED, Observed.PAUSED): _unless_drained(_finish),
    (Desired.PAUSED, Observed.UNKNOWN): _wait_for_host,
    (Desired.DELETED, Observed.ABSENT): _deleting(_remove),
    (Desired.DELETED, Observed.STOPPED): _deleting(_delete_disks),
    (Desired.DELETED, Observed.STARTED): _deleting(_power_off),
    (Desired.DELETED, Observed.PAUSED): _deleting(_power_off),
    (Desired.DELETED, Observed.UNKNOWN): _deleting(_wait_or_forget),
}
"""The state table of the architecture, complete."""
