"""REST v1 under /api/v1, /healthz and /metrics.

`operations` turns a function with a declared body and answer into a route and into a line of the
OpenAPI document; `requests` and `answers` are the declared shapes; the other modules are one noun
each, thin over `webapp.services`.
"""

from __future__ import annotations

from flask import Flask

from webapp.api import (
    account,
    backups,
    desktops,
    health,
    history,
    hypervisors,
    media,
    metrics,
    networks,
    openapi,
    operations,
    orphans,
    pools,
    stats,
    tasks,
    templates,
    updates,
)

__all__ = [
    "account",
    "backups",
    "desktops",
    "history",
    "hypervisors",
    "media",
    "networks",
    "openapi",
    "orphans",
    "pools",
    "register",
    "stats",
    "tasks",
    "templates",
    "updates",
]


def register(app: Flask) -> None:
    app.register_blueprint(operations.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(metrics.blueprint)
