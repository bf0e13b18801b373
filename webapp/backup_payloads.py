"""Backups as administrators may see them: the part of webapp.payloads that is about them.

backup {
  id, kind: "scheduled" | "hand" | "found", by, created_at, made_at,
  state: "waiting" | "writing" | "checking" | "verified" | "unverified" | "failed" | "missing"
         | "deleting",
  percent: null | number (while it is made), size: null | bytes,
  schema, tables, rows: null | numbers,
  secrets: bool (it holds password hashes and tokens),
  reason, message: null | a sentence and what to do,
  is_open: bool (it has not ended), can_download: bool, can_retry: bool
}
schedule {
  enabled, every_hours, at ("hh:mm", UTC), keep_count, keep_days, next_at,
  problem: null | why it does not do its work, field_problems: [what a script has set wrongly]
}
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from db import backup_schedule
from db.backup_rows import is_new
from db.backup_schedule import Made, Schedule
from webapp.tidy import as_iso, as_mapping, as_number, as_text, as_time, tidy_desired

Payload = dict[str, Any]

UNDER_WAY = ("writing", "checking")
ENDED = ("verified", "unverified", "failed", "missing")
STATES = ("waiting", *UNDER_WAY, *ENDED, "deleting")
KINDS = ("scheduled", "hand", "found")


def backup(row: Mapping[str, Any]) -> Payload:
    """Any row, however damaged, has a payload."""
    desired, observed = tidy_desired(row.get("desired")), as_mapping(row.get("observed"))
    state = _state(dict(row), desired, observed)
    secrets = observed.get("secrets", row.get("secrets"))
    return {
        "id": str(row["id"]),
        "kind": row["kind"] if row.get("kind") in KINDS else "hand",
        "by": as_text(desired["by"]) or "",
        "created_at": as_iso(as_time(row.get("created_at")) or as_time(observed.get("at"))),
        "made_at": _moment(observed.get("made_at")),
        "state": state,
        "percent": _percent(state, as_mapping(observed.get("progress"))),
        "size": as_number(observed.get("size")),
        "schema": as_number(observed.get("schema")),
        "tables": as_number(observed.get("tables")),
        "rows": as_number(observed.get("rows")),
        "secrets": secrets is not False,
        "reason": as_text(observed.get("reason")) if state in ENDED else None,
        "message": as_text(observed.get("message")) if state in ENDED else None,
        "is_open": state not in ENDED,
        "can_download": state in ("verified", "unverified"),
        "can_retry": state in ("unverified", "failed"),
    }


def newest_first(item: Mapping[str, Any]) -> tuple[Any, ...]:
    """A key to sort payloads by."""
    made_at = str(item.get("created_at") or "")
    return ([-ord(letter) for letter in made_at], str(item["id"]))


def schedule(found: Schedule, made: list[Made], now: datetime) -> Payload:
    return {
        "enabled": found.enabled,
        "every_hours": found.every_hours,
        "at": found.at,
        "keep_count": found.keep_count,
        "keep_days": found.keep_days,
        "next_at": as_iso(backup_schedule.next_moment(found, now)),
        "problem": backup_schedule.failing(found, made, now),
        "field_problems": list(found.problems),
    }


def _state(row: dict[str, Any], desired: Payload, observed: Payload) -> str:
    seen = as_text(observed.get("state")) or ""
    if desired["state"] == "deleted":
        return "deleting"
    if is_new(row):
        return seen if seen in UNDER_WAY else "waiting"
    return seen if seen in ENDED else "failed"


def _moment(value: object) -> str | None:
    """As all times are shown: an archive tells its own as text."""
    try:
        return as_iso(datetime.fromisoformat(as_text(value) or ""))
    except ValueError:
        return None


def _percent(state: str, progress: Payload) -> int | None:
    """Writing is the first half, trying the second."""
    done, of = as_number(progress.get("done")), as_number(progress.get("of"))
    if state not in UNDER_WAY or done is None or not of or of < 0:
        return None
    half = min(50, max(0, round(50 * done / of)))
    return half if state == "writing" else 50 + half
