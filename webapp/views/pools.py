"""The administrators' pages of pools. What is done with one goes through the REST API."""

from __future__ import annotations

from typing import Any

from flask import render_template

from db.rowcheck import BALANCERS, USES
from webapp.auth.guards import admin_required, current_user
from webapp.services import hypervisors, pools
from webapp.views.pages import blueprint
from webapp.views.people import sharing_choices


@blueprint.get("/admin/pools", endpoint="pools")
@admin_required
def show_pools() -> str:
    hosts = hypervisors.list_hypervisors(current_user)
    items = [with_hosts(item, hosts) for item in pools.list_pools(current_user)]
    people = sharing_choices()
    return render_template("pools.html", pools=items, balancers=BALANCERS, people=people)


@blueprint.get("/admin/pools/<pool_id>", endpoint="pool")
@admin_required
def show_pool(pool_id: str) -> str:
    found = pools.get_pool(current_user, pool_id)
    hosts = hypervisors.list_hypervisors(current_user)
    return render_template(
        "pool.html",
        pool=with_hosts(found, hosts),
        balancers=BALANCERS,
        uses=USES,
        people=sharing_choices(),
        active="pages.pools",
    )


def with_hosts(pool: dict[str, Any], hosts: list[dict[str, Any]]) -> dict[str, Any]:
    """The payload with its hypervisors, as static/js/pages/pool.js keeps it live."""
    own = [host for host in hosts if pool["id"] in host["pools"]]
    return {**pool, "hosts": own, "online": sum(h["observed"]["state"] == "online" for h in own)}
