"""A desktop's history in plain words: what people asked of it and what came of it, newest first.

Table `events` has both, written by `audit` and by the engine (engine/reconcilers/history.py). Each
line is made of the tables of words here; what has no words is left out rather than shown as code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db.connection import r
from webapp.auth.permissions import Person
from webapp.extensions import database
from webapp.payloads import sentence
from webapp.services import desktops
from webapp.tidy import as_iso, as_mapping, as_text

Payload = dict[str, Any]

LINES_MAX = 60

ASKED: dict[str, str] = {
    "desktop.create": "It was asked for",
    "desktop.start": "A start was asked for",
    "desktop.resume": "It was asked to go on",
    "desktop.shutdown": "A shutdown was asked for",
    "desktop.power_off": "A power off was asked for",
    "desktop.pause": "A pause was asked for",
    "desktop.retry": "Another try was asked for",
    "desktop.call_off": "It was called off",
    "desktop.delete": "Its deletion was asked for",
    "desktop.edit": "Its name or description was changed",
    "desktop.wish_started": "A start was asked for, once it is made",
    "desktop.wish_stopped": "The start was called off",
}
"""What a person did -> how it is told."""

HAPPENED: dict[str, tuple[str, str]] = {
    "domain.made": ("Its disks were made", "good"),
    "domain.started": ("It started", "good"),
    "domain.stopped": ("It stopped", "quiet"),
    "domain.paused": ("It was paused", "quiet"),
    "domain.resumed": ("It goes on", "good"),
    "domain.lost": ("Its hypervisor cannot be asked", "warn"),
    "domain.found": ("Its hypervisor answers again", "good"),
    "domain.failed": ("It failed", "bad"),
    "domain.deleted": ("It was deleted", "quiet"),
}
"""What the engine saw -> how it is told, and its tone."""

WHO = {"script": "a script", "schedule": "a schedule"}


def of_desktop(user: Person, desktop_id: str) -> Payload:
    row = desktops.find(user, desktop_id)
    events = database().run(
        r.table("events")
        .get_all(f"domain/{row['id']}", index="target")
        .order_by(r.desc("at"))
        .limit(LINES_MAX)
    )
    lines = (_line(event, user) for event in events)
    return {"items": [line for line in lines if line is not None]}


def _line(event: Mapping[str, Any], user: Person) -> Payload | None:
    what, detail = as_text(event.get("what")) or "", as_mapping(event.get("detail"))
    if what in ASKED:
        text, tone, shown = ASKED[what], "asked", ""
    elif what in HAPPENED:
        (text, tone), shown = HAPPENED[what], as_text(detail.get("message")) or ""
        host = as_text(detail.get("hypervisor"))
        if host and user.is_admin and what in ("domain.started", "domain.lost", "domain.found"):
            text = f"{text} ({host})"
    else:
        return None
    return {
        "id": str(event["id"]),
        "at": as_iso(event.get("at")),
        "text": text,
        "detail": sentence(shown, user) or "",
        "tone": tone,
        "who": _name_of(as_text(detail.get("by")) or as_text(event.get("who")) or ""),
    }


def _name_of(who: str) -> str:
    """`user/ana` is ana; what came about by itself has nobody behind it."""
    kind, _, name = who.partition("/")
    return name if kind == "user" else WHO.get(kind, "")
