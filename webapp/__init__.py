"""The web side: pages, REST API and live updates over one database.

Importing the package loads nothing: `python -m webapp` imports it before `__main__` can apply
gevent's patches, and those must come before everything else. `application` puts the parts together,
`server` serves them, `cli` holds the commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from db.connection import Database
    from webapp.settings import WebSettings


def create_app(settings: WebSettings, database: Database) -> Flask:
    """The application, serving nothing yet. See `webapp.application`."""
    from webapp.application import create_app as create

    return create(settings, database)
