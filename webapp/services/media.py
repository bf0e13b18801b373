"""Media: list, add by address or for an upload, wish, edit, delete. Called by API and pages.

The rules are those of desktops: what somebody may not see is not there (404), what its present
condition does not allow is refused with 409, asking again changes nothing. Adding takes an advanced
user; changing is for the owner and for administrators. Nothing is fetched here: the engine has the
disk host do it.
"""

from __future__ import annotations

import uuid
from typing import Any

from db import desired, queries
from db.defaults import NOBODY
from db.errors import Conflict
from db.media_states import (
    WISH_OF_MEDIA_ACTION,
    MediaAction,
    MediaCondition,
    media_actions_of,
    media_condition_of,
    read_media_wish,
)
from db.rowcheck import check_media, is_uuid
from db.sentences import counted
from db.states import MediaDesired
from webapp import media_payloads
from webapp.auth.permissions import Person, can_add_media, can_change_media, can_see_media
from webapp.errors import Problem, not_found
from webapp.extensions import database
from webapp.services import audit, pools, sharing, uploads
from webapp.tidy import as_text, tidy_media

Payload = dict[str, Any]
Row = dict[str, Any]

EDITABLE = frozenset({"name", "description", "allowed"})

ACTIONS_BY_WISH: dict[MediaDesired, tuple[MediaAction, ...]] = {
    MediaDesired.AVAILABLE: (MediaAction.DOWNLOAD, MediaAction.RETRY),
    MediaDesired.ABSENT: (MediaAction.CANCEL,),
    MediaDesired.DELETED: (MediaAction.DELETE,),
}

ACTION_WORDS = {
    MediaAction.DOWNLOAD: "downloaded",
    MediaAction.CANCEL: "called off",
    MediaAction.RETRY: "tried again",
    MediaAction.EDIT: "edited",
    MediaAction.DELETE: "deleted",
}

CONDITION_LABELS: dict[MediaCondition, str] = {
    MediaCondition.UPLOADING: "being uploaded",
    MediaCondition.WAITING: "waiting",
    MediaCondition.DOWNLOADING: "being downloaded",
    MediaCondition.CHECKING: "being checked",
    MediaCondition.AVAILABLE: "available",
    MediaCondition.ABSENT: "not downloaded",
    MediaCondition.FAILED: "failed",
    MediaCondition.DELETING: "being deleted",
}


def list_media(user: Person) -> list[Payload]:
    rows = [row for row in queries.list_rows(database(), "media") if can_see_media(user, row)]
    listed = [media_payloads.medium(row, user) for row in rows]
    return sorted(listed, key=lambda item: (item["name"].casefold(), item["id"]))


def get_medium(user: Person, media_id: str) -> Payload:
    return media_payloads.medium(find(user, media_id), user)


def find(user: Person, media_id: str) -> Row:
    """The row, as it is in the table. Raises 404 where this user may not see it."""
    row = queries.get_row(database(), "media", media_id) if is_uuid(media_id) else None
    if row is None or not can_see_media(user, row):
        raise not_found("medium")
    return row


def find_own(user: Person, media_id: str) -> Row:
    """The same for who may change it. Raises 403 where it may only be used."""
    row = find(user, media_id)
    if not can_change_media(user, row):
        raise Problem(403, "NotYours", "This medium is shared with you; it is not yours to change.")
    return row


def add_medium(user: Person, fields: dict[str, Any]) -> Payload:
    """`fields`: name, kind, source and what else is known. By an address it is wished available at
    once; what is to be uploaded is so when all of it has come.
    """
    require_adding(user)
    source = dict(fields["source"])
    media_id = str(uuid.uuid4())
    by_upload = bool(source.get("upload"))
    if by_upload:
        uploads.require_room(int(source["size"]))
        source["upload"] = media_id
    row = {
        "id": media_id,
        "kind": fields["kind"],
        "name": fields["name"],
        "description": fields.get("description") or "",
        "user": user.id,
        "group": user.group,
        "category": user.category,
        "pool": fields.get("pool") or "default",
        "source": source,
        "allowed": fields.get("allowed") or NOBODY,
        **({"catalogue": fields["catalogue"]} if fields.get("catalogue") else {}),
    }
    state = MediaDesired.ABSENT if by_upload else MediaDesired.AVAILABLE
    problem = check_media({**row, "desired": {"state": state.value}})
    if problem:
        raise Problem(422, "InvalidField", problem.message, field=problem.field)
    if queries.get_row(database(), "hypervisors_pools", row["pool"]) is None:
        raise Problem(422, "NoSuchPool", f"There is no pool {row['pool']!r}.", field="pool")
    pools.refuse_unshared(user, row["pool"], "pool")
    sharing.require_known(row)
    made = desired.create_media(database(), row, state, user.actor)
    audit.record(user.actor, "media.add", f"media/{media_id}", upload=by_upload)
    return media_payloads.medium(made, user)


