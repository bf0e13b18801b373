"""What a person may see and do. Pure: rows in, answers out.

Every service asks here and nowhere else. A row somebody may not see is for them a row that does not
exist (404, never 403). Which actions the row's present condition allows is the other half of the
question and lives in `db.states`; `actions_for` folds both, so a button shown is an action allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.states import Action, Kind, actions_of

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


def can_use_template(person: Person, row: Mapping[str, Any]) -> bool:
    if row.get("kind") != Kind.TEMPLATE:
        return False
    return person.is_admin or row.get("user") == person.id or is_shared(person, row.get("allowed"))


def is_shared(person: Person, allowed: object) -> bool:
    """`allowed` as in documents.Domain: each of four lists is False (nobody), [] (everybody) or
    ids.
    """
    if not isinstance(allowed, Mapping):
        return False
    mine = {
        "roles": person.role,
        "categories": person.category,
        "groups": person.group,
        "users": person.id,
    }
    return any(
        isinstance(allowed.get(key), list) and (not allowed[key] or value in allowed[key])
        for key, value in mine.items()
    )


def actions_for(person: Person, row: Mapping[str, Any]) -> frozenset[Action]:
    """What this person may ask of this row now. The row must be tidy (`webapp.tidy`)."""
    if can_see_desktop(person, row):
        return actions_of(row)
    return actions_of(row) if person.is_admin else frozenset()
