"""What becomes of the domains of a host that is emptied: decisions and how they are told.

The state table while a host is emptied is in test_decisions.py.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from db.states import Desired, Observed, Reason
from engine.actions import AskShutdown, PowerOff, Renew, Rest, Start, Wait
from engine.placement import Refused
from engine.sight import Facts, Knowledge
from tests.engine.domain_cases import FACTS_OF, HOST, NOW, decide_for

DRAINING: dict[str, Any] = {
    "name": "stopping",
    "step": "drain",
    "deadline": NOW + timedelta(seconds=30),
}


def emptied(**changes: Any) -> Facts:
    """As the host's answer was before, and it is being emptied."""
    return dataclasses.replace(FACTS_OF[Observed.STARTED], draining={HOST: False}, **changes)


def test_a_drained_guest_has_until_its_deadline_and_a_failure_does_not_keep_it() -> None:
    over = {**DRAINING, "deadline": NOW - timedelta(seconds=1)}
    for activity, expected in ((DRAINING, AskShutdown), (over, PowerOff)):
        decision = decide_for(
            Desired.STARTED, Observed.STARTED, emptied(), handled=True, activity=activity
        )
        assert isinstance(decision.action, expected)
    failed = decide_for(
        Desired.STARTED,
        Observed.STARTED,
        emptied(),
        handled=True,
        failure={"reason": "StopFailed", "terminal": True},
    )
    assert failed.action == AskShutdown(HOST, None, drain=True)


@pytest.mark.parametrize(
    ("facts", "activity"),
    [
        ({}, DRAINING),
        ({"stops": {HOST: "shutdown"}}, DRAINING),
        ({"powered_off": True}, None),
        ({"stops": {HOST: "destroyed"}}, None),
        ({"boots": {HOST: "second"}}, None),
    ],
)
def test_what_was_drained_says_so_and_starts_again_by_itself(
    facts: dict[str, Any], activity: dict[str, Any] | None
) -> None:
    gone = {"seen": {}, "hosts": {HOST: Knowledge.LISTED}}
    now = emptied(**gone, **facts)
    row = {"handled": True, "activity": activity, "host_boot": "first"}
    decision = decide_for(Desired.STARTED, Observed.STARTED, now, **row)
    assert (decision.sight.state, decision.sight.reason) == (Observed.STOPPED, Reason.DRAINED)
    assert decision.action == Renew()
    again = decide_for(Desired.STARTED, Observed.STOPPED, reason="Drained")
    assert again.action == Start(HOST)
    paused = decide_for(Desired.PAUSED, Observed.STARTED, now, **row)
    assert paused.action == Rest(finished=True)
    assert paused.sight.reason == Reason.DRAINED


def test_a_guest_that_shut_down_by_itself_while_its_host_is_emptied_stays_down() -> None:
    now = emptied(seen={}, hosts={HOST: Knowledge.LISTED}, stops={HOST: "shutdown"})
    decision = decide_for(Desired.STARTED, Observed.STARTED, now, handled=True)
    assert decision.sight.reason == Reason.GUEST_SHUTDOWN
    assert decision.action == Rest()


def test_a_drained_desktop_without_room_waits_and_both_sentences_are_told_once() -> None:
    refused = Refused(Reason.NO_CAPACITY, "Waiting for room: hyper-2 is full.")
    facts = dataclasses.replace(FACTS_OF[Observed.STOPPED], placement=refused)
    first = decide_for(Desired.STARTED, Observed.STOPPED, facts, reason="Drained", message="Old.")
    assert isinstance(first.action, Wait)
    assert (first.action.reason, first.action.topics) == (Reason.DRAINED, ("room",))
    assert "taken out of service" in first.action.message
    assert first.action.message.endswith("hyper-2 is full.")
    second = decide_for(
        Desired.STARTED, Observed.STOPPED, facts, reason="Drained", message=first.action.message
    )
    assert second.action == first.action


def test_a_drain_called_off_leaves_a_guest_that_was_asked_the_time_it_had() -> None:
    row = {"handled": True, "activity": DRAINING}
    waiting = decide_for(Desired.STARTED, Observed.STARTED, **row)
    assert waiting.action == Rest(until=DRAINING["deadline"])
    obeyed = Facts(has_disks=True, hosts={HOST: Knowledge.LISTED}, stops={HOST: "shutdown"})
    assert decide_for(Desired.STARTED, Observed.STARTED, obeyed, **row).action == Renew()
    row["activity"] = {**DRAINING, "deadline": NOW - timedelta(seconds=1)}
    assert decide_for(Desired.STARTED, Observed.STARTED, **row).action == Rest(finished=True)
