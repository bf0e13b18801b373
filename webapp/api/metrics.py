"""/metrics: for a Prometheus server. With an administrator's token, or from an address that
ISARD_METRICS_FROM lets in: names of hosts and numbers of desktops are not for everybody.
"""

from __future__ import annotations

import ipaddress

from flask import Blueprint, Response, request

from webapp.auth.guards import require_admin
from webapp.extensions import backend
from webapp.metrics import CONTENT_TYPE, metrics

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def show_metrics() -> Response:
    if not is_let_in(request.remote_addr or ""):
        require_admin()
    return Response(metrics().text(), content_type=CONTENT_TYPE)


def is_let_in(address: str) -> bool:
    """By its address alone, which is the proxy's where one stands in front and is not trusted."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(found in network for network in backend().settings.metrics_from)
