"""The administrators' page of networks. What is done with one goes through the REST API."""

from __future__ import annotations

from flask import render_template

from webapp.auth.guards import admin_required, current_user
from webapp.services import networks
from webapp.views.pages import blueprint
from webapp.views.people import sharing_choices


@blueprint.get("/admin/networks", endpoint="networks")
@admin_required
def show_networks() -> str:
    listed = networks.list_networks(current_user)
    return render_template("networks.html", networks=listed, people=sharing_choices())
