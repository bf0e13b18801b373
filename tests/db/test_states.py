"""The words and the table of actions, over every combination."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.states import (
    ACTIONS,
    WISH_OF_ACTION,
    Action,
    Condition,
    Desired,
    Observed,
    Reason,
    actions_of,
    condition_of,
    is_handled,
    read_wish,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make_row(desired: str, observed: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "desktop",
        "desired": {"state": desired, "at": NOW},
        "observed": {"state": observed, **more},
    }


def test_every_condition_has_its_actions() -> None:
    assert set(ACTIONS) == set(Condition)


def test_every_action_that_is_a_wish_says_which() -> None:
    assert set(Action) - set(WISH_OF_ACTION) == {Action.RETRY, Action.EDIT, Action.VIEW}


@pytest.mark.parametrize(
    ("desired", "observed", "handled"),
    list(itertools.product(Desired, Observed, (True, False))),
)
def test_every_combination_has_a_condition_that_can_be_left(
    desired: Desired, observed: Observed, handled: bool
) -> None:
    row = make_row(desired, observed)
    if handled:
        row["observed"]["for"] = {"state": desired, "at": NOW}
    condition = condition_of(row)
    if desired is Desired.DELETED:
        assert condition is Condition.DELETING
    elif observed is Observed.UNKNOWN:
        assert condition is Condition.UNKNOWN
    elif observed is Observed.ABSENT:
        assert condition is Condition.CREATING
    elif handled:
        assert condition == observed.value
    if condition is not Condition.DELETING:
        assert Action.DELETE in actions_of(row)


def test_a_handled_start_that_the_guest_ended_shows_stopped_and_may_start_again() -> None:
    row = make_row("started", "stopped", reason=Reason.GUEST_SHUTDOWN)
    row["observed"]["for"] = {"state": "started", "at": NOW}
    assert condition_of(row) is Condition.STOPPED
    assert Action.START in actions_of(row)


def test_waiting_for_room_can_be_called_off() -> None:
    row = make_row("started", "stopped", reason=Reason.NO_CAPACITY)
    assert condition_of(row) is Condition.WAITING
    assert Action.CALL_OFF in actions_of(row)


def test_a_desktop_whose_hypervisor_is_emptied_shows_that_it_goes_and_that_it_waits() -> None:
    row = make_row("started", "started", activity={"name": "stopping", "step": "drain"})
    row["observed"]["for"] = {"state": "started", "at": NOW}
    assert condition_of(row) is Condition.STOPPING
    waiting = make_row("started", "stopped", reason=Reason.DRAINED)
    assert condition_of(waiting) is Condition.WAITING
    assert Action.CALL_OFF in actions_of(waiting)


def test_a_terminal_failure_offers_retry_and_what_fits_the_sight() -> None:
    failure = {"terminal": True, "reason": "StartFailed"}
    stopped = make_row("started", "stopped", failure=failure)
    assert condition_of(stopped) is Condition.FAILED
    assert {Action.RETRY, Action.START, Action.DELETE} <= actions_of(stopped)
    running = make_row("stopped", "started", failure=failure)
    assert {Action.RETRY, Action.POWER_OFF, Action.VIEW} <= actions_of(running)
    assert Action.START not in actions_of(running)


def test_templates_are_never_started() -> None:
    row = {**make_row("stopped", "stopped"), "kind": "template"}
    assert actions_of(row) <= {Action.DELETE, Action.EDIT, Action.RETRY}


@pytest.mark.parametrize("damage", [{"state": "exploded"}, {}, {"state": None}, {"state": 7}])
def test_a_damaged_wish_still_has_a_word(damage: dict[str, Any]) -> None:
    assert condition_of({"kind": "desktop", "desired": damage, "observed": {}}) is Condition.FAILED


def test_force_and_by_count_only_with_their_own_time() -> None:
    later = NOW + timedelta(seconds=5)
    wish = read_wish(
        {"state": "stopped", "at": NOW, "by": {"id": "user/a", "at": NOW}, "force": NOW}
    )
    assert (wish.force, wish.by) == (True, "user/a")
    merged = {"state": "stopped", "at": later, "by": {"id": "user/a", "at": NOW}, "force": NOW}
    assert (read_wish(merged).force, read_wish(merged).by) == (False, "script")
    assert read_wish({"state": "stopped", "force": True}).force


def test_a_script_may_leave_the_time_out_when_it_changes_the_state() -> None:
    observed = {"for": {"state": "stopped", "at": NOW}}
    assert is_handled(read_wish({"state": "stopped", "at": NOW}), observed)
    assert not is_handled(read_wish({"state": "started", "at": NOW}), observed)
    assert not is_handled(
        read_wish({"state": "stopped", "at": NOW + timedelta(seconds=1)}), observed
    )
