"""What a write of `observed` adds to the history, and what it does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from db.states import Observed
from engine.reconcilers.history import MOVES, deleted, tell

NOW = datetime(2031, 1, 10, 9, 0, tzinfo=UTC)
WISH = {"state": "started", "at": NOW}


def row(state: Any, **observed: Any) -> dict[str, Any]:
    desired = {**WISH, "by": {"id": "user/ana", "at": NOW}}
    return {"id": "d", "name": "D", "desired": desired, "observed": {"state": state, **observed}}


def told(before: dict[str, Any], **new: Any) -> list[str]:
    return [event["what"] for event in tell(before, new, NOW)]


@pytest.mark.parametrize(("before", "after"), MOVES)
def test_every_move_is_told_once(before: Observed, after: Observed) -> None:
    what = f"domain.{MOVES[before, after]}"
    assert told(row(before.value), state=after.value) == [what]
    assert told(row(after.value), state=after.value) == []


def test_a_start_says_where_and_whose_wish_it_was() -> None:
    new = {"state": "started", "hypervisor": "h1", "for": dict(WISH)}
    (event,) = tell(row("stopped"), new, NOW)
    assert (event["who"], event["target"]) == ("engine", "domain/d")
    assert event["detail"] == {"hypervisor": "h1", "by": "user/ana"}


def test_what_came_about_by_itself_is_nobodys() -> None:
    new = {"state": "stopped", "reason": "GuestShutdown", "message": "From inside.", "for": WISH}
    (event,) = tell(row("started"), new, NOW)
    assert event["detail"] == {"reason": "GuestShutdown", "message": "From inside."}


def test_a_transient_failure_that_repeats_is_one_and_another_step_is_another() -> None:
    failure = {"reason": "StartFailed", "step": "create", "wish": WISH, "terminal": False}
    before = row("stopped", failure={**failure, "attempts": 1})
    assert told(row("stopped"), state="stopped", failure=failure) == ["domain.failed"]
    assert told(before, state="stopped", failure={**failure, "attempts": 2}) == []
    assert told(before, state="stopped", failure={**failure, "step": "disks"}) == ["domain.failed"]


@pytest.mark.parametrize("nonsense", [None, 7, "x", ["x"], {"a": 1}])
def test_nonsense_a_script_wrote_is_no_move_and_no_error(nonsense: Any) -> None:
    assert told({**row("stopped"), "observed": nonsense}, state="absent") == []
    assert told(row(nonsense), state="unknown") == []
    assert told({**row("stopped"), "desired": nonsense}, state="started") == ["domain.started"]


def test_long_answers_are_cut_and_the_end_is_told() -> None:
    failure = {"reason": "DiskFailed", "message": "x" * 9000}
    (event,) = tell(row("stopped"), {"state": "stopped", "failure": failure}, NOW)
    assert len(event["detail"]["message"]) == 500
    assert deleted(row("stopped"), NOW)["detail"] == {"message": "D"}
