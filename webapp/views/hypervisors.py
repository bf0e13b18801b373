"""The administrators' pages of hypervisors. What is done with one goes through the REST API."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from flask import Response, render_template

from webapp.auth.guards import admin_required, current_user
from webapp.services import desktops, hypervisors, pools
from webapp.views.pages import blueprint

RUNNING = ("started", "paused", "unknown")


@blueprint.get("/admin/hypervisors", endpoint="hypervisors")
@admin_required
def show_hypervisors() -> str:
    on_host = _running_by_host()
    items = [
        with_desktops(item, on_host.get(item["id"], []))
        for item in hypervisors.list_hypervisors(current_user)
    ]
    known = pools.list_pools(current_user)
    return render_template("hypervisors.html", hypervisors=items, pools=known)


@blueprint.get("/admin/hypervisors/<hypervisor_id>", endpoint="hypervisor")
@admin_required
def show_hypervisor(hypervisor_id: str) -> str:
    found = hypervisors.get_hypervisor(current_user, hypervisor_id)
    item = with_desktops(found, _running_by_host().get(found["id"], []))
    return render_template(
        "hypervisor.html",
        hypervisor=item,
        pools=pools.list_pools(current_user),
        engine_key=hypervisors.read_engine_key(current_user),
        active="pages.hypervisors",
    )


@blueprint.get("/admin/hypervisors/<hypervisor_id>/key")
@admin_required
def show_fingerprint(hypervisor_id: str) -> Response:
    """Of the key the host offers, as ssh-keygen -l prints it. Empty where it offers none."""
    found = hypervisors.get_hypervisor(current_user, hypervisor_id)
    text = fingerprint_of(found["observed"]["host_key_offered"] or "")
    return Response(text, mimetype="text/plain")


def with_desktops(hypervisor: dict[str, Any], running: list[dict[str, Any]]) -> dict[str, Any]:
    """The payload with the desktops that are on it, as static/js/running.js keeps it live."""
    is_disabled = hypervisor["desired"]["state"] == "disabled"
    watched = is_disabled and hypervisor["observed"]["state"] != "offline"
    return {**hypervisor, "desktops": len(running), "running": running, "watched": watched}


def fingerprint_of(host_key: str) -> str:
    """`SHA256:…` of a key line; empty for what is none."""
    words = host_key.split()
    if len(words) < 2:
        return ""
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _running_by_host() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for item in desktops.list_desktops(current_user):
        observed = item["observed"]
        if observed.get("hypervisor") and observed["state"] in RUNNING:
            found.setdefault(observed["hypervisor"], []).append(item)
    return found
