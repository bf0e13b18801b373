"""The pictures drawn from an id, for desktops that are off and for templates."""

from __future__ import annotations

from flask import Response

from webapp.views.art import draw_landscape
from webapp.views.pages import blueprint

SEED_MAX = 64


@blueprint.get("/art/<seed>.svg")
def art(seed: str) -> Response:
    """Needs no login: it tells nothing that was not in the address. Never changes, so is kept."""
    response = Response(draw_landscape(seed[:SEED_MAX]), mimetype="image/svg+xml")
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response
