"""The administrators' page Backups. What is done there goes through the REST interface."""

from __future__ import annotations

from flask import render_template

from webapp.auth.guards import admin_required, current_user
from webapp.services import backups
from webapp.views.pages import blueprint


@blueprint.get("/admin/backups", endpoint="backups")
@admin_required
def show_backups() -> str:
    return render_template(
        "backups.html",
        backups=backups.list_backups(current_user),
        schedule=backups.read_schedule(current_user),
    )
