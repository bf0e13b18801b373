"""The administrators' page System: database, engine, its loops, hypervisors, what was left."""

from __future__ import annotations

from typing import Any

from flask import render_template

from db import queries
from webapp.auth.guards import admin_required, current_user
from webapp.extensions import backend, database
from webapp.services import backups, health, hypervisors, orphans
from webapp.tidy import as_mapping
from webapp.views.pages import blueprint


@blueprint.get("/admin/system", endpoint="system")
@admin_required
def show_system() -> str:
    return render_template("system.html", **_state())


@blueprint.get("/admin/system/state")
@admin_required
def show_system_state() -> str:
    return render_template("parts/system_state.html", **_state())


def _state() -> dict[str, Any]:
    found = health.check(database(), backend().lease_watch)
    engine = queries.read_engine(database())
    loops = as_mapping(as_mapping(engine["ticks"]).get("loops"))
    hosts = hypervisors.list_hypervisors(current_user)
    return {
        "missing": found.missing,
        "message": found.message,
        "lease": engine["lease"],
        "loops": sorted((name, as_mapping(loop)) for name, loop in loops.items()),
        "online": sum(host["observed"]["state"] == "online" for host in hosts),
        "total": len(hosts),
        "schedule": backups.read_schedule(current_user),
        "orphans": orphans.list_orphans(current_user),
    }
