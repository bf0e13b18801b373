"""The question a reverse proxy asks before it lets a viewer through: where is that hypervisor's
websocket proxy?

With a portal in front (`ISARD_VIEWER_PATH`), browsers reach all viewers under the address of the
pages, with its certificate, and no hypervisor need be reachable from where people sit. The portal
connects only to what is answered here, so a made-up hypervisor leads nowhere. Who may see which
desktop is not decided here but by the ticket, which the hypervisor judges. The portal answers 404
to everybody else who asks for `/internal/`.
"""

from __future__ import annotations

import ipaddress

from flask import Blueprint, Response

from db import queries
from webapp.errors import Problem
from webapp.extensions import backend, database
from webapp.tidy import as_mapping, as_text
from webapp.viewers.origins import viewer_address

blueprint = Blueprint("portal", __name__)


@blueprint.get("/internal/viewers/<hypervisor_id>")
def find_viewer(hypervisor_id: str) -> Response:
    """204 with X-Viewer-Address: host and port of the proxy, as the portal reaches it."""
    row = queries.get_row(database(), "hypervisors", hypervisor_id)
    if row is None:
        raise Problem(403, "HypervisorGone", "There is no such hypervisor.")
    viewer = as_mapping(row.get("viewer"))
    name = bracketed(as_text(viewer.get("proxy")) or as_text(row.get("hostname")) or "")
    asked = {"hostname": name, "port": viewer.get("port")}
    host, port = viewer_address(asked, backend().settings.kernel.viewer_port, "")
    if not host:
        raise Problem(403, "InvalidRow", "The hypervisor's host name cannot be used.")
    return Response(status=204, headers={"X-Viewer-Address": f"{host}:{port}"})


def bracketed(host: str) -> str:
    """An IPv6 address as it stands in a URL; anything else as it is."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
