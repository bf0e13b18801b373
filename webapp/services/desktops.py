"""Desktops: list, create, wish, edit, delete. Called by the API and the pages.

Every function takes the Person who asks. A desktop they may not see is not there (404). What the
desktop's present condition does not allow is refused with 409 and says what is possible; asking
again for what is already under way changes nothing and is no error, so a double click is harmless.
"""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import ValidationError

from db import desired, queries
from db.errors import Conflict
from db.rowcheck import SpecModel, is_uuid
from db.states import (
    WISH_OF_ACTION,
    Action,
    Condition,
    Desired,
    Kind,
    condition_of,
    read_wish,
)
from webapp import payloads
from webapp.auth.permissions import Person, actions_for, can_see_desktop, can_use_template
from webapp.errors import Problem, not_found
from webapp.extensions import database
from webapp.services import audit, networks, pools, thumbnails
from webapp.tidy import as_list, as_mapping, as_text, tidy_domain

Payload = dict[str, Any]
Row = dict[str, Any]

ACTIONS_BY_WISH: dict[tuple[Desired, bool], tuple[Action, ...]] = {
    (Desired.STARTED, False): (Action.RESUME, Action.START),
    (Desired.STOPPED, False): (Action.SHUTDOWN, Action.CALL_OFF),
    (Desired.STOPPED, True): (Action.POWER_OFF, Action.CALL_OFF),
    (Desired.PAUSED, False): (Action.PAUSE,),
    (Desired.DELETED, False): (Action.DELETE,),
    (Desired.DELETED, True): (Action.DELETE,),
}
"""Which of the actions a wish written through the API may stand for, the likelier first."""

OWNER_DISK_MAX_GIB = 500
"""Larger ones are an administrator's to make: thin as it is, a disk may fill up one day."""

ACTION_WORDS = {
    Action.START: "started",
    Action.SHUTDOWN: "shut down",
    Action.POWER_OFF: "powered off",
    Action.PAUSE: "paused",
    Action.RESUME: "resumed",
    Action.DELETE: "deleted",
    Action.EDIT: "edited",
    Action.VIEW: "viewed",
    Action.RETRY: "tried again",
    Action.CALL_OFF: "called off",
}


def list_desktops(user: Person) -> list[Payload]:
    """The user's own; for administrators everybody's. By name, then by id."""
    index, value = ("kind", Kind.DESKTOP.value) if user.is_admin else ("user", user.id)
    rows = queries.list_by_index(database(), "domains", index, value)
    rows = [row for row in rows if can_see_desktop(user, row)]
    shots = thumbnails.times_of(row["id"] for row in rows)
    listed = [payloads.desktop(row, user, shots.get(row["id"])) for row in rows]
    return sorted(listed, key=lambda item: (item["name"].casefold(), item["id"]))


def get_desktop(user: Person, desktop_id: str) -> Payload:
    return _payload(find(user, desktop_id), user)


def find(user: Person, desktop_id: str) -> Row:
    """The row, as it is in the table. Raises 404 where this user may not see it."""
    row = queries.get_row(database(), "domains", desktop_id) if is_uuid(desktop_id) else None
    if row is None or not can_see_desktop(user, row):
        raise not_found("desktop")
    return row


def require_disk_size(user: Person, size_gib: float | None, field: str) -> None:
    """Raises 422 for a disk that only administrators make."""
    if size_gib is not None and size_gib > OWNER_DISK_MAX_GIB and not user.is_admin:
        text = f"Larger than {OWNER_DISK_MAX_GIB} GiB only administrators may make a disk."
        raise Problem(422, "InvalidField", text, field=field)


def create_desktop(
    user: Person, name: str, template_id: str, description: str = "", icon: str = ""
) -> Payload:
    """A new desktop with the template's hardware, stopped. `name` and `description` are judged by
    the caller's model (`db.rowcheck` bounds).
    """
    template = find_template(user, template_id)
    row = new_row(user, name, template, description, icon)
    made = desired.create_domain(database(), row, user.actor)
    audit.record(user.actor, "desktop.create", f"domain/{made['id']}", template=template["id"])
    return payloads.desktop(made, user)


def new_row(owner: Person, name: str, template: Row, description: str = "", icon: str = "") -> Row:
    """A desktop's row, as it is made from this template for its owner. Raises 422 where the owner
    may not use its networks or its pool.
    """
    spec = spec_from(template)
    networks.refuse_unshared(owner, [card["id"] for card in spec["interfaces"]])
    pool = as_mapping(template.get("placement")).get("pool") or "default"
    pools.refuse_unshared(owner, pool, "origin.template")
    return {
        "id": str(uuid.uuid4()),
        "kind": Kind.DESKTOP.value,
        "name": name,
        "description": description,
        "icon": icon or as_text(template.get("icon")) or "",
        "os": as_text(template.get("os")) or "",
        "user": owner.id,
        "group": owner.group,
        "category": owner.category,
        "origin": {"template": template["id"]},
        "parents": [*as_list(template.get("parents")), template["id"]],
        "spec": spec,
        "placement": {"pool": pool},
    }


def wish(user: Person, desktop_id: str, action: Action, *, force: bool = False) -> Payload:
    """Ask for one of the actions of `db.states.WISH_OF_ACTION`, or `retry`. `force` (deletion of
    what is on a lost host) is for administrators.
    """
    return _ask(user, find(user, desktop_id), action, force=force)


