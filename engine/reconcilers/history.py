"""What of a change of `observed` is worth a line in the history. Pure.

Found by comparing the row before and after a write, so nothing has to remember to tell it, and a
write that is done again tells nothing twice. Table `events` gets it beside what people asked
(webapp/services/audit.py); the page of the desktop shows both in plain words. Called by Context.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from db.states import Observed, is_handled, read_wish
from engine.sight import observed_of

TEXT_MAX = 500
"""Of what a command answered: the failure in the row has it whole."""

MOVES: dict[tuple[Observed | None, Observed], str] = {
    (Observed.ABSENT, Observed.STOPPED): "made",
    (Observed.ABSENT, Observed.STARTED): "started",
    (Observed.STOPPED, Observed.STARTED): "started",
    (Observed.STARTED, Observed.STOPPED): "stopped",
    (Observed.PAUSED, Observed.STOPPED): "stopped",
    (Observed.STARTED, Observed.PAUSED): "paused",
    (Observed.PAUSED, Observed.STARTED): "resumed",
    (Observed.STARTED, Observed.UNKNOWN): "lost",
    (Observed.PAUSED, Observed.UNKNOWN): "lost",
    (Observed.UNKNOWN, Observed.STARTED): "found",
    (Observed.UNKNOWN, Observed.PAUSED): "found",
    (Observed.UNKNOWN, Observed.STOPPED): "stopped",
}
"""(seen before, seen now) -> what happened. A row seen for the first time has no history."""


def tell(row: Mapping[str, Any], new: Mapping[str, Any], now: datetime) -> list[dict[str, Any]]:
    """The events of one write."""
    old = observed_of(row)
    events = []
    moved = MOVES.get((_state(old), Observed(str(new["state"]))))
    if moved is not None:
        shown = {key: new.get(key) for key in ("reason", "message", "hypervisor")}
        shown["by"] = _who_wished(row, new)
        events.append(_event(row, moved, shown, now))
    failure = new.get("failure")
    if isinstance(failure, Mapping) and _is_another(old.get("failure"), failure):
        keys = ("reason", "message", "step", "hypervisor", "terminal")
        events.append(_event(row, "failed", {key: failure.get(key) for key in keys}, now))
    return events


def deleted(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return _event(row, "deleted", {"message": str(row.get("name") or "")}, now)


def _state(observed: Mapping[str, Any]) -> Observed | None:
    """What was seen before; a row nobody has looked at yet was never made."""
    try:
        return Observed(str(observed.get("state") or Observed.ABSENT))
    except ValueError:
        return None


def _who_wished(row: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Whose wish this carried out; nobody's where it came about by itself."""
    try:
        wish = read_wish(row["desired"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return wish.by if is_handled(wish, {"for": new.get("for")}) and not new.get("reason") else None


def _is_another(before: Any, failure: Mapping[str, Any]) -> bool:
    """A transient failure that repeats is one failure: its tries are counted in the row."""
    if not isinstance(before, Mapping):
        return True
    return any(
        before.get(key) != failure.get(key) for key in ("reason", "step", "wish", "terminal")
    )


def _event(
    row: Mapping[str, Any], what: str, detail: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    known = {
        key: value[:TEXT_MAX] if isinstance(value, str) else value
        for key, value in detail.items()
        if value is not None
    }
    return {
        "id": str(uuid.uuid4()),
        "at": now,
        "who": "engine",
        "what": f"domain.{what}",
        "target": f"domain/{row['id']}",
        "detail": known,
    }
