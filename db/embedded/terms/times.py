"""Terms on times: making, showing, taking apart; days and months by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from db.embedded.datum import Datum, Time, number
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError
from db.embedded.instants import (
    DAY_S,
    Clock,
    from_iso8601,
    instant,
    make_time,
    read_clock,
    shown_in,
    to_iso8601,
)
from db.embedded.registry import term
from db.embedded.values import as_int, as_number, as_string, is_open
from db.embedded.zones import offset_seconds


@term("NOW", 103)
def now(env: Env) -> Time:
    return env.now


@term("TIME", 136, "datum datum datum datum datum? datum? datum?")
def time(env: Env, year: Datum, month: Datum, day: Datum, *rest: Datum) -> Time:
    if len(rest) not in (1, 4):
        raise QueryLogicError(f"Got {3 + len(rest)} arguments to TIME (expected 4 or 7).")
    date = (as_int(env, year), as_int(env, month), as_int(env, day))
    seconds: float = 0
    if len(rest) == 4:
        seconds = as_int(env, rest[0]) * 3600 + as_int(env, rest[1]) * 60 + as_number(env, rest[2])
    return make_time(*date, seconds, as_string(env, rest[-1]))


@term("EPOCH_TIME", 101, "number")
def epoch_time(env: Env, seconds: float) -> Time:
    return instant(seconds)


@term("TO_EPOCH_TIME", 102, "time")
def to_epoch_time(env: Env, value: Time) -> Datum:
    return number(value.epoch)


@term("ISO8601", 99, "string", options={"default_timezone": "string"})
def iso8601(env: Env, text: str, default_timezone: str = "") -> Time:
    return from_iso8601(text, default_timezone)


@term("TO_ISO8601", 100, "time")
def to_iso8601_term(env: Env, value: Time) -> str:
    return to_iso8601(value)


@term("IN_TIMEZONE", 104, "time string")
def in_timezone(env: Env, value: Time, zone: str) -> Time:
    return shown_in(value, zone)


@term("TIMEZONE", 127, "time")
def timezone(env: Env, value: Time) -> str:
    return value.zone


@term("DURING", 105, "time time time", options={"left_bound": "string", "right_bound": "string"})
def during(
    env: Env,
    value: Time,
    start: Time,
    end: Time,
    left_bound: str = "closed",
    right_bound: str = "open",
) -> bool:
    after = value.epoch > start.epoch or (
        value.epoch == start.epoch and not is_open("left_bound", left_bound)
    )
    before = value.epoch < end.epoch or (
        value.epoch == end.epoch and not is_open("right_bound", right_bound)
    )
    return after and before


@term("DATE", 106, "time")
def date(env: Env, value: Time) -> Time:
    """Midnight of that day where the time is shown."""
    clock = read_clock(value)
    return instant(clock.day_number * DAY_S - offset_seconds(value.zone), value.zone)


@term("TIME_OF_DAY", 126, "time")
def time_of_day(env: Env, value: Time) -> Datum:
    return number(read_clock(value).milliseconds / 1000)


def _portion(name: str, code: int, read: Callable[[Clock], int]) -> None:
    @term(name, code, "time")
    def portion(env: Env, value: Time) -> int:
        return read(read_clock(value))


_portion("YEAR", 128, lambda clock: clock.year)
_portion("MONTH", 129, lambda clock: clock.month)
_portion("DAY", 130, lambda clock: clock.day)
_portion("DAY_OF_WEEK", 131, lambda clock: clock.day_of_week)
_portion("DAY_OF_YEAR", 132, lambda clock: clock.day_of_year)
_portion("HOURS", 133, lambda clock: clock.milliseconds // 3_600_000)
_portion("MINUTES", 134, lambda clock: clock.milliseconds // 60_000 % 60)


@term("SECONDS", 135, "time")
def seconds(env: Env, value: Time) -> Datum:
    """Seconds on the clock; the fraction is that of the epoch time, negative before 1970."""
    fraction = round(math.fmod(value.epoch, 1) * 1000) / 1000
    return number(read_clock(value).milliseconds // 1000 % 60 + fraction)


def _constants(code: int, *names: str) -> None:
    for position, name in enumerate(names):

        @term(name, code + position)
        def constant(env: Env, value: Any = position + 1) -> Any:
            return value


_constants(107, "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_constants(
    114, "JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST", "SEPTEMBER",
    "OCTOBER", "NOVEMBER", "DECEMBER",
)  # fmt: skip
