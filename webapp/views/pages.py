"""The blueprint all pages are in, and what they show while the database is away.

That page asks the database for nothing and tries again by itself (static/js/pages/away.js).
"""

from __future__ import annotations

from flask import Blueprint, Response, render_template

from db.errors import DatabaseUnavailable, IsardError, SchemaError
from db.logs import get_logger

log = get_logger(__name__)

blueprint = Blueprint("pages", __name__)


@blueprint.errorhandler(DatabaseUnavailable)
@blueprint.errorhandler(SchemaError)
def show_away(error: IsardError) -> Response:
    log.warning("database_unavailable", error=str(error))
    page = render_template(
        "error.html",
        status=503,
        title="Service Unavailable",
        reason="DatabaseUnavailable",
        message="The database does not answer just now.",
    )
    return Response(page, 503, {"Retry-After": "2"})
