"""Follows the tables and tells the pages: the only place that emits.

One feed and greenlet for each table, fanned out in memory. What was last heard is kept here, so a
page that connects gets the list as it is at that moment and every change after it, in order; when
the database was away, everybody gets the list again. Each payload is made for who receives it: the
owner's room gets the owner's view, the administrators' room theirs. Started by `__main__`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import gevent
from flask import Flask

from db.changefeed import Changed, Event, Listed, Lost, Removed, Synced, follow
from db.connection import Database
from db.logs import get_logger
from db.states import Kind
from webapp import payloads
from webapp.auth.permissions import Person, can_see_desktop
from webapp.auth.sessions import person_of_row
from webapp.extensions import socketio
from webapp.metrics import metrics
from webapp.realtime.lists import LISTINGS, Listing, payload_of
from webapp.realtime.rooms import ADMINS, connections, room_of
from webapp.tidy import as_iso, as_mapping

log = get_logger(__name__)

Row = dict[str, Any]

ADMINISTRATOR = Person(id="", name="", role="admin", group="", category="")


@dataclass
class Heard:
    """One table as last heard. `is_whole` is false until the listing is complete."""

    rows: dict[str, Row] = field(default_factory=dict)
    is_whole: bool = False


class Feeds:
    def __init__(self, app: Flask, database: Database) -> None:
        self._app, self._database = app, database
        self._greenlets: list[gevent.Greenlet] = []
        self._desktops, self._shots = Heard(), Heard()
        self._lists = {listing: Heard() for listing in LISTINGS}
        self._is_stopped = False

    def start(self) -> None:
        """Begin to follow. The pages' lists come when the first listings are complete."""
        feeds: list[tuple[str, Callable[[Event], None], Callable[[Any], Any] | None]] = [
            ("domains", self._on_domain, None),
            ("thumbnails", self._on_thumbnail, lambda table: table.pluck("id", "at")),
            ("users", self._on_user, None),
            *(
                (listing.table, partial(self._on_listed, listing), listing.select)
                for listing in LISTINGS
            ),
        ]
        for table, handle, select in feeds:
            self._greenlets.append(gevent.spawn(self._follow, table, handle, select))

    def stop(self) -> None:
        self._is_stopped = True
        gevent.killall(self._greenlets, timeout=5)

    def greet(self, sid: str, person: Person) -> None:
        """The lists as they are now, to one connection. What is not whole yet comes when it is."""
        if self._desktops.is_whole:
            socketio.emit("desktops.list", self._desktops_for(person), to=sid)
        for listing, heard in self._lists.items():
            if heard.is_whole:
                self._send_list(listing, sid, person)

    def can_see(self, person: Person, desktop_id: str) -> bool:
        row = self._desktops.rows.get(desktop_id)
        return row is not None and can_see_desktop(person, row)

    def _follow(
        self,
        table: str,
        handle: Callable[[Event], None],
        select: Callable[[Any], Any] | None,
    ) -> None:
        while not self._is_stopped:
            try:
                with self._app.app_context():
                    stopped = lambda: self._is_stopped  # noqa: E731
                    for event in follow(self._database, table, stopped=stopped, select=select):
                        self._take(table, handle, event)
            except Exception:  # the loop's top: the table is listed anew
                log.exception("feed_failed", table=table)
                gevent.sleep(1)

    def _take(self, table: str, handle: Callable[[Event], None], event: Event) -> None:
        try:
            handle(event)
        except Exception:  # the inner loop's top: one bad event must not end the feed
            log.exception("event_failed", table=table)

    def _on_domain(self, event: Event) -> None:
        heard = self._desktops
        if isinstance(event, Listed | Changed):
            self._desktop_changed(event.row)
        elif isinstance(event, Removed):
            self._desktop_removed(event.id)
        elif isinstance(event, Synced):
            heard.is_whole = True
            for sid, person in connections.everyone():
                socketio.emit("desktops.list", self._desktops_for(person), to=sid)
        elif isinstance(event, Lost):
            heard.is_whole = False

    def _desktop_changed(self, row: Row) -> None:
        if not isinstance(row["id"], str):
            return  # a script's row: no desktop can have such an id, and it is reported elsewhere
        before = self._desktops.rows.get(row["id"])
        if row.get("kind") != Kind.DESKTOP:
            self._desktop_removed(row["id"])
            return
        self._desktops.rows[row["id"]] = row
        if not self._desktops.is_whole:
            return
        if before is not None and before.get("user") != row.get("user"):
            self._emit_to_owner(before, "desktop.removed", {"id": row["id"]})
        self._emit_desktop(row)
        self._note_lag(before, row)

    def _note_lag(self, before: Row | None, row: Row) -> None:
        """From the engine's look to all browsers told, by the clocks of both."""
        at = as_mapping(row.get("observed")).get("at")
        known = as_mapping((before or {}).get("observed")).get("at")
        if isinstance(at, datetime) and at.tzinfo and at != known:
            lag_s = (datetime.now(UTC) - at).total_seconds()
            metrics(self._app).feed_lag.observe(max(0.0, lag_s))

    def _desktop_removed(self, desktop_id: str) -> None:
        row = self._desktops.rows.pop(desktop_id, None)
        if row is None or not self._desktops.is_whole:
            return
        self._emit_to_owner(row, "desktop.removed", {"id": desktop_id})
        socketio.emit("desktop.removed", {"id": desktop_id}, to=ADMINS)

    def _emit_desktop(self, row: Row) -> None:
        shot_at = self._shots.rows.get(row["id"], {}).get("at")
        owner = Person(str(row.get("user")), "", "user", "", "")
        if connections.of_user(owner.id):
            payload = payload_of("domains", payloads.desktop, row, owner, shot_at)
            if payload is not None:
                self._emit_to_owner(row, "desktop.changed", payload)
        if connections.has_admins():
            payload = payload_of("domains", payloads.desktop, row, ADMINISTRATOR, shot_at)
            if payload is not None:
                socketio.emit("desktop.changed", payload, to=ADMINS)

    def _emit_to_owner(self, row: Row, event: str, payload: dict[str, Any]) -> None:
        """An administrator's own connections hear it in ADMINS: not twice."""
        owner = row.get("user")
        if isinstance(owner, str) and owner:
            skip = connections.admin_sids(owner)
            socketio.emit(event, payload, to=room_of(owner), skip_sid=skip)

    def _on_listed(self, listing: Listing, event: Event) -> None:
        heard = self._lists[listing]
        if isinstance(event, Listed | Changed):
            if not isinstance(event.row["id"], str):
                return  # a script's row: nothing of ours can have such an id
            before = heard.rows.get(event.row["id"])
            heard.rows[event.row["id"]] = event.row
            if heard.is_whole:
                self._tell_changed(listing, before, event.row)
        elif isinstance(event, Removed):
            row = heard.rows.pop(event.id, None)
            if row is not None and heard.is_whole:
                self._tell_changed(listing, row, None)
        elif isinstance(event, Synced):
            heard.is_whole = True
            for sid, person in connections.everyone():
                self._send_list(listing, sid, person)
        elif isinstance(event, Lost):
            heard.is_whole = False

    def _tell_changed(self, listing: Listing, before: Row | None, row: Row | None) -> None:
        """Each person by what they may see of the row now, and might see of it before."""
        shown: dict[Person, dict[str, Any] | None] = {}
        for sid, person in connections.everyone():
            if row is not None and listing.shows(person, row):
                if person not in shown:
                    shown[person] = payload_of(listing.table, listing.show, row, person)
                if shown[person] is not None:
                    socketio.emit(f"{listing.noun}.changed", shown[person], to=sid)
            elif before is not None and listing.shows(person, before):
                socketio.emit(f"{listing.noun}.removed", {"id": before["id"]}, to=sid)

    def _send_list(self, listing: Listing, sid: str, person: Person) -> None:
        if listing.is_for(person):
            items = listing.items_for(self._lists[listing].rows, person)
            socketio.emit(f"{listing.plural}.list", items, to=sid)

    def _on_thumbnail(self, event: Event) -> None:
        if isinstance(event, Removed):
            self._shots.rows.pop(event.id, None)
        elif isinstance(event, Listed | Changed):
            self._shots.rows[event.row["id"]] = event.row
            desktop = self._desktops.rows.get(event.row["id"])
            at = event.row.get("at")
            if desktop is None or isinstance(event, Listed) or not isinstance(at, datetime):
                return
            message = {
                "id": event.row["id"],
                "at": as_iso(at),
                "url": payloads.thumbnail_url(event.row["id"], at),
            }
            self._emit_to_owner(desktop, "thumbnail.changed", message)
            socketio.emit("thumbnail.changed", message, to=ADMINS)

    def _on_user(self, event: Event) -> None:
        """End the connections of who was disabled, has another role or a new password."""
        if isinstance(event, Removed):
            self._end_connections(event.id, None)
        elif isinstance(event, Listed | Changed):
            self._end_connections(event.row["id"], person_of_row(event.row))

    def _end_connections(self, user_id: str, person: Person | None) -> None:
        for sid, known in connections.of_user(user_id):
            if person != known:
                connections.remove(sid)
                socketio.server.disconnect(sid)

    def _desktops_for(self, person: Person) -> dict[str, Any]:
        rows = [row for row in self._desktops.rows.values() if can_see_desktop(person, row)]
        shots = self._shots.rows
        shown = [
            payload_of("domains", payloads.desktop, row, person, shots.get(row["id"], {}).get("at"))
            for row in rows
        ]
        items = [one for one in shown if one is not None]
        return {"items": sorted(items, key=lambda item: (item["name"].casefold(), item["id"]))}
