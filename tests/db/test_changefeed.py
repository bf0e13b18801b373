"""Following a table: nothing is missed, whatever happens to the connection or the server."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.changefeed import Changed, Event, Listed, Lost, Removed, Synced, follow
from db.connection import Database, r
from db.settings import Settings
from tests.servers import EmbeddedServer


class Follower:
    """Collects the events of one table on a thread of its own."""

    def __init__(self, database: Database, table: str, **options: Any) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.rows: dict[str, Any] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(database, table, options))
        self._thread.start()

    def _run(self, database: Database, table: str, options: dict[str, Any]) -> None:
        for event in follow(database, table, stopped=self._stop.is_set, heartbeat_s=0.2, **options):
            self.events.put(event)

    def next(self) -> Event:
        event = self.events.get(timeout=15)
        if isinstance(event, Listed | Changed):
            self.rows[event.row["id"]] = event.row
        elif isinstance(event, Removed):
            self.rows.pop(event.id, None)
        return event

    def until(self, kind: type) -> list[Event]:
        seen = [self.next()]
        while not isinstance(seen[-1], kind):
            seen.append(self.next())
        return seen

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path / "db")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_database(server: EmbeddedServer, tmp_path: Path) -> Database:
    """A database whose server the test may kill."""
    handle = Database(
        Settings.from_environment({"ISARD_DATA": str(tmp_path), "ISARD_DB_PORT": str(server.port)})
    )
    handle.run(r.db_create("isard"))
    handle.run(r.table_create("things"))
    return handle


def test_rows_are_listed_then_changes_come(database: Database) -> None:
    database.run(r.table("groups").insert({"id": "a", "n": 1}))
    follower = Follower(database, "groups")
    try:
        listed = follower.until(Synced)
        assert all(isinstance(event, Listed) for event in listed[:-1])
        assert set(follower.rows) == {"a", "default"}
        database.run(r.table("groups").get("a").update({"n": 2}))
        assert follower.next() == Changed({"id": "a", "n": 2})
        database.run(r.table("groups").get("a").delete())
        assert follower.next() == Removed("a")
    finally:
        follower.stop()


def test_an_empty_table_is_synced_at_once(database: Database) -> None:
    follower = Follower(database, "domains")
    try:
        assert follower.next() == Synced()
    finally:
        follower.stop()


def test_a_narrowed_feed_carries_what_was_chosen(database: Database) -> None:
    follower = Follower(database, "groups", select=lambda table: table.pluck("id", "name"))
    try:
        follower.until(Synced)
        assert follower.rows["default"] == {"id": "default", "name": "Default"}
    finally:
        follower.stop()


@pytest.mark.embedded_only("kills the server")
def test_what_changed_while_the_server_was_dead_is_seen_after_it(
    own_database: Database, server: EmbeddedServer
) -> None:
    own_database.run(r.table("things").insert([{"id": "gone"}, {"id": "kept", "n": 1}]))
    follower = Follower(own_database, "things")
    try:
        follower.until(Synced)
        server.kill()
        assert isinstance(follower.next(), Lost)
        server.start()
        own_database.run(r.table("things").get("gone").delete())
        own_database.run(r.table("things").get("kept").update({"n": 2}))
        own_database.run(r.table("things").insert({"id": "new"}))
        wanted = {"kept": {"id": "kept", "n": 2}, "new": {"id": "new"}}
        while follower.rows != wanted:
            follower.next()
    finally:
        follower.stop()


def test_a_dropped_table_is_lost_and_comes_back(database: Database) -> None:
    database.run(r.table_create("things"))
    database.run(r.table("things").insert({"id": "old"}))
    follower = Follower(database, "things")
    try:
        follower.until(Synced)
        database.run(r.table_drop("things"))
        assert isinstance(follower.until(Lost)[-1], Lost)
        database.run(r.table_create("things"))
        database.run(r.table("things").insert({"id": "fresh"}))
        while set(follower.rows) != {"fresh"}:
            follower.next()
    finally:
        follower.stop()
