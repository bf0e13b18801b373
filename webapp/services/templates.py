"""Templates: what desktops are made from. List, make from a desktop, change, share, delete.

A template somebody may not use is not there for them (404). Who may change one is its owner, if
their role makes templates, or an administrator. Deleting one on which others are built is in
template_tree.py. Called by the API and the pages.
"""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import ValidationError

from db import desired, queries
from db.errors import Conflict
from db.rowcheck import SpecModel, is_uuid
from db.sentences import counted
from db.states import Action, Condition, Desired, Kind, condition_of, read_wish
from webapp import payloads
from webapp.auth.permissions import (
    Person,
    can_edit_template,
    can_make_templates,
    can_see_desktop,
    can_use_template,
)
from webapp.errors import Problem, invalid, not_found
from webapp.extensions import database
from webapp.services import audit, desktops, pools, sharing
from webapp.tidy import as_list, as_mapping, as_text, tidy_domain

Payload = dict[str, Any]
Row = dict[str, Any]

KINDS = (Kind.TEMPLATE, Kind.BASE)


def list_templates(user: Person) -> list[Payload]:
    """Those shared with this user (all, for administrators), by name."""
    found = [queries.list_by_index(database(), "domains", "kind", kind.value) for kind in KINDS]
    listed = [payloads.template(row, user) for rows in found for row in rows if _is_for(user, row)]
    return sorted(listed, key=lambda item: (item["name"].casefold(), item["id"]))


def get_template(user: Person, template_id: str) -> Payload:
    return payloads.template(find(user, template_id), user)


def find(user: Person, template_id: str) -> Row:
    row = queries.get_row(database(), "domains", template_id) if is_uuid(template_id) else None
    if row is None or not can_use_template(user, row):
        raise not_found("template")
    return row


def make_template(user: Person, fields: dict[str, Any]) -> Payload:
    """From a stopped desktop of theirs. `fields`: name, description, icon, kind, origin, allowed,
    judged by the caller's model.
    """
    if not can_make_templates(user):
        raise Problem(403, "AdvancedUsersOnly", "Your role does not make templates.")
    if fields["kind"] == Kind.BASE and not user.is_admin:
        raise Problem(403, "AdministratorsOnly", "Only administrators make base images.")
    desktop = _find_desktop(user, fields["origin"]["desktop"])
    pool = as_mapping(desktop.get("placement")).get("pool") or "default"
    pools.refuse_unshared(user, pool, "origin.desktop")
    sharing.require_known(fields)
    row = {
        "id": str(uuid.uuid4()),
        "kind": fields["kind"],
        "name": fields["name"],
        "description": fields["description"],
        "icon": fields["icon"] or as_text(desktop.get("icon")) or "",
        "os": as_text(desktop.get("os")) or "",
        "user": user.id,
        "group": user.group,
        "category": user.category,
        "origin": {"desktop": desktop["id"]},
        "parents": as_list(desktop.get("parents")),
        "spec": desktops.spec_from(desktop),
        "placement": {"pool": pool},
        "allowed": fields["allowed"],
    }
    made = desired.create_domain(database(), row, user.actor)
    audit.record(user.actor, "template.create", f"domain/{made['id']}", desktop=desktop["id"])
    return payloads.template(made, user)


def change(user: Person, template_id: str, changes: dict[str, Any]) -> Payload:
    """Change `name`, `description`, `allowed` and parts of `spec`, or `retry` what failed."""
    row = find_own(user, template_id)
    if changes.get("retry"):
        return _retry(user, row)
    if condition_of(tidy_domain(row)) is Condition.DELETING:
        desktops.require_action(user, row, Action.EDIT)
    sharing.require_known(changes, row)
    if "spec" in changes:
        changes = {**changes, "spec": _judge_spec(row, changes["spec"])}
    after = desired.edit_domain(database(), row["id"], changes)
    audit.record(user.actor, "template.edit", f"domain/{row['id']}", fields=sorted(changes))
    return payloads.template(after, user)


def delete(user: Person, template_id: str) -> Payload:
    """One on which nothing is built. Asking again while it is being deleted is no error."""
    row = find_own(user, template_id)
    number = len(queries.list_children(database(), row["id"]))
    if number and condition_of(tidy_domain(row)) is not Condition.DELETING:
        raise Conflict(
            "HasChildren",
            f"{counted(number, 'is', 'are')} built upon this template. Look at its tree, and "
            "delete that if all of it may go.",
        )
    after = desired.wish_domain(database(), row["id"], Desired.DELETED, user.actor)
    audit.record(user.actor, "template.delete", f"domain/{row['id']}")
    return payloads.template(after, user)


def find_own(user: Person, template_id: str) -> Row:
    """The row, for who may change it. Raises 404 where they may not see it, 403 otherwise."""
    row = find(user, template_id)
    if not can_edit_template(user, row):
        raise Problem(403, "NotYours", "This template is shared with you; it is not yours.")
    return row


def _is_for(user: Person, row: Row) -> bool:
    """One being deleted is shown only to who may see how that goes."""
    if not can_use_template(user, row):
        return False
    is_going = condition_of(tidy_domain(row)) is Condition.DELETING
    return not is_going or can_edit_template(user, row)


def _retry(user: Person, row: Row) -> Payload:
    desktops.require_action(user, row, Action.RETRY)
    wished = read_wish(tidy_domain(row)["desired"]).state
    after = desired.wish_domain(database(), row["id"], wished, user.actor)
    audit.record(user.actor, "template.retry", f"domain/{row['id']}")
    return payloads.template(after, user)


def _find_desktop(user: Person, desktop_id: str) -> Row:
    row = queries.get_row(database(), "domains", desktop_id) if is_uuid(desktop_id) else None
    if row is None or not can_see_desktop(user, row):
        raise Problem(422, "NoSuchDesktop", "There is no such desktop.", field="origin.desktop")
    condition = condition_of(tidy_domain(row))
    if condition is not Condition.STOPPED:
        label = payloads.CONDITION_LABELS[condition].lower()
        raise Conflict(
            "NotStopped",
            f"A template is made of a stopped desktop; this one is {label}. Shut it down first.",
        )
    return row


def _judge_spec(row: Row, changes: dict[str, Any]) -> dict[str, Any]:
    """The parts that change, once the whole has been found valid."""
    try:
        SpecModel.model_validate({**as_mapping(row.get("spec")), **changes})
    except ValidationError as error:
        raise invalid(error) from error
    return changes
