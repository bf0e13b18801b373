"""When a backup is due, which ones are too old, and whether the schedule fails. Pure.

The schedule is row `backups` of table `config`. Its moments lie on a grid: every so many hours,
counted from `at` (UTC) on a Monday, so that daily means daily at `at` and weekly Mondays at `at`.
What counts is the last moment that has passed: where no backup was made since (the product was
off), one is due now. Scripts write the row too, so it is judged when read: a field that is wrong
counts as its default and is named in `problems`. Used by webapp.clock, the services and
`python -m db backups`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

CONFIG = "backups"
DEFAULTS: dict[str, Any] = {
    "enabled": True,
    "every_hours": 24,
    "at": "02:30",
    "keep_count": 7,
    "keep_days": 30,
}
BOUNDS = {"every_hours": (1, 720), "keep_count": (1, 1000), "keep_days": (1, 3650)}
"""Lowest and highest value of each number."""
TIME_OF_DAY = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

RETRY_AFTER = timedelta(hours=1)
"""A backup that failed is tried again after this, until the schedule's next moment."""
OVERDUE_AFTER = timedelta(hours=2)
"""So long after its moment a backup that is not there is worth a word."""

State = Literal["working", "verified", "unverified", "failed"]

_ANCHOR = datetime(1970, 1, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Schedule:
    """`changed_at`: moments before it do not count, so nothing is due as soon as one is set."""

    enabled: bool
    every_hours: int
    at: str
    keep_count: int
    keep_days: int
    changed_at: datetime | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """One backup of the schedule, finished or not. `ended_at` is None while it is being made."""

    id: str
    state: State
    created_at: datetime
    ended_at: datetime | None = None
    message: str = ""


def read_schedule(row: Mapping[str, Any] | None) -> Schedule:
    """The schedule that any row, or none, stands for."""
    given = row or {}
    values: dict[str, Any] = {}
    problems = []
    for field, default in DEFAULTS.items():
        value = given.get(field, default)
        if not is_valid(field, value):
            problems.append(f"{field} is {value!r}: {default!r} counts instead.")
            value = default
        values[field] = int(value) if field in BOUNDS else value
    changed_at = given.get("changed_at")
    if not isinstance(changed_at, datetime) or changed_at.tzinfo is None:
        changed_at = None
    return Schedule(**values, changed_at=changed_at, problems=tuple(problems))


def is_valid(field: str, value: object) -> bool:
    """Whether a field of the schedule may have this value."""
    if field == "enabled":
        return isinstance(value, bool)
    if field == "at":
        return isinstance(value, str) and re.fullmatch(TIME_OF_DAY, value) is not None
    lowest, highest = BOUNDS[field]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return lowest <= value <= highest and float(value).is_integer()


def last_moment(schedule: Schedule, now: datetime) -> datetime:
    """The schedule's last moment that is not after `now`."""
    hours, minutes = schedule.at.split(":")
    first = _ANCHOR + timedelta(hours=int(hours), minutes=int(minutes))
    period = timedelta(hours=schedule.every_hours)
    return first + (now - first) // period * period


def next_moment(schedule: Schedule, now: datetime) -> datetime | None:
    """The schedule's next moment after `now`; None where it is off."""
    if not schedule.enabled:
        return None
    return last_moment(schedule, now) + timedelta(hours=schedule.every_hours)


def is_due(schedule: Schedule, made: Iterable[Made], now: datetime) -> bool:
    """Whether the schedule wants one begun now. `made`: the schedule's own backups."""
    moment = last_moment(schedule, now)
    if not schedule.enabled or (schedule.changed_at and moment <= schedule.changed_at):
        return False
    since = [one for one in made if one.created_at >= moment]
    if any(one.state in ("working", "verified") for one in since):
        return False
    return all(now - (one.ended_at or one.created_at) >= RETRY_AFTER for one in since)


def too_old(schedule: Schedule, made: Iterable[Made], now: datetime) -> list[str]:
    """Ids of the schedule's own backups to delete.

    Verified ones beyond `keep_count` or older than `keep_days`, but never the newest verified one;
    those that failed are counted on their own, so that they push no good one out.
    """
    newest_first = sorted(made, key=lambda one: (one.created_at, one.id), reverse=True)
    oldest_kept = now - timedelta(days=schedule.keep_days)
    good = [one for one in newest_first if one.state == "verified"]
    bad = [one for one in newest_first if one.state in ("unverified", "failed")]
    return [
        one.id
        for listed, spared in ((good, 1), (bad, 0))
        for place, one in enumerate(listed)
        if place >= spared and (place >= schedule.keep_count or one.created_at < oldest_kept)
    ]


def failing(schedule: Schedule, made: Iterable[Made], now: datetime) -> str | None:
    """A sentence where the schedule does not do its work; None while it does, or is off."""
    if not schedule.enabled:
        return None
    newest_first = sorted(made, key=lambda one: (one.created_at, one.id), reverse=True)
    ended = next((one for one in newest_first if one.state != "working"), None)
    if ended is not None and ended.state != "verified":
        return f"The last backup of the schedule is not good. {ended.message}".strip()
    moment = last_moment(schedule, now - OVERDUE_AFTER)
    if schedule.changed_at and moment <= schedule.changed_at:
        return None
    if ended is None or ended.created_at < moment:
        return (
            f"No backup has been made since {moment:%Y-%m-%d %H:%M} UTC. "
            "See in the web side's log why, and press Back up now."
        )
    return None
