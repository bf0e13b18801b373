"""Slows down guessing of passwords: a sliding window over the failed logins in table `events`.

The window lies in the database, so it holds with several webapps. An attempt is written down before
the password is looked at, so a flood of attempts at the same moment cannot slip through together.
Names are kept as a keyed hash: people type passwords into the wrong field.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from db.connection import Database, r
from webapp.errors import Problem

WINDOW_S = 300

LIMITS = {"pair": 8, "name": 40, "address": 100}
"""Failed logins within the window: of one name from one address, of one name from anywhere, of one
address. A stranger's guesses must not lock a person out from elsewhere too easily.
"""

UNDER_WAY = 4
"""Attempts not yet decided may be this many times as many: a class logs in at once."""


@dataclass(frozen=True)
class Attempt:
    """A login under way; `id` is its row in `events`."""

    id: str
    name_key: str
    address: str


def begin(database: Database, key: bytes, name: str, address: str) -> Attempt:
    """Count this attempt. Raises Problem 429 where there were too many; then it is not counted."""
    name_key = hmac.new(key, name.casefold().encode("utf-8", "replace"), hashlib.sha256)
    attempt = Attempt(str(uuid.uuid4()), name_key.hexdigest()[:32], address)
    row = {
        "id": attempt.id,
        "at": r.now(),
        "who": "",
        "what": "login.pending",
        "target": "login",
        "detail": {"name_key": attempt.name_key, "address": address},
    }
    database.run(r.table("events").insert(row))
    tries = database.run(
        r.table("events")
        .between(r.now().sub(WINDOW_S), r.maxval, index="at")
        .filter(lambda row: r.expr(["login.failed", "login.pending"]).contains(row["what"]))
        .pluck("id", "at", "what", "detail")
    )
    wait_s = _wait_s(attempt, tries)
    if wait_s:
        database.run(r.table("events").get(attempt.id).delete())
        raise Problem(
            429,
            "TooManyLogins",
            f"Too many failed logins. Try again in {max(1, round(wait_s / 60))} min.",
            headers={"Retry-After": str(wait_s)},
        )
    return attempt


def finish(database: Database, attempt: Attempt, user_id: str | None, right: bool) -> None:
    """Write what came of it: the audit's login.ok, or login.failed with the user it was for."""
    change = {
        "who": f"user/{user_id}" if user_id else "",
        "target": f"user/{user_id}" if user_id else "login",
        "what": "login.ok" if right else "login.failed",
    }
    database.run(r.table("events").get(attempt.id).update(change))


def _wait_s(attempt: Attempt, tries: list[dict[str, Any]]) -> int:
    """Seconds until the oldest failure that is one too many leaves the window; 0 to go on."""
    others = [(row, row.get("detail") or {}) for row in tries if row["id"] != attempt.id]
    same_name = [(row, d.get("address")) for row, d in others if _is_name(d, attempt)]
    counted = {
        "pair": [row for row, address in same_name if address == attempt.address],
        "name": [row for row, _ in same_name],
        "address": [row for row, d in others if d.get("address") == attempt.address],
    }
    return max(_wait_for(rows, LIMITS[kind]) for kind, rows in counted.items())


def _is_name(detail: dict[str, Any], attempt: Attempt) -> bool:
    return detail.get("name_key") == attempt.name_key


def _wait_for(rows: list[dict[str, Any]], limit: int) -> int:
    failed = sorted(row["at"] for row in rows if row["what"] == "login.failed")
    if len(failed) >= limit:
        age_s = (datetime.now(UTC) - failed[-limit]).total_seconds()
        return 1 + int(max(0.0, WINDOW_S - age_s))
    return 1 if len(rows) >= limit * UNDER_WAY else 0
