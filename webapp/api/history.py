"""A desktop's history over REST: thin, see `webapp.services.history`."""

from __future__ import annotations

from typing import Any, Literal

from webapp.api.answers import Answer
from webapp.api.operations import operation
from webapp.auth.permissions import Person
from webapp.services import history


class Event(Answer):
    id: str
    at: str | None
    text: str
    detail: str
    tone: Literal["asked", "good", "quiet", "warn", "bad"]
    who: str


class Events(Answer):
    items: list[Event]


@operation(
    "GET",
    "/desktops/<desktop_id>/events",
    tag="Desktops",
    summary="Read its history",
    answer=Events,
)
def list_desktop_events(user: Person, desktop_id: str) -> dict[str, Any]:
    """What was asked of it and what came of it, newest first, in plain words."""
    return history.of_desktop(user, desktop_id)
