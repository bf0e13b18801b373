"""The viewer proxy: websockets from browsers to the consoles of this host's guests, each with a
ticket.

It listens in the machine's network and reaches consoles in the guests', where they listen on the
loopback alone. The websocket work is websockify's, one process per viewer; ours is who may pass
(`tickets.py`), answered with HTTP 403 before anything is upgraded, and that no token reaches a
log: the library's own lines, which quote the request, are not written at all. Each viewer leaves
a note `<pid>.json` in VIEWERS while it runs, so that it can be found and cut. Runs as a user
without rights. Started by `services.py`.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import pwd
import select
import socket
import time
from urllib.parse import parse_qs, urlsplit

from websockify.websocketproxy import ProxyRequestHandler, WebSocketProxy

from hyper_image import accounts
from hyper_image.configuration import HYPERVISOR_ID, RUN, TICKET_KEYS
from hyper_image.namespaces import in_machine_network
from hyper_image.tickets import LOOPBACK, Ticket, TicketOffice, TicketRefused

SPENT_TICKETS = RUN / "spent-tickets"
VIEWERS = RUN / "viewers"
HEALTH_PATH = "/healthz"
BACKLOG = 512
REQUEST_TIMEOUT_S = 10.0
PING_EVERY_S = 30
FORGET_EVERY_S = 60.0
CUT_CODE = 4001
CUT_REASON = "The viewer was closed by the server."

log = logging.getLogger("viewer")


class ViewerHandler(ProxyRequestHandler):
    """One connection, in a process of its own."""

    server_version = "IsardVDI"
    sys_version = ""
    timeout = REQUEST_TIMEOUT_S
    path: str

    def handle_upgrade(self) -> None:
        token = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
        self.path = "/"
        self.requestline = "GET / HTTP/1.1"
        try:
            ticket = self.server.office.accept(token)
        except TicketRefused as refusal:
            log.info("refused address=%s reason=%r", self.client_address[0], str(refusal))
            self.answer(403, str(refusal))
            return
        self.connection.settimeout(None)
        note = VIEWERS / f"{os.getpid()}.json"
        self.server.target_host, self.server.target_port = LOOPBACK, ticket.port
        log.info("opened address=%s domain=%s", self.client_address[0], ticket.domain)
        try:
            note.write_text(describe(ticket, self.client_address[0]))
            super().handle_upgrade()
        finally:
            note.unlink(missing_ok=True)
            log.info("closed address=%s domain=%s", self.client_address[0], ticket.domain)

    def new_websocket_client(self) -> None:
        """Until either side ends; a viewer that is cut (SIGTERM) is told so."""
        try:
            super().new_websocket_client()
        except self.server.Terminate:
            raise self.CClose(CUT_CODE, CUT_REASON) from None

    def do_GET(self) -> None:
        if urlsplit(self.path).path == HEALTH_PATH:
            self.answer(200, "ok")
        else:
            self.answer(404, "Only viewers are served here.")

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, code: int, sentence: str) -> None:
        """A short plain answer, and no more requests on this connection."""
        body = (sentence + "\n").encode()
        self.close_connection = True
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def validate_connection(self) -> None:
        """Done in handle_upgrade, before anything is answered."""

    def log_message(self, format: str, *args: object) -> None:
        """The library's lines quote the request, and with it the token."""


class ViewerProxy(WebSocketProxy):
    """websockify's server with our handler, on a socket already listening."""

    def __init__(self, listening: socket.socket, office: TicketOffice) -> None:
        super().__init__(
            RequestHandlerClass=ViewerHandler,
            listen_fd=listening.fileno(),
            heartbeat=PING_EVERY_S,
            web="",
        )
        self.office = office
        self._forget_at = 0.0

    def poll(self) -> None:
        now = time.monotonic()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_S
            self.office.forget_expired()

    def do_handshake(self, sock: socket.socket, address: tuple[str, int]) -> socket.socket:
        """A client that says nothing is let go; there is no TLS and no Flash policy here."""
        if not select.select([sock], [], [], REQUEST_TIMEOUT_S)[0]:
            raise self.EClose("")
        ViewerHandler(sock, address, self)
        return sock


def serve(hypervisor: str, host: str, port: int) -> int:
    """Until SIGTERM; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s viewer %(message)s")
    logging.getLogger("websockify").setLevel(logging.CRITICAL)
    logging.getLogger(ViewerProxy.get_logger().name).setLevel(logging.CRITICAL)
    with in_machine_network():
        listening = listen(host, port)
    become_unprivileged()
    office = TicketOffice(hypervisor, TICKET_KEYS, SPENT_TICKETS, name=HYPERVISOR_ID)
    ViewerProxy(listening, office).start_server()
    return 0


def listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.bind(address)
    listening.listen(BACKLOG)
    return listening


def become_unprivileged() -> None:
    """Give up root, keeping two folders to write in."""
    importlib.import_module("multiprocessing.popen_fork")  # needed later, perhaps unreadable then
    user = pwd.getpwnam(accounts.VIEWER_USER)
    for folder in (SPENT_TICKETS, VIEWERS):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(folder, user.pw_uid, user.pw_gid)
    for note in VIEWERS.iterdir():
        note.unlink()
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def describe(ticket: Ticket, address: str) -> str:
    return json.dumps(
        {
            "domain": ticket.domain,
            "ticket": ticket.id,
            "address": address,
            "since": int(time.time()),
        }
    )
