"""What clients send. Handlers only find out who it is and hand over; nothing here emits.

A client is known by the session cookie of its handshake, by the header `Authorization: Bearer`, or
by `{"token": …}` in Socket.IO's auth.
"""

from __future__ import annotations

from typing import Any

from flask import request
from flask_socketio import ConnectionRefusedError, SocketIO, join_room

from webapp.auth import tokens
from webapp.auth.guards import find_user
from webapp.auth.permissions import Person
from webapp.extensions import backend
from webapp.realtime.rooms import connections, rooms_for
from webapp.services import thumbnails


def install(server: SocketIO) -> None:
    server.on_event("connect", _connect)
    server.on_event("disconnect", _disconnect)
    server.on_event("subscribe", _subscribe)


def _connect(auth: Any = None) -> None:
    person = _who(auth)
    if person is None:
        raise ConnectionRefusedError("NotLoggedIn")
    sid = _sid()
    connections.add(sid, person)
    for room in rooms_for(person):
        join_room(room)
    feeds = backend().feeds
    if feeds:
        feeds.greet(sid, person)


def _disconnect(_reason: Any = None) -> None:
    connections.remove(_sid())


def _subscribe(message: Any = None) -> dict[str, Any]:
    """Interest in thumbnails. Ids of what this person may not see are passed over silently."""
    person = connections.person(_sid())
    ids = message.get("thumbnails") if isinstance(message, dict) else None
    if person is None or not isinstance(ids, list):
        return {"ok": False, "reason": "BadRequest"}
    feeds = backend().feeds
    wanted = [item for item in ids[: thumbnails.INTERESTS_MAX] if isinstance(item, str)]
    seen = [item for item in wanted if feeds and feeds.can_see(person, item)]
    thumbnails.show_interest(seen)
    return {"ok": True, "thumbnails": seen, "expires_in_s": thumbnails.INTEREST_S}


def _who(auth: Any) -> Person | None:
    token = auth.get("token") if isinstance(auth, dict) else None
    if token is not None:
        return tokens.find_person(token) if isinstance(token, str) else None
    return find_user()


def _sid() -> str:
    return str(request.sid)  # type: ignore[attr-defined]
