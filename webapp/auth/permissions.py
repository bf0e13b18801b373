"""What a person may see and do. Pure: rows in, answers out.

Every service asks here and nowhere else. A row somebody may not see is for them a row that does not
exist (404, never 403). Which actions the row's present condition allows is the other half of the
question and lives in `db.states`; `actions_for` folds both, so a button shown is an action allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.sharing import is_allowed
from db.states import TARGETS_DOMAIN, Action, Kind, TaskKind, actions_of

ROLES = ("user", "advanced", "manager", "admin")


@dataclass(frozen=True)
class Person:
    """The one who asks, as read from the `users` row at this request."""

    id: str
    name: str
    role: str
    group: str
    category: str
    sessions_epoch: int = 0

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    @property
    def actor(self) -> str:
        """How wishes and the audit log name this person."""
        return f"user/{self.id}"


def can_administer(person: Person) -> bool:
    return person.is_admin


def can_see_desktop(person: Person, row: Mapping[str, Any]) -> bool:
    return row.get("kind") == Kind.DESKTOP and (
        person.is_admin or (bool(person.id) and row.get("user") == person.id)
    )


def has_rank(person: Person, role: str) -> bool:
    """Whether the person's role is this one or one above it."""
    return person.role in ROLES and ROLES.index(person.role) >= ROLES.index(role)


def can_make_templates(person: Person) -> bool:
    return has_rank(person, "advanced")


def can_use_template(person: Person, row: Mapping[str, Any]) -> bool:
    """See it, and make desktops from it. Bases are templates too."""
    if row.get("kind") not in (Kind.TEMPLATE, Kind.BASE):
        return False
    return person.is_admin or row.get("user") == person.id or is_shared(person, row.get("allowed"))


def can_edit_template(person: Person, row: Mapping[str, Any]) -> bool:
    """Change, share and delete it."""
    if row.get("kind") not in (Kind.TEMPLATE, Kind.BASE):
        return False
    return person.is_admin or (can_make_templates(person) and row.get("user") == person.id)


def can_make_for(person: Person, user_id: str, category: str) -> bool:
    """Make desktops for this user of this category."""
    if person.is_admin or user_id == person.id:
        return True
    return has_rank(person, "manager") and category == person.category


def can_add_media(person: Person) -> bool:
    """And make desktops from them: what is installed from an image takes somebody who knows how."""
    return person.role in ("advanced", "manager", "admin")


def can_see_media(person: Person, row: Mapping[str, Any]) -> bool:
    return can_change_media(person, row) or is_shared(person, row.get("allowed"))


def can_change_media(person: Person, row: Mapping[str, Any]) -> bool:
    return person.is_admin or (bool(person.id) and row.get("user") == person.id)


def is_shared(person: Person, allowed: object) -> bool:
    """`allowed` as in documents.Domain."""
    return is_allowed(
        allowed,
        role=person.role,
        category=person.category,
        group=person.group,
        user=person.id,
    )


def actions_for(person: Person, row: Mapping[str, Any]) -> frozenset[Action]:
    """What this person may ask of this row now. The row must be tidy (`webapp.tidy`)."""
    if can_see_desktop(person, row) or can_edit_template(person, row):
        return actions_of(row)
    return actions_of(row) if person.is_admin else frozenset()


OWNERS_TASKS = frozenset(
    {
        TaskKind.RESIZE,
        TaskKind.SPARSIFY,
        TaskKind.FLATTEN,
        TaskKind.VERIFY,
        TaskKind.DUPLICATE,
        TaskKind.EXPORT,
    }
)
"""What who owns a desktop or template may order for it. The rest touches how the storage is used,
and is for administrators.
"""


def can_order(person: Person, row: Mapping[str, Any], kind: TaskKind) -> bool:
    """Whether this person may have that done to this domain. An export becomes a medium, so it is
    for who may add media; a template is worked on by who may change it.
    """
    if person.is_admin:
        return True
    if kind not in OWNERS_TASKS or (kind is TaskKind.EXPORT and not can_add_media(person)):
        return False
    return can_see_desktop(person, row) or can_edit_template(person, row)


def can_import(person: Person, medium: Mapping[str, Any]) -> bool:
    """Whether this person may make a desktop of this disk image: it is theirs, and their role may
    bring in systems of its own.
    """
    owns = bool(person.id) and medium.get("user") == person.id
    return person.is_admin or (owns and person.role in ("advanced", "manager"))


def tasks_for(person: Person, row: Mapping[str, Any]) -> frozenset[TaskKind]:
    """The work on disks that may be ordered for a domain: its buttons."""
    return frozenset(kind for kind in TARGETS_DOMAIN if can_order(person, row, kind))


def can_see_task(person: Person, row: Mapping[str, Any]) -> bool:
    """Who ordered it and whose thing it works on."""
    return person.is_admin or (bool(person.id) and person.id in (row.get("user"), row.get("owner")))


def can_order_of_task(person: Person, row: Mapping[str, Any]) -> bool:
    """Who may take it back: who ordered it, and administrators."""
    return person.is_admin or (bool(person.id) and row.get("user") == person.id)