def _ask(user: Person, row: Row, action: Action, *, force: bool = False) -> Payload:
    require_action(user, row, action)
    if action is Action.RETRY:
        wished, forced = _present_wish(row)
        state = wished or Desired.STOPPED
    elif action in WISH_OF_ACTION:
        state, forced = WISH_OF_ACTION[action]
    else:
        raise ValueError(f"{action} is no wish")
    if force and action is Action.DELETE:
        if not user.is_admin:
            raise Problem(403, "AdministratorsOnly", "Only administrators may force a deletion.")
        forced = True
    after = desired.wish_domain(database(), row["id"], state, user.actor, force=forced)
    audit.record(user.actor, f"desktop.{action.value}", f"domain/{row['id']}")
    return _payload(after, user)


def wish_state(user: Person, desktop_id: str, state: Desired, *, force: bool = False) -> Payload:
    """The same by the wanted state, as the API's PATCH writes it."""
    row = find(user, desktop_id)
    if force and (state, force) not in ACTIONS_BY_WISH:
        raise Problem(
            422,
            "InvalidField",
            f"The field 'desired.force' is wrong: it means nothing with {state.value!r}.",
            field="desired.force",
        )
    candidates = ACTIONS_BY_WISH[(state, force)]
    possible = actions_for(user, tidy_domain(row))
    for action in candidates:
        if action in possible:
            return _ask(user, row, action, force=force)
    wished, forced = _present_wish(row)
    condition = condition_of(tidy_domain(row))
    if wished is state and forced >= force and condition is not Condition.FAILED:
        return _payload(row, user)
    if wished is state and Action.RETRY in possible:
        return _ask(user, row, Action.RETRY)
    if condition is Condition.CREATING and state in (Desired.STARTED, Desired.STOPPED):
        return _wish_ahead(user, row, state)
    require_action(user, row, candidates[0])
    raise AssertionError("a refused action is raised above")


def edit(user: Person, desktop_id: str, changes: dict[str, Any]) -> Payload:
    """Change `name` and `description` (judged by the caller's model)."""
    unknown = set(changes) - {"name", "description"}
    if unknown:
        raise ValueError(f"not editable: {sorted(unknown)}")
    row = find(user, desktop_id)
    if condition_of(tidy_domain(row)) is Condition.DELETING:
        require_action(user, row, Action.EDIT)
    after = desired.edit_domain(database(), row["id"], changes) if changes else row
    audit.record(user.actor, "desktop.edit", f"domain/{row['id']}", fields=sorted(changes))
    return _payload(after, user)


def delete(user: Person, desktop_id: str, *, force: bool = False) -> Payload:
    """Wish it deleted. Asking again while it is being deleted is no error."""
    return wish_state(user, desktop_id, Desired.DELETED, force=force)


def _wish_ahead(user: Person, row: Row, state: Desired) -> Payload:
    """A desktop still being created may be wished started, or not started after all."""
    after = desired.wish_domain(database(), row["id"], state, user.actor)
    audit.record(user.actor, f"desktop.wish_{state.value}", f"domain/{row['id']}")
    return _payload(after, user)


def require_action(user: Person, row: Row, action: Action) -> None:
    """Raises Conflict where the row's present condition does not allow this action."""
    tidy = tidy_domain(row)
    possible = actions_for(user, tidy)
    if action in possible:
        return
    condition = condition_of(tidy)
    if condition is Condition.DELETING:
        raise Conflict("BeingDeleted", "It is being deleted: nothing else can be asked of it.")
    words = ", ".join(ACTION_WORDS[item] for item in sorted(possible))
    label = payloads.CONDITION_LABELS[condition].lower()
    raise Conflict(
        "NotAllowedNow",
        f"It cannot be {ACTION_WORDS[action]} while it is {label}. "
        f"It can be: {words or 'nothing'}.",
    )


def _present_wish(row: Row) -> tuple[Desired | None, bool]:
    try:
        read = read_wish(tidy_domain(row)["desired"])
    except ValueError:  # a script wrote an unknown word: any wish of ours is a new one
        return None, False
    return read.state, read.force


def _payload(row: Row, user: Person) -> Payload:
    return payloads.desktop(row, user, thumbnails.times_of([row["id"]]).get(row["id"]))


def find_template(user: Person, template_id: str) -> Row:
    row = queries.get_row(database(), "domains", template_id) if is_uuid(template_id) else None
    if row is None or not can_use_template(user, row):
        raise Problem(422, "NoSuchTemplate", "There is no such template.", field="origin.template")
    if condition_of(tidy_domain(row)) is Condition.DELETING:
        raise Conflict("BeingDeleted", "This template is being deleted.")
    return row


def spec_from(template: Row) -> dict[str, Any]:
    """The template's hardware without what identifies a machine (its network addresses), nor the
    sizes its disks were once made with: those built upon them are as large as they are by then.
    """
    try:
        model = SpecModel.model_validate(template.get("spec") or {})
    except ValidationError as error:
        raise Conflict(
            "TemplateInvalid",
            "This template's hardware is described wrongly: tell whoever made it.",
        ) from error
    spec = model.model_dump(exclude_none=True)
    for card in spec["interfaces"]:
        card.pop("mac", None)
    made = len(tidy_domain(template)["observed"]["disks"])
    for disk in spec["disks"][:made]:
        disk.pop("size_gib", None)
    return spec
