"""A guest that is down: why, and whether it is started again."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from db.states import Desired, Observed, Reason
from engine.actions import Renew, Rest
from engine.decisions import decide
from engine.placement import Placed
from engine.sight import Facts, Knowledge
from tests.engine.domain_cases import FACTS_OF, HOST, NOW, decide_for, make_row


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"stops": {HOST: "shutdown"}}, Reason.GUEST_SHUTDOWN),
        ({"stops": {HOST: "crashed"}}, Reason.GUEST_CRASHED),
        ({"stops": {HOST: "failed"}}, Reason.GUEST_CRASHED),
        ({"stops": {HOST: "destroyed"}}, Reason.POWERED_OFF),
        ({}, Reason.STOPPED_UNSEEN),
        ({"boots": {HOST: "second"}}, Reason.HOST_RESTARTED),
        ({"hosts": {HOST: Knowledge.FENCED}}, Reason.HOST_RESTARTED),
    ],
)
def test_why_a_guest_is_down_is_told_and_it_stays_down(
    facts: dict[str, Any], reason: Reason
) -> None:
    now = Facts(**{"hosts": {HOST: Knowledge.LISTED}, "has_disks": True, **facts})
    row = {"handled": True, "host_boot": "first"}
    decision = decide_for(Desired.STARTED, Observed.STARTED, now, **row)
    assert decision.sight.state is Observed.STOPPED
    assert decision.sight.reason == reason
    assert decision.action == Rest()
    later = make_row(Desired.STARTED, Observed.STOPPED, handled=True, reason=reason)
    assert decide(later, now, NOW).sight.reason == reason


@pytest.mark.parametrize("reason", [Reason.GUEST_CRASHED, Reason.HOST_RESTARTED])
def test_restart_on_failure_starts_again_after_a_pause(reason: Reason) -> None:
    row = make_row(Desired.STARTED, Observed.STOPPED, handled=True, reason=reason)
    row["restart_on_failure"] = True
    facts = dataclasses.replace(FACTS_OF[Observed.STOPPED], placement=Placed(HOST))
    row["observed"]["started_at"] = NOW - timedelta(minutes=5)
    assert decide(row, facts, NOW).action == Renew()
    row["observed"]["started_at"] = NOW - timedelta(seconds=10)
    assert decide(row, facts, NOW).action == Rest(until=NOW + timedelta(seconds=50))


def test_restart_on_failure_leaves_a_guest_down_that_was_shut_down_inside() -> None:
    row = make_row(
        Desired.STARTED, Observed.STOPPED, handled=True, reason=Reason.GUEST_SHUTDOWN.value
    )
    row["restart_on_failure"] = True
    facts = dataclasses.replace(FACTS_OF[Observed.STOPPED], placement=Placed(HOST))
    assert decide(row, facts, NOW).action == Rest()
