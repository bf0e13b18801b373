"""Templates over REST."""

from __future__ import annotations

from typing import Any

from webapp.api.answers import Template, Templates
from webapp.api.operations import operation
from webapp.auth.permissions import Person
from webapp.services import templates


@operation("GET", "/templates", tag="Templates", summary="List templates", answer=Templates)
def list_templates(user: Person) -> dict[str, Any]:
    """Those I may make desktops from."""
    return {"items": templates.list_templates(user)}


@operation(
    "GET", "/templates/<template_id>", tag="Templates", summary="Read a template", answer=Template
)
def get_template(user: Person, template_id: str) -> dict[str, Any]:
    return templates.get_template(user, template_id)
