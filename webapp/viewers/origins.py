"""Which websocket proxies our pages may connect to, for the content security policy.

Where a hypervisor names no host of its own for viewers, browsers reach it under the name they
reached us by. Read from the database at most every few seconds, but anew for the page of a viewer,
which may be of a host that was just added; without a database, ourselves only.
"""

from __future__ import annotations

import re
import time
from typing import Any

from flask import request
from rethinkdb.errors import ReqlError

from db.connection import r
from db.errors import DatabaseUnavailable
from webapp.extensions import backend, database
from webapp.tidy import as_mapping, as_text

KEEP_S = 5.0
VIEWER_PAGE = "pages.viewer"

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]")
_kept: dict[int, tuple[float, list[tuple[str | None, int]]]] = {}


def host_of_request() -> str:
    """The host name the browser used, without the port; an IPv6 address in brackets."""
    return name_of(request.host)


def address_of_request() -> str:
    """The same with the port, where there is one."""
    name, host = host_of_request(), request.host
    port = host[len(name) + 1 :]
    return f"{name}:{port}" if host.startswith(f"{name}:") and port.isdigit() else name


def name_of(host: str) -> str:
    """A host's name without the port."""
    name = host[: host.rindex("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return name if _HOST.fullmatch(name) else "127.0.0.1"


def viewer_address(viewer: Any, default_port: int, host: str) -> tuple[str, int]:
    """Host and port of a hypervisor's websocket proxy, from its row's `viewer`."""
    viewer = as_mapping(viewer)
    name, port = as_text(viewer.get("hostname")), viewer.get("port")
    if name and ":" in name and not name.startswith("["):
        name = f"[{name}]"
    return (
        name if name and _HOST.fullmatch(name) else host,
        port if type(port) is int and 0 < port < 65536 else default_port,
    )


def for_page() -> list[str]:
    """The values of `connect-src` for a page of this request."""
    scheme = "wss" if request.is_secure else "ws"
    host = host_of_request()
    own = f"{scheme}://{request.host}" if _HOST.match(request.host) else ""
    proxies = {f"{scheme}://{name or host}:{port}" for name, port in _proxies()}
    if backend().settings.viewer_path:
        proxies = set()
    return ["'self'", *filter(None, [own]), *sorted(proxies)]


def _proxies() -> list[tuple[str | None, int]]:
    handle = database()
    known_at, known = _kept.get(id(handle), (None, []))
    now = time.monotonic()
    is_fresh = known_at is not None and now - known_at < KEEP_S
    if is_fresh and request.endpoint != VIEWER_PAGE:
        return known
    try:
        rows = handle.run(r.table("hypervisors").pluck("viewer"))
    except (DatabaseUnavailable, ReqlError):
        return known
    default = handle.settings.viewer_port
    fresh = []
    for row in rows:
        name, port = viewer_address(row.get("viewer"), default, "")
        fresh.append((name or None, port))
    _kept.clear()
    _kept[id(handle)] = (now, fresh)
    return fresh
