"""The serving process: database, application, feeds and gevent's web server, and their end.

Called by `python -m webapp` without a command, after gevent's patches.
"""

from __future__ import annotations

import signal

import gevent
from gevent.event import Event
from gevent.pywsgi import WSGIServer

from db import schema
from db.connection import Database
from db.logs import configure, get_logger
from webapp import create_app
from webapp.extensions import Backend
from webapp.realtime.feeds import Feeds
from webapp.settings import WebSettings

READY_S = 60.0
GOODBYE_S = 3.0


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
    server = WSGIServer((kernel.host, kernel.web_port), app, log=None, error_log=_Errors())
    server.start()
    log.info("serving", host=kernel.host, port=kernel.web_port)
    try:
        ended.wait()
    finally:
        log.info("stopping")
        backend.feeds.stop()
        server.stop(timeout=GOODBYE_S)
        database.close()


class _Errors:
    """pywsgi's error log, in our form. It may quote a request line: its query is left out."""

    def write(self, text: str) -> None:
        line = text.strip().splitlines()[-1:] or [""]
        if line[0]:
            get_logger("webapp.http").warning("server_error", error=line[0].partition("?")[0])

    def flush(self) -> None:
        """Nothing is kept back."""
