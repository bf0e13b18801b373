"""What a medium is for people, and what they may ask of it. Pure: no input or output.

The same idea as `db.states` for desktops: one word folded from wish, sight, activity and failure,
and one table of actions from which webapp draws its buttons and refuses requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from db.states import MediaDesired, MediaState, Reason


class MediaCondition(StrEnum):
    UPLOADING = "uploading"
    WAITING = "waiting"
    DOWNLOADING = "downloading"
    CHECKING = "checking"
    AVAILABLE = "available"
    ABSENT = "absent"
    FAILED = "failed"
    DELETING = "deleting"


class MediaAction(StrEnum):
    DOWNLOAD = "download"
    CANCEL = "cancel"
    RETRY = "retry"
    EDIT = "edit"
    DELETE = "delete"


_ALWAYS = frozenset({MediaAction.DELETE, MediaAction.EDIT})

MEDIA_ACTIONS: dict[MediaCondition, frozenset[MediaAction]] = {
    MediaCondition.UPLOADING: _ALWAYS,
    MediaCondition.WAITING: _ALWAYS | {MediaAction.CANCEL},
    MediaCondition.DOWNLOADING: _ALWAYS | {MediaAction.CANCEL},
    MediaCondition.CHECKING: _ALWAYS | {MediaAction.CANCEL},
    MediaCondition.AVAILABLE: _ALWAYS,
    MediaCondition.ABSENT: _ALWAYS | {MediaAction.DOWNLOAD},
    MediaCondition.FAILED: _ALWAYS | {MediaAction.RETRY},
    MediaCondition.DELETING: frozenset(),
}

WISH_OF_MEDIA_ACTION: dict[MediaAction, MediaDesired] = {
    MediaAction.DOWNLOAD: MediaDesired.AVAILABLE,
    MediaAction.CANCEL: MediaDesired.ABSENT,
    MediaAction.DELETE: MediaDesired.DELETED,
}
"""`retry` repeats the present wish with a new time; `edit` writes none."""

CHECKING_STEPS = frozenset({"check", "publish"})


@dataclass(frozen=True)
class MediaWish:
    state: MediaDesired
    at: datetime | None


def read_media_wish(desired: Mapping[str, Any]) -> MediaWish:
    """Raises ValueError for an unknown state."""
    at = desired.get("at")
    return MediaWish(
        MediaDesired(str(desired.get("state"))), at if isinstance(at, datetime) else None
    )


def is_media_handled(wish: MediaWish, observed: Mapping[str, Any]) -> bool:
    done = observed.get("for")
    return isinstance(done, Mapping) and (done.get("state"), done.get("at")) == (
        wish.state,
        wish.at,
    )


def media_condition_of(row: Mapping[str, Any]) -> MediaCondition:
    """The one word. `row` is tidy: its fields are mappings where they should be."""
    observed = row.get("observed") or {}
    failure = observed.get("failure") or {}
    try:
        wish = read_media_wish(row.get("desired") or {})
    except ValueError:
        return MediaCondition.FAILED
    state = observed.get("state")
    if failure.get("terminal"):
        # That it was not to be removed while it is used takes nothing from it.
        refused = failure.get("reason") == Reason.IN_USE and state == MediaState.AVAILABLE
        return MediaCondition.AVAILABLE if refused else MediaCondition.FAILED
    if wish.state is MediaDesired.DELETED:
        return MediaCondition.DELETING
    if wish.state is MediaDesired.AVAILABLE:
        if state == MediaState.AVAILABLE and is_media_handled(wish, observed):
            return MediaCondition.AVAILABLE
        step = (observed.get("activity") or {}).get("step")
        if state != MediaState.DOWNLOADING:
            return MediaCondition.WAITING
        return MediaCondition.CHECKING if step in CHECKING_STEPS else MediaCondition.DOWNLOADING
    if state in (MediaState.AVAILABLE, MediaState.DOWNLOADING):
        return MediaCondition.DELETING
    source = row.get("source") or {}
    return MediaCondition.UPLOADING if source.get("upload") else MediaCondition.ABSENT


def media_actions_of(row: Mapping[str, Any]) -> frozenset[MediaAction]:
    return MEDIA_ACTIONS[media_condition_of(row)]
