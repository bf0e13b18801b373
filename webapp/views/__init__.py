"""The pages: thin views over `webapp.services`, one module a subject, in one blueprint `pages`.

A view asks a service, hands payloads to a template and is done. Templates get the helpers below:
`bindings` (markup that scripts can fill again), `words`, `theme`, `person`. Called by create_app.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, request

from webapp.auth.guards import current_user
from webapp.views import (
    account,
    backups,
    desktops,
    hypervisors,
    media,
    networks,
    pictures,
    pools,
    system,
    tasks,
    templates,
    updates,
)
from webapp.views.bindings import Bindings
from webapp.views.pages import blueprint
from webapp.views.words import ROLE_NAMES, WORDS

THEMES = ("auto", "light", "dark")

__all__ = [
    "account",
    "backups",
    "desktops",
    "hypervisors",
    "media",
    "networks",
    "pictures",
    "pools",
    "register",
    "system",
    "tasks",
    "templates",
    "updates",
]


def register(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.jinja_env.globals.update(bindings=Bindings, words=WORDS, role_names=ROLE_NAMES)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.context_processor(_for_templates)


def _for_templates() -> dict[str, Any]:
    """`person` is looked up only by a template that uses it: error pages must not ask for it."""
    theme = request.cookies.get("theme", "auto")
    return {
        "theme": theme if theme in THEMES else "auto",
        "active": request.endpoint,
        "person": current_user,
    }
