"""What a page needs to show a desktop's screen: the proxy's URL with a ticket, and the console's
password.

The password is new at each start, goes into this one answer's body and never into a URL. Called by
POST /api/v1/desktops/<id>/viewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from db import queries
from db.errors import Conflict
from db.states import Action
from webapp.auth.permissions import Person
from webapp.extensions import backend, database
from webapp.services import audit, desktops
from webapp.settings import WebSettings
from webapp.tidy import Row, as_iso, as_mapping, as_text
from webapp.viewers import origins, tickets


@dataclass(frozen=True)
class Console:
    """A running desktop's console as the engine recorded it."""

    hypervisor: str
    port: int
    password: str


def open_viewer(user: Person, desktop_id: str, *, host: str, is_secure: bool) -> dict[str, Any]:
    """{url, expires_at, password, page}. `host` is what the browser reached us by,
    with the port.

    Raises 404, or 409 where the desktop has no screen now.
    """
    row = desktops.find(user, desktop_id)
    desktops.require_action(user, row, Action.VIEW)
    console = _find_console(desktop_id)
    hypervisor = queries.get_row(database(), "hypervisors", console.hypervisor)
    if hypervisor is None:
        raise Conflict("HypervisorGone", "The host it ran on has been removed.")
    settings = backend().settings
    ticket = tickets.sign(
        settings.ticket_keys_dir,
        hypervisor=console.hypervisor,
        domain=desktop_id,
        port=console.port,
        life_s=settings.ticket_life_s,
    )
    audit.record(user.actor, "desktop.view", f"domain/{desktop_id}")
    door = _find_door(settings, hypervisor, host=host, is_secure=is_secure)
    return {
        "url": f"{door}?token={ticket.token}",
        "expires_at": as_iso(datetime.fromtimestamp(ticket.expires_at_s, UTC)),
        "password": console.password,
        "page": f"/desktops/{desktop_id}/viewer",
    }


def _find_door(settings: WebSettings, hypervisor: Row, *, host: str, is_secure: bool) -> str:
    """The websocket's URL: the hypervisor's own proxy, or ours in front that leads to it."""
    scheme = "wss" if is_secure else "ws"
    if settings.viewer_path:
        return f"{scheme}://{host}{settings.viewer_path}/{hypervisor['id']}"
    name, port = origins.viewer_address(
        hypervisor.get("viewer"), settings.kernel.viewer_port, origins.name_of(host)
    )
    return f"{scheme}://{name}:{port}/websockify"


def _find_console(desktop_id: str) -> Console:
    row = queries.get_row(database(), "consoles", desktop_id) or {}
    port = as_mapping(row.get("ports")).get("vnc")
    hypervisor, password = as_text(row.get("hypervisor")), as_text(row.get("password"))
    if not hypervisor or not password or type(port) is not int or not 0 < port < 65536:
        raise Conflict("ConsoleNotReady", "Its screen is not ready yet. Try again in a moment.")
    return Console(hypervisor, port, password)
