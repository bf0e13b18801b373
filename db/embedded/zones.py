"""ISO 8601 as RethinkDB reads it: dates, times of day and time zone offsets, as text.

RethinkDB accepts calendar dates (2013-07-30, 20130730, 2013-07, 2013) and ordinal dates
(2013-211, 2013211), times down to any fraction of a second, and offsets (Z, +hh, +hhmm, +hh:mm);
week dates it knows but refuses. What is wrong is told in its words. Here is text only: instants are
in `instants.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from db.embedded.errors import QueryLogicError


class _Reader:
    """A position in a text that must be read to its end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def digits(self, count: int) -> str:
        start = self.at
        for position in range(start, start + count):
            if position >= len(self.text):
                raise QueryLogicError(
                    f"Invalid time zone string `{self.text}`. Valid time zones are `+hh:mm`, "
                    "`-hh:mm`, `+hhmm`, `-hhmm`, `+hh`, `-hh` and `Z`."
                )
            if not "0" <= self.text[position] <= "9":
                raise QueryLogicError(
                    f"Invalid date string `{self.text}` (got `{self.text[position]}` but expected "
                    "a digit)."
                )
        self.at = start + count
        return self.text[start : self.at]

    def skip(self, character: str) -> bool:
        found = self.text[self.at : self.at + 1] == character
        self.at += found
        return found

    @property
    def left(self) -> int:
        return len(self.text) - self.at

    def end(self, what: str) -> None:
        if self.left:
            raise QueryLogicError(
                f"Garbage characters `{self.text[self.at :]}` at end of {what} string "
                f"`{self.text}`."
            )


def clean_zone(text: str) -> str:
    """An offset in its full form, +hh:mm."""
    if text in ("-00", "-00:00"):
        raise QueryLogicError(f"`{text}` is not a valid time offset.")
    if text == "Z":
        return "+00:00"
    reader = _Reader(text)
    if not (reader.skip("-") or reader.skip("+")):
        raise QueryLogicError(f"Timezone `{text}` does not start with `-` or `+`.")
    hours, minutes = reader.digits(2), "00"
    if reader.left:
        reader.skip(":")
        minutes = reader.digits(2)
        reader.end("timezone")
    if int(hours) > 24:
        raise QueryLogicError(f"Hours out of range in `{text}`.")
    if int(minutes) > 59:
        raise QueryLogicError(f"Minutes out of range in `{text}`.")
    return f"{text[0]}{hours}:{minutes}"


def offset_seconds(zone: str) -> int:
    """What local time is ahead of UTC, for an offset in its full form."""
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return -seconds if zone[0] == "-" else seconds


@dataclass(frozen=True, slots=True)
class WallTime:
    """What a date and time say, before it is known whether there is such a day."""

    year: int
    month: int
    day: int  # of the month, or where the month is 0, of the year
    seconds: float
    zone: str


def parse_iso8601(text: str, default_zone: str) -> WallTime:
    """The parts of a date or a date with a time; an empty zone where none is given."""
    date_text, separator, rest = text.partition("T")
    year, month, day = _parse_date(date_text)
    if not separator:
        return WallTime(year, month, day, 0.0, default_zone)
    for sign in "-+Z":
        if sign in rest:
            start = rest.index(sign)
            seconds = _parse_time(rest[:start])
            return WallTime(year, month, day, seconds, clean_zone(rest[start:]))
    return WallTime(year, month, day, _parse_time(rest), default_zone)


def _parse_date(text: str) -> tuple[int, int, int]:
    reader = _Reader(text)
    year = int(reader.digits(4))
    if not reader.left:
        return year, 1, 1
    first_hyphen = reader.skip("-")
    if reader.skip("W"):
        raise QueryLogicError(
            "Due to limitations in the boost time library we use for parsing, we cannot support "
            "ISO week dates right now.  Sorry about that!  Please use years, calendar dates, or "
            "ordinal dates instead."
        )
    if reader.left == 3:
        return year, 0, int(reader.digits(3))
    month = int(reader.digits(2))
    if first_hyphen and not reader.left:
        return year, month, 1
    if first_hyphen != reader.skip("-"):
        raise QueryLogicError(f"Date string `{text}` must have 0 or 2 hyphens.")
    day = int(reader.digits(2))
    reader.end("date")
    return year, month, day


def _parse_time(text: str) -> float:
    """Seconds since midnight, to the millisecond."""
    reader = _Reader(text)
    seconds = int(reader.digits(2)) * 3600.0
    if not reader.left:
        return seconds
    first_colon = reader.skip(":")
    seconds += int(reader.digits(2)) * 60
    if not reader.left:
        return seconds
    if first_colon != reader.skip(":"):
        raise QueryLogicError(f"Time string `{text}` must have 0 or 2 colons.")
    seconds += int(reader.digits(2))
    if reader.skip("."):
        fraction = reader.digits(reader.left)
        seconds += int(fraction[:3].ljust(3, "0")) / 1000
    reader.end("time")
    return seconds
