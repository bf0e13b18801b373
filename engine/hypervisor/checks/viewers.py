"""Whether browsers will get at the screens: the websocket proxy, and the keys it checks tickets
with. All of it only warns: desktops run without. Keys that are missing, or are others, are put
there by the check itself, once each time.
"""

from __future__ import annotations

import contextlib
import socket

from engine.hypervisor.checks.visit import VIRTUALIZATION, Check, Finding, Visit, failed, passed
from engine.hypervisor.login import connect
from engine.hypervisor.profile import DESCRIPTION
from engine.hypervisor.ticket_keys import TICKET_KEYS, find_lacking, put_keys

COUNT_KEYS = """
for key in "$1"/*.pem; do
  [ -f "$key" ] && grep -q 'BEGIN PUBLIC KEY' "$key" && echo "${key##*/}"
done
exit 0
"""
PUT_KEY = (
    "Press Set up access on its page, without a password: that puts the key there. Or copy "
    "the installation's public ticket key there as KEY-ID.pem."
)
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
    if visit.ticket_keys:
        return _check_published(visit)
    found = visit.run(COUNT_KEYS, TICKET_KEYS, label=f"ls {TICKET_KEYS}").text.split()
    if not found:
        return failed(f"It has no key to check viewer tickets with in {TICKET_KEYS}.", PUT_KEY)
    named = ", ".join(name.removesuffix(".pem") for name in found)
    return passed(f"It checks viewer tickets with the key {named}.")


def _check_published(visit: Visit) -> Finding:
    """It has this installation's keys, or gets them. One try: the next check is the next one."""
    named = ", ".join(sorted(visit.ticket_keys))
    lacking = find_lacking(visit.ssh, visit.ticket_keys)
    if not lacking:
        return passed(f"It checks viewer tickets with the key {named}.")
    why = put_keys(visit.ssh, visit.ticket_keys, enrols=False)
    if why is None and find_lacking(visit.ssh, visit.ticket_keys):
        why = "it was put there and is another again"
    if why is not None:
        return failed(
            f"Its key of viewer tickets in {TICKET_KEYS} is missing or another "
            f"({', '.join(lacking)}), and could not be put there: {why}.",
            PUT_KEY,
        )
    return passed(
        f"Its key of viewer tickets was missing or another ({', '.join(lacking)}): the engine has "
        f"put it there. It checks viewer tickets with the key {named}."
    )


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
