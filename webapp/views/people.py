"""With whom a thing can be shared, for the fields of parts/sharing.html."""

from __future__ import annotations

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
    return sorted(named, key=lambda item: item[1].casefold())
