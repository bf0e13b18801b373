"""Times: making, reading, time zones, arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

from tests.db.embedded.conftest import Run, r

LOGIC = "ReqlQueryLogicError"
NIGHT = r.time(2013, r.july, 29, 23, 30, 0.1, "-07:00")

RESULTS: list[tuple[Any, Any]] = [
    (NIGHT.to_epoch_time(), 1375165800.1),
    (NIGHT.to_iso8601(), "2013-07-29T23:30:00.100-07:00"),
    (NIGHT.in_timezone("+0130").to_iso8601(), "2013-07-30T08:00:00.100+01:30"),
    (NIGHT.in_timezone("Z").timezone(), "+00:00"),
    (NIGHT.date().to_iso8601(), "2013-07-29T00:00:00-07:00"),
    (NIGHT.time_of_day(), 84600.1),
    (NIGHT.year(), 2013),
    (NIGHT.month(), 7),
    (NIGHT.day(), 29),
    (NIGHT.day_of_week(), 1),
    (NIGHT.day_of_year(), 210),
    (NIGHT.hours(), 23),
    (NIGHT.minutes(), 30),
    (NIGHT.seconds(), 0.1),
    (NIGHT.eq(NIGHT.in_timezone("Z")), True),
    ((NIGHT + 1) > NIGHT, True),
    ((1 + NIGHT).to_epoch_time(), 1375165801.1),
    ((NIGHT - 60).to_epoch_time(), 1375165740.1),
    ((NIGHT + 60) - NIGHT, 60),
    (NIGHT.during(NIGHT, NIGHT + 1), True),
    (NIGHT.during(NIGHT, NIGHT + 1, left_bound="open"), False),
    (NIGHT.during(NIGHT - 1, NIGHT, right_bound="closed"), True),
    (r.time(2012, 12, 31, "Z").day_of_year(), 366),
    (r.time(1999, 2, 28, "Z").to_epoch_time(), 920160000),
    (r.epoch_time(1.23456).to_epoch_time(), 1.235),
    (r.epoch_time(-1).to_iso8601(), "1969-12-31T23:59:59+00:00"),
    (r.epoch_time(-17987443200).year(), 1400),
    (r.epoch_time(253430000000).year(), 10000),
    (r.iso8601("2013", default_timezone="Z").to_epoch_time(), 1356998400),
    (r.iso8601("2013-211T01+02").to_iso8601(), "2013-07-30T01:00:00+02:00"),
    (r.iso8601("20130730T010203.4567Z").to_iso8601(), "2013-07-30T01:02:03.456+00:00"),
    (r.now() - r.now(), 0),
    (r.sunday, 7),
    (r.december, 12),
]


@pytest.mark.parametrize(("query", "expected"), RESULTS, ids=lambda value: str(value)[-60:])
def test_what_times_yield(reql: Run, query: Any, expected: Any) -> None:
    assert reql(query) == expected


REFUSALS: list[tuple[Any, str]] = [
    (r.expr(1).year(), "Not a TIME pseudotype: `1`."),
    (NIGHT + NIGHT, "Expected type NUMBER but found PTYPE<TIME>."),
    (1 - NIGHT, "Expected type NUMBER but found PTYPE<TIME>."),
    (r.time(2013, 13, 1, "Z"), "Error in time logic: Month number is out of range 1..12."),
    (r.time(2013, 2, 29, "Z"), "Error in time logic: Day of month is not valid for year."),
    (
        r.time(1000, 1, 1, "Z"),
        "Error in time logic: Year is out of valid range: 1400..10000.",
    ),
    (r.time(2013, 1, 1, 1, "Z"), "Got 5 arguments to TIME (expected 4 or 7)."),
    (
        r.epoch_time(253430000000).to_iso8601(),
        "Year `10000` out of valid ISO 8601 range [0, 9999].",
    ),
    (
        r.iso8601("2013-01-01"),
        "ISO 8601 string has no time zone, and no default time zone was provided.",
    ),
    (r.iso8601("2013-0101Z"), "Date string `2013-0101Z` must have 0 or 2 hyphens."),
    (r.iso8601("2013-01-01T00:0000Z"), "Time string `00:0000` must have 0 or 2 colons."),
    (r.iso8601("2013-1a"), "Invalid date string `2013-1a` (got `a` but expected a digit)."),
    (NIGHT.in_timezone("PST"), "Timezone `PST` does not start with `-` or `+`."),
    (NIGHT.in_timezone("-00:00"), "`-00:00` is not a valid time offset."),
    (NIGHT.in_timezone("+00:60"), "Minutes out of range in `+00:60`."),
    (NIGHT.in_timezone("+25:00"), "Hours out of range in `+25:00`."),
    (NIGHT.in_timezone(1), "Expected type STRING but found NUMBER."),
]


@pytest.mark.parametrize(("query", "message"), REFUSALS, ids=lambda value: str(value)[-60:])
def test_what_times_refuse(refusal: Any, query: Any, message: str) -> None:
    assert refusal(query) == (LOGIC, message)


def test_now_is_one_moment_throughout_a_query(reql: Run) -> None:
    first, second = reql(r.expr([r.now(), r.now()]), time_format="raw")
    assert first == second
    assert first["timezone"] == "+00:00"