def wish_state(user: Person, media_id: str, state: MediaDesired) -> Payload:
    row = find_own(user, media_id)
    tidy = tidy_media(row)
    possible = media_actions_of(tidy)
    wanted = next((one for one in ACTIONS_BY_WISH[state] if one in possible), None)
    if wanted is None:
        if _present_wish(tidy) is state:
            return media_payloads.medium(row, user)
        raise _refusal(tidy, ACTIONS_BY_WISH[state][0])
    if wanted is MediaAction.RETRY:
        return act(user, media_id, MediaAction.RETRY)
    return _ask(user, row, wanted, state)


def act(user: Person, media_id: str, action: MediaAction) -> Payload:
    """One of the actions that write a wish; `retry` repeats the present one."""
    row = find_own(user, media_id)
    tidy = tidy_media(row)
    if action not in media_actions_of(tidy):
        raise _refusal(tidy, action)
    if action is MediaAction.RETRY:
        return _ask(user, row, action, _present_wish(tidy) or MediaDesired.AVAILABLE)
    return _ask(user, row, action, WISH_OF_MEDIA_ACTION[action])


def edit(user: Person, media_id: str, changes: dict[str, Any]) -> Payload:
    if set(changes) - EDITABLE:
        raise ValueError(f"not editable: {sorted(set(changes) - EDITABLE)}")
    row = find_own(user, media_id)
    sharing.require_known(changes, row)
    after = desired.edit_media(database(), row["id"], changes) if changes else row
    audit.record(user.actor, "media.edit", f"media/{row['id']}", fields=sorted(changes))
    return media_payloads.medium(after, user)


def require_adding(user: Person) -> None:
    if not can_add_media(user):
        text = "Media are for advanced users. Ask an administrator if you need one."
        raise Problem(403, "AdvancedOnly", text)


def _ask(user: Person, row: Row, action: MediaAction, state: MediaDesired) -> Payload:
    if state is MediaDesired.DELETED:
        _refuse_while_used(user, row["id"])
    elif state is MediaDesired.AVAILABLE:
        uploads.require_whole(row)
    after = desired.wish_media(database(), row["id"], state, user.actor)
    audit.record(user.actor, f"media.{action.value}", f"media/{row['id']}")
    return media_payloads.medium(after, user)


def _refuse_while_used(user: Person, media_id: str) -> None:
    users = queries.list_media_users(database(), media_id)
    if not users:
        return
    have = counted(len(users), "desktop or template has", "desktops or templates have")
    what = f"{have} it in a drive"
    if user.is_admin:
        what += ": " + ", ".join(
            sorted(as_text(one.get("name")) or str(one["id"]) for one in users)[:5]
        )
    raise Conflict("InUse", f"{what}. Take it out there first.")


def _refusal(tidy: Row, action: MediaAction) -> Conflict:
    condition = media_condition_of(tidy)
    if condition is MediaCondition.DELETING:
        return Conflict("BeingDeleted", "It is being deleted: nothing else can be asked of it.")
    words = ", ".join(ACTION_WORDS[one] for one in sorted(media_actions_of(tidy)))
    return Conflict(
        "NotAllowedNow",
        f"It cannot be {ACTION_WORDS[action]} while it is {CONDITION_LABELS[condition]}. "
        f"It can be: {words}.",
    )


def _present_wish(tidy: Row) -> MediaDesired | None:
    try:
        return read_media_wish(tidy["desired"]).state
    except ValueError:
        return None
