"""What the parts of the web side share: the Socket.IO server and the handle on the database.

`backend()` is how services reach the database from a request, from a feed greenlet or from the
command line: each runs inside an application context. Nothing else is global.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app
from flask_socketio import SocketIO

from db.connection import Database
from webapp.settings import WebSettings

if TYPE_CHECKING:
    from webapp.realtime.feeds import Feeds
    from webapp.services.health import LeaseWatch

socketio = SocketIO()


@dataclass
class Backend:
    """`feeds` is None in a process that serves no pages (the command line)."""

    settings: WebSettings
    database: Database
    session_key: bytes
    lease_watch: LeaseWatch
    feeds: Feeds | None = None


def backend() -> Backend:
    found: Backend = current_app.extensions["isard"]
    return found


def database() -> Database:
    return backend().database
