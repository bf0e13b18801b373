"""Desktops and the viewer. What is done with a desktop goes through the REST interface."""

from __future__ import annotations

from flask import redirect, render_template, url_for
from werkzeug.wrappers import Response

from webapp.auth.guards import current_user, login_required
from webapp.services import desktops, templates
from webapp.views.pages import blueprint


@blueprint.get("/")
def home() -> Response:
    return redirect(url_for("pages.desktops"))


@blueprint.get("/desktops", endpoint="desktops")
@login_required
def show_desktops() -> str:
    return render_template(
        "desktops.html",
        desktops=desktops.list_desktops(current_user),
        templates=templates.list_templates(current_user),
    )


@blueprint.get("/desktops/<desktop_id>/viewer", endpoint="viewer")
@login_required
def show_viewer(desktop_id: str) -> str:
    return render_template("viewer.html", desktop=desktops.get_desktop(current_user, desktop_id))
