"""Live updates: Socket.IO on namespace "/", fed by the database's changefeeds.

Who may hear what is decided by rooms: everybody is in `user/<id>`, administrators also in `admins`.
`events` answers what clients send, `rooms` remembers who is connected, `feeds` follows the tables
and is the only place that emits.

From the server: `desktops.list` {items} at each connect (and after the database was away),
`desktop.changed` <desktop>, `desktop.removed` {id}, `thumbnail.changed` {id, at, url}; for
administrators `hypervisors.list` {items}, `hypervisor.changed` <hypervisor>, `hypervisor.removed`
{id}. From the client: `subscribe` {"thumbnails": [ids]} while cards are visible, repeated within
15 s. A connection is refused with the message "NotLoggedIn"; it is ended when the user's password
or role changes: the page then connects again with its newer cookie.
"""

from __future__ import annotations

from flask import Flask

from webapp.extensions import socketio
from webapp.realtime import events


def register(app: Flask) -> None:
    """Origins other than our own are refused (the server's default); the cookie is Flask's."""
    socketio.init_app(
        app,
        async_mode="gevent",
        manage_session=False,
        serve_client=False,
        max_http_buffer_size=64 * 1024,
        logger=False,
        engineio_logger=False,
    )
    events.install(socketio)
