"""Instants and the calendar: what TIME data mean.

A TIME is seconds since 1970 (to the millisecond) and an offset it is shown in. Calendar
arithmetic is the proleptic Gregorian calendar between the years RethinkDB's library knows, 1400 to
10000, which is more than Python's `datetime` has; hence the few lines of day counting here. Used
by the time terms and by arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from db.embedded.datum import Time, number
from db.embedded.errors import QueryLogicError
from db.embedded.zones import clean_zone, offset_seconds, parse_iso8601

DAY_S: Final = 86400
FIRST_YEAR, LAST_YEAR = 1400, 10000


def rounded_seconds(seconds: float) -> int | float:
    """To the millisecond, as RethinkDB keeps instants."""
    milliseconds = seconds * 1000
    if not math.isfinite(milliseconds):
        return number(seconds)
    whole = math.floor(abs(milliseconds) + 0.5)
    return number(math.copysign(whole, milliseconds) / 1000)


def instant(seconds: float, zone: str = "+00:00") -> Time:
    return Time(rounded_seconds(seconds), zone)


def moved(time: Time, seconds: float) -> Time:
    return instant(time.epoch + seconds, time.zone)


def shown_in(time: Time, zone: str) -> Time:
    return Time(time.epoch, clean_zone(zone))


# --- the calendar -------------------------------------------------------------------------


def _fault(what: str) -> QueryLogicError:
    return QueryLogicError(f"Error in time logic: {what}.")


def _check_year(year: int) -> int:
    if FIRST_YEAR <= year <= LAST_YEAR:
        return year
    raise _fault(f"Year is out of valid range: {FIRST_YEAR}..{LAST_YEAR}")


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


_DAYS_BEFORE: Final = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365)


def _days_before_month(year: int, month: int) -> int:
    return _DAYS_BEFORE[month - 1] + (month > 2 and _is_leap(year))


def _days_before_year(year: int) -> int:
    """Days from 1970-01-01 to the first day of the year."""
    past = year - 1
    return past * 365 + past // 4 - past // 100 + past // 400 - 719162


def day_number(year: int, month: int, day: int) -> int:
    """The day counted from 1970-01-01."""
    _check_year(year)
    if not 1 <= month <= 12:
        raise _fault("Month number is out of range 1..12")
    if not 1 <= day <= 31:
        raise _fault("Day of month value is out of range 1..31")
    length = _days_before_month(year, month + 1) if month < 12 else 365 + _is_leap(year)
    if day > length - _days_before_month(year, month):
        raise _fault("Day of month is not valid for year")
    return _days_before_year(year) + _days_before_month(year, month) + day - 1


@dataclass(frozen=True, slots=True)
class Clock:
    """A TIME as its zone's calendar and clocks show it."""

    year: int
    month: int
    day: int
    day_of_year: int
    day_number: int
    milliseconds: int  # since midnight

    @property
    def day_of_week(self) -> int:
        """1 is Monday, 7 Sunday."""
        return (self.day_number + 3) % 7 + 1


def read_clock(time: Time) -> Clock:
    total = round(time.epoch * 1000) + offset_seconds(time.zone) * 1000
    days, milliseconds = divmod(total, DAY_S * 1000)
    year = 1970 + math.floor(days / 365.2425)
    while _days_before_year(year) > days:
        year -= 1
    while _days_before_year(year + 1) <= days:
        year += 1
    _check_year(year)
    day_of_year = days - _days_before_year(year)
    month = 12
    while _days_before_month(year, month) > day_of_year:
        month -= 1
    day = day_of_year - _days_before_month(year, month) + 1
    return Clock(year, month, day, day_of_year + 1, days, milliseconds)


# --- making and showing -------------------------------------------------------------------


def make_time(year: int, month: int, day: int, seconds: float, zone: str) -> Time:
    days = day_number(year, month, day)
    zone = clean_zone(zone)
    return instant(days * DAY_S + seconds - offset_seconds(zone), zone)


def from_iso8601(text: str, default_zone: str = "") -> Time:
    parsed = parse_iso8601(text, default_zone)
    if parsed.month:
        days = day_number(parsed.year, parsed.month, parsed.day)
    else:
        _check_year(parsed.year)
        if not 1 <= parsed.day <= 365 + _is_leap(parsed.year):
            raise _fault("Day of year value is out of range 1..366")
        days = _days_before_year(parsed.year) + parsed.day - 1
    if parsed.zone == "":
        raise QueryLogicError(
            "ISO 8601 string has no time zone, and no default time zone was provided."
        )
    try:
        zone = clean_zone(parsed.zone)
    except QueryLogicError:
        raise QueryLogicError(f"Invalid ISO 8601 timezone: `{parsed.zone}`.") from None
    return instant(days * DAY_S + parsed.seconds - offset_seconds(zone), zone)


def to_iso8601(time: Time) -> str:
    clock = read_clock(time)
    if clock.year > 9999:
        raise QueryLogicError(f"Year `{clock.year}` out of valid ISO 8601 range [0, 9999].")
    seconds, milliseconds = divmod(clock.milliseconds, 1000)
    fraction = f".{milliseconds:03}" if milliseconds else ""
    return (
        f"{clock.year:04}-{clock.month:02}-{clock.day:02}T{seconds // 3600:02}:"
        f"{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}{time.zone}"
    )
