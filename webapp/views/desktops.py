"""Desktops and the viewer. What is done with a desktop goes through the REST interface."""

from __future__ import annotations

from typing import Any

from flask import redirect, render_template, url_for
from werkzeug.wrappers import Response

from webapp.auth.guards import current_user, login_required
from webapp.auth.permissions import can_add_media
from webapp.errors import Problem
from webapp.services import (
    desktops,
    history,
    hypervisors,
    installs,
    media,
    placements,
    pools,
    templates,
)
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
        **_for_installing(),
    )


@blueprint.get("/desktops/<desktop_id>/viewer", endpoint="viewer")
@login_required
def show_viewer(desktop_id: str) -> str:
    return render_template("viewer.html", desktop=desktops.get_desktop(current_user, desktop_id))


@blueprint.get("/desktops/<desktop_id>", endpoint="desktop")
@login_required
def show_desktop(desktop_id: str) -> str:
    found = desktops.get_desktop(current_user, desktop_id)
    past = history.of_desktop(current_user, found["id"])["items"]
    return render_template(
        "desktop.html",
        desktop={**found, "history": past},
        made_from=_made_from(found["origin"]),
        may_install=can_add_media(current_user),
        media=media.list_media(current_user),
        networks=placements.list_networks_for(current_user, found),
        choices=_places() if current_user.is_admin else None,
        active="pages.desktops",
    )


def _places() -> dict[str, Any]:
    """What an administrator may choose from: (id, shown) of pools and of who runs desktops."""
    return {
        "pools": [(pool["id"], pool["name"]) for pool in pools.list_pools(current_user)],
        "hypervisors": [
            (host["id"], host["id"])
            for host in hypervisors.list_hypervisors(current_user)
            if host["capabilities"]["hypervisor"]
        ],
    }


def _made_from(origin: dict[str, Any]) -> str:
    """The template's name, where this person may see it still."""
    template = origin.get("template")
    if not isinstance(template, str):
        return ""
    try:
        return str(templates.get_template(current_user, template)["name"])
    except Problem:
        return "A template that is not shared any more"


def _for_installing() -> dict[str, Any]:
    """What the dialog needs for desktops from media, for those who may make such."""
    if not can_add_media(current_user):
        return {"may_install": False}
    return {
        "may_install": True,
        "media": installs.list_usable(current_user),
        "profiles": installs.list_profiles(),
    }
