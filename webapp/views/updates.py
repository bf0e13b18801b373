"""The administrators' page Updates. What is done there goes through the REST interface."""

from __future__ import annotations

from flask import render_template

from webapp.auth.guards import admin_required, current_user
from webapp.services import updates
from webapp.views.pages import blueprint


@blueprint.get("/admin/updates", endpoint="updates")
@admin_required
def show_updates() -> str:
    return render_template("updates.html", updates=updates.read_updates(current_user))
