"""With whom a thing can be shared, for the fields of parts/sharing.html."""

from __future__ import annotations

import math
import re

from db import queries
from webapp.extensions import database
from webapp.tidy import as_text
from webapp.views.words import ROLE_NAMES

Choices = list[tuple[str, str]]


def sharing_choices() -> dict[str, Choices]:
    """Roles, groups and categories as (id, name). Users are named by who shares."""
    return {
        "roles": list(ROLE_NAMES.items()),
        "groups": _named("groups"),
        "categories": _named("categories"),
    }


def _named(table: str) -> Choices:
    rows = queries.list_rows(database(), table)
    named = [(str(row["id"]), as_text(row.get("name")) or str(row["id"])) for row in rows]
    return sorted(named, key=lambda item: _as_read(item[1]))


def _as_read(name: str) -> list[tuple[float, str]]:
    """The key that puts class 2 before class 10: numbers by their length, then their digits."""
    parts = re.findall(r"0*([0-9]+)|([^0-9]+)", name.casefold())
    return [(len(digits) if digits else math.inf, digits or text) for digits, text in parts]
