"""When a backup is due and which ones go: every schedule, every history. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.backup_schedule import (
    DEFAULTS,
    Made,
    Schedule,
    failing,
    is_due,
    last_moment,
    next_moment,
    read_schedule,
    too_old,
)

NOW = datetime(2031, 5, 14, 12, 0, tzinfo=UTC)
DAILY = read_schedule({})


def made(hours_ago: float, state: Any = "verified", name: str = "") -> Made:
    at = NOW - timedelta(hours=hours_ago)
    return Made(name or f"{state}-{hours_ago}", state, at, None if state == "working" else at)


def test_the_defaults_are_daily_seven_and_thirty_days() -> None:
    assert (DAILY.enabled, DAILY.every_hours, DAILY.at) == (True, 24, "02:30")
    assert (DAILY.keep_count, DAILY.keep_days, DAILY.problems) == (7, 30, ())


@pytest.mark.parametrize(
    ("every_hours", "at", "moment"),
    [
        (24, "02:30", "2031-05-14 02:30"),
        (24, "12:00", "2031-05-14 12:00"),
        (24, "12:01", "2031-05-13 12:01"),
        (6, "02:30", "2031-05-14 08:30"),
        (1, "00:15", "2031-05-14 11:15"),
        (168, "03:00", "2031-05-12 03:00"),
    ],
)
def test_moments_lie_on_a_grid_that_begins_on_a_monday(
    every_hours: int, at: str, moment: str
) -> None:
    schedule = read_schedule({"every_hours": every_hours, "at": at})
    found = last_moment(schedule, NOW)
    assert f"{found:%Y-%m-%d %H:%M}" == moment
    following = next_moment(schedule, NOW)
    assert following is not None
    assert following - found == timedelta(hours=every_hours)
    assert following > NOW


@pytest.mark.parametrize(
    ("history", "due"),
    [
        ([], True),
        ([made(10)], True),
        ([made(9)], False),
        ([made(9, "working")], False),
        ([made(0.5, "failed")], False),
        ([made(2, "failed")], True),
        ([made(2, "unverified"), made(0.5, "failed")], False),
        ([made(2, "failed"), made(1, "verified")], False),
    ],
)
def test_what_was_missed_is_due_and_what_failed_is_tried_again_after_an_hour(
    history: list[Made], due: bool
) -> None:
    assert is_due(DAILY, history, NOW) is due


def test_moments_before_the_schedule_was_set_do_not_count() -> None:
    set_at = {"changed_at": NOW - timedelta(hours=1)}
    assert not is_due(read_schedule(set_at), [], NOW)
    assert is_due(read_schedule(set_at), [], NOW + timedelta(hours=24))
    assert not is_due(read_schedule({"enabled": False}), [], NOW)


def test_good_ones_go_by_count_and_age_and_bad_ones_push_no_good_one_out() -> None:
    schedule = read_schedule({"keep_count": 2, "keep_days": 3})
    history = [made(1), made(25), made(49), made(0, "failed"), made(26, "failed")]
    assert too_old(schedule, history, NOW) == ["verified-49"]
    assert too_old(schedule, [made(24 * 4), made(24 * 5)], NOW) == ["verified-120"]
    assert too_old(schedule, [made(24 * 4, "failed")], NOW) == ["failed-96"]


STATES = st.sampled_from(["verified", "unverified", "failed", "working"])
HISTORY = st.lists(st.tuples(st.integers(0, 24 * 90), STATES), max_size=30).map(
    lambda pairs: [made(hours, state, str(n)) for n, (hours, state) in enumerate(pairs)]
)
SCHEDULES = st.builds(
    Schedule,
    enabled=st.booleans(),
    every_hours=st.integers(1, 720),
    at=st.just("02:30"),
    keep_count=st.integers(1, 10),
    keep_days=st.integers(1, 60),
)


@given(SCHEDULES, HISTORY)
def test_the_newest_verified_one_is_never_deleted(schedule: Schedule, history: list[Made]) -> None:
    gone = set(too_old(schedule, history, NOW))
    good = [one for one in history if one.state == "verified"]
    if good:
        newest = max(good, key=lambda one: (one.created_at, one.id))
        assert newest.id not in gone
    assert not any(one.id in gone for one in history if one.state == "working")


@given(SCHEDULES, HISTORY)
def test_what_stays_is_within_the_bounds(schedule: Schedule, history: list[Made]) -> None:
    gone = set(too_old(schedule, history, NOW))
    stays = [one for one in history if one.state == "verified" and one.id not in gone]
    assert len(stays) <= schedule.keep_count
    oldest = NOW - timedelta(days=schedule.keep_days)
    assert sum(one.created_at < oldest for one in stays) <= 1
    assert too_old(schedule, [one for one in history if one.id not in gone], NOW) == []


@pytest.mark.parametrize(
    ("history", "sentence"),
    [
        ([made(9)], None),
        ([made(9, "working"), made(33)], "No backup has been made since 2031-05-14 02:30 UTC"),
        ([made(33)], "No backup has been made since 2031-05-14 02:30 UTC"),
        ([made(1, "failed"), made(9)], "is not good"),
        ([], "No backup has been made"),
    ],
)
def test_a_schedule_that_fails_is_told(history: list[Made], sentence: str | None) -> None:
    told = failing(DAILY, history, NOW)
    assert (told is None) == (sentence is None)
    assert (sentence or "") in (told or "")


def test_a_backup_that_is_late_is_told_two_hours_after_its_moment() -> None:
    moment = last_moment(DAILY, NOW)
    day_before = Made("before", "verified", moment - timedelta(days=1), moment - timedelta(days=1))
    assert failing(DAILY, [day_before], moment + timedelta(hours=1, minutes=59)) is None
    told = failing(DAILY, [day_before], moment + timedelta(hours=2, minutes=1))
    assert "2031-05-14 02:30" in str(told)


FIELDS = st.sampled_from([*DEFAULTS, "changed_at", "x"])
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([])


@given(st.dictionaries(FIELDS, ANYTHING))
def test_any_row_of_a_script_is_a_schedule_and_its_faults_are_named(row: dict[str, Any]) -> None:
    schedule = read_schedule(row)
    assert 1 <= schedule.every_hours <= 720
    next_moment(schedule, NOW)
    is_due(schedule, [], NOW)
    for field in DEFAULTS:
        named = any(problem.startswith(field) for problem in schedule.problems)
        assert named == (field in row and getattr(schedule, field) != row[field])
