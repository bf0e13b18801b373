"""The serving process: database, application, feeds and gevent's web server, and their end.

Called by `python -m webapp` without a command, after gevent's patches.
"""

from __future__ import annotations

import signal
import threading
from functools import partial
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any

import gevent
from gevent.event import Event
from gevent.pywsgi import WSGIHandler, WSGIServer

from db import enrolments, schema
from db.connection import Database
from db.logs import configure, get_logger
from webapp.application import create_app
from webapp.clock.backups import BackupKeeper
from webapp.clock.holder import Clock
from webapp.extensions import Backend
from webapp.realtime.feeds import Feeds
from webapp.services import deliveries, uploads
from webapp.services.enrolments import publish_ticket_keys
from webapp.services.sweeping import keep_swept
from webapp.settings import WebSettings

READY_S = 60.0
ENROLMENTS_S = 10.0
"""How often one-time passwords that nobody fetched are taken away: none outlives a dead engine."""
GOODBYE_S = 3.0
SILENCE_S = 60.0
"""How long a client may neither send nor take anything. Live connections ping more often."""


def serve(settings: WebSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises SchemaError where the database does not get ready."""
    configure("webapp")
    log = get_logger(__name__)
    kernel = settings.kernel
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, ended.set)
    database = Database(kernel)
    schema.wait_until_ready(database, READY_S)
    app = create_app(settings, database)
    backend: Backend = app.extensions["isard"]
    backend.feeds = Feeds(app, database)
    backend.feeds.start()
    publish_ticket_keys(database, settings)
    sweepers = [
        gevent.spawn(
            keep_swept, app, "enrolments", ENROLMENTS_S, partial(enrolments.sweep, database)
        ),
        gevent.spawn(keep_swept, app, "uploads", uploads.SWEEP_S, uploads.sweep),
        gevent.spawn(keep_swept, app, "deliveries", deliveries.SWEEP_S, deliveries.sweep),
    ]
    clock = Clock(database, [BackupKeeper(database, settings)])
    clock.start()
    server = WSGIServer(
        (kernel.host, kernel.web_port), app, log=None, error_log=_Errors(), handler_class=Handler
    )
    server.start()
    log.info("serving", host=kernel.host, port=kernel.web_port)
    try:
        ended.wait()
    finally:
        log.info("stopping")
        gevent.killall(sweepers)
        clock.stop()
        backend.feeds.stop()
        server.stop(timeout=GOODBYE_S)
        database.close()


class Handler(WSGIHandler):
    """gevent's handler, with a deadline on silent clients and a socket websockets can trust.

    simple-websocket sends a frame with one `send`, which on gevent's sockets may take only the
    first part of a long one; it is given a socket whose `send` sends all. It finds it where
    eventlet's would be, the one place of its choice that leaves the end of the request to us.
    """

    def handle(self) -> None:
        self.socket.settimeout(SILENCE_S)
        # An answer is sent in two pieces; without this the second waits for the first one's
        # receipt.
        self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        super().handle()

    def run_application(self) -> None:
        if self.environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            self.environ["eventlet.input"] = _WholeSocket(self.socket)
            self.close_connection = True  # what comes after a websocket is no request
        super().run_application()


class _WholeSocket:
    """A socket whose `send` takes everything, one message after the other."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._lock = socket, threading.Lock()

    def get_socket(self) -> _WholeSocket:
        return self

    def send(self, data: bytes) -> int:
        with self._lock:
            self._socket.sendall(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class _Errors:
    """pywsgi's error log, in our form. It may quote a request line: its query is left out."""

    def write(self, text: str) -> None:
        line = text.strip().splitlines()[-1:] or [""]
        if line[0]:
            get_logger("webapp.http").warning("server_error", error=line[0].partition("?")[0])

    def flush(self) -> None:
        """Nothing is kept back."""
