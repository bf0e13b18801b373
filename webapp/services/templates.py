"""Templates: what a person may make desktops from."""

from __future__ import annotations

from typing import Any

from db import queries
from db.rowcheck import is_uuid
from db.states import Condition, Kind, condition_of
from webapp import payloads
from webapp.auth.permissions import Person, can_use_template
from webapp.errors import not_found
from webapp.extensions import database
from webapp.tidy import tidy_domain

Payload = dict[str, Any]


def list_templates(user: Person) -> list[Payload]:
    """Those shared with this user (all, for administrators), by name."""
    rows = queries.list_by_index(database(), "domains", "kind", Kind.TEMPLATE.value)
    listed = [
        payloads.template(row, user)
        for row in rows
        if can_use_template(user, row) and condition_of(tidy_domain(row)) is not Condition.DELETING
    ]
    return sorted(listed, key=lambda item: (item["name"].casefold(), item["id"]))


def get_template(user: Person, template_id: str) -> Payload:
    row = queries.get_row(database(), "domains", template_id) if is_uuid(template_id) else None
    if row is None or not can_use_template(user, row):
        raise not_found("template")
    return payloads.template(row, user)
