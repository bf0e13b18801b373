"""Composes a domain's `observed` from what is seen and what was done. Pure.

`observed` is written whole, so each field is either kept on purpose, after a look at its type (a
script may have put anything there), or set anew. Written only where it says something new: the time
alone is no news. Called by the domain reconcilers; media have their own
(engine/reconcilers/media_row.py), but show failures as domains do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from db.states import Activity, Observed, Reason, Wish
from engine.errors import EngineError
from engine.sight import Sight, observed_of

RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0)
KEPT_TYPES: dict[str, type] = {
    "started_at": datetime,
    "for": Mapping,
    "failure": Mapping,
    "activity": Mapping,
    "disks": list,
    "interfaces": list,
    "media": list,
    "viewer": Mapping,
    "host_boot": str,
}
"""What is kept from one write to the next, if it is what it should be."""


@dataclass(frozen=True)
class Changes:
    """What a step makes of `observed`. A field left at KEEP stays as it was."""

    finished: Wish | None = None
    renewed: bool = False
    """The wish counts as new again."""
    activity: Any = ...
    failure: Any = ...
    reason: Any = ...
    message: Any = ...
    hypervisor: Any = ...
    disks: Any = ...
    interfaces: Any = ...
    media: Any = ...
    queue: Any = ...
    """Shown only by a write that names it: who does not wait has no place in a queue."""
    viewer: Any = ...
    started_at: Any = ...
    host_boot: Any = ...


def compose(
    row: Mapping[str, Any], sight: Sight, changes: Changes, now: datetime
) -> dict[str, Any]:
    """The new `observed`, whole."""
    old = observed_of(row)
    new: dict[str, Any] = {
        key: old.get(key) if isinstance(old.get(key), kind) else None
        for key, kind in KEPT_TYPES.items()
    }
    new |= {
        "state": sight.state.value,
        "hypervisor": sight.hypervisor,
        "reason": _plain(sight.reason),
        "message": sight.message,
    }
    if not sight.may_run:
        new |= {"viewer": None, "host_boot": None, "media": None}
    if changes.finished is not None:
        new["for"] = {"state": changes.finished.state.value, "at": changes.finished.at}
        new |= {"activity": None, "failure": None}
    if changes.renewed:
        new["for"] = None
    for key in (
        "activity",
        "failure",
        "reason",
        "message",
        "hypervisor",
        "disks",
        "interfaces",
        "media",
        "queue",
        "viewer",
        "started_at",
        "host_boot",
    ):
        value = getattr(changes, key)
        if value is not ...:
            new[key] = _plain(value)
    return {**new, "at": now}


def is_news(row: Mapping[str, Any], new: Mapping[str, Any], epoch: int) -> bool:
    """Whether writing it would tell anything."""
    old = row.get("observed")
    if not isinstance(old, Mapping) or old.get("epoch") is None:
        return True
    ignored = {"at", "epoch"}
    keys = (set(old) | set(new)) - ignored
    return any(old.get(key) != new.get(key) for key in keys)


def activity(
    name: Activity, step: str, deadline: datetime, progress: float | None = None
) -> dict[str, Any]:
    """Something being done. None is without a deadline."""
    field: dict[str, Any] = {"name": name.value, "step": step, "deadline": deadline}
    return field if progress is None else {**field, "progress": round(progress, 1)}


def failure_of(
    error: EngineError,
    row: Mapping[str, Any],
    wish: Mapping[str, Any],
    now: datetime,
    host: str | None,
) -> dict[str, Any]:
    """How an error is shown. A repeated transient one, for the same `wish` (as it is recorded), is
    tried again ever later.
    """
    field: dict[str, Any] = {
        "reason": error.reason,
        "message": error.message,
        "step": error.step,
        "command": error.command,
        "answer": error.answer,
        "terminal": error.terminal,
        "wish": dict(wish),
        "hypervisor": host,
    }
    if error.terminal:
        return field
    before = observed_of(row).get("failure")
    attempts = 1
    if isinstance(before, Mapping) and before.get("wish") == field["wish"]:
        attempts = int(before["attempts"]) + 1 if isinstance(before.get("attempts"), int) else 1
    delay_s = retry_delay_s(attempts)
    hint_s = getattr(error, "retry_after_s", None)
    if isinstance(hint_s, int | float):
        delay_s = max(delay_s, float(hint_s))
    return {**field, "attempts": attempts, "retry_at": now + timedelta(seconds=delay_s)}


def retry_delay_s(attempts: int) -> float:
    return RETRY_S[min(max(attempts, 1), len(RETRY_S)) - 1]


def invalid_row(field: str, message: str) -> dict[str, Any]:
    return {
        "reason": Reason.INVALID_ROW.value,
        "message": message,
        "step": field,
        "terminal": True,
    }


def _plain(value: Any) -> Any:
    """Enum members as the words they are."""
    return value.value if isinstance(value, Reason | Observed | Activity) else value
