"""Whether browsers will get at the screens: the websocket proxy, and the keys it checks tickets
with. All of it only warns: desktops run without.
"""

from __future__ import annotations

import contextlib
import socket

from engine.hypervisor.checks.visit import VIRTUALIZATION, Check, Finding, Visit, failed, passed
from engine.hypervisor.login import connect
from engine.hypervisor.profile import DESCRIPTION

TICKET_KEYS = "/etc/isard/tickets"
COUNT_KEYS = """
for key in "$1"/*.pem; do
  [ -f "$key" ] && grep -q 'BEGIN PUBLIC KEY' "$key" && echo "${key##*/}"
done
exit 0
"""
START_PROXY = "Start the websocket proxy on the host and open its port."


def check_proxy(visit: Visit) -> Finding:
    published = visit.profile.viewer_port
    where = visit.viewer or ((visit.address.hostname, published) if published else None)
    if where is None:
        return failed(
            "It is not known where its websocket proxy listens.",
            f"Set the viewer port of this hypervisor, or let the host publish it in {DESCRIPTION}.",
        )
    host, port = where
    greeting = _ask_proxy(host, port, visit.settings.connect_timeout_s)
    # Plain HTTP, or a TLS alert because it expects TLS: either is a proxy that lives.
    if not greeting.startswith((b"HTTP/1.", b"\x15\x03")):
        return failed(
            f"What answers at {host} port {port} is not the websocket proxy.", START_PROXY
        )
    return passed(f"The websocket proxy answers at {host} port {port}.")


def _ask_proxy(host: str, port: int, timeout_s: float) -> bytes:
    with connect(host, port, timeout_s) as client, contextlib.suppress(OSError):
        client.settimeout(timeout_s)
        request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        client.sendall(request.encode("ascii", errors="replace"))
        return client.recv(64, socket.MSG_WAITALL)
    return b""


def check_tickets(visit: Visit) -> Finding:
    found = visit.run(COUNT_KEYS, TICKET_KEYS, label=f"ls {TICKET_KEYS}").text.split()
    if not found:
        return failed(
            f"It has no key to check viewer tickets with in {TICKET_KEYS}.",
            "Press Set up access on its page, without a password: that puts the key there. Or copy "
            "the installation's public ticket key there as KEY-ID.pem.",
        )
    named = ", ".join(name.removesuffix(".pem") for name in found)
    return passed(f"It checks viewer tickets with the key {named}.")


CHECKS = (
    Check(
        "viewer",
        "Viewer proxy",
        VIRTUALIZATION,
        ("login",),
        check_proxy,
        START_PROXY,
        only_warns=True,
    ),
    Check("tickets", "Ticket key", VIRTUALIZATION, ("login",), check_tickets, only_warns=True),
)
