"""Follow a table: first all its rows, then every change, across lost connections.

`follow` turns RethinkDB's feeds into four events that a consumer cannot get wrong: Listed and
Changed carry the whole row, Removed its id, Synced says that everything before it was the full
listing. After a lost connection, an error in the feed or a silence in which the server no longer
answers, the table is listed again and Removed is emitted by difference, so nothing that went away
meanwhile is missed. Used by engine/watcher.py and webapp/realtime/feeds.py.

RethinkDB's rules: a feed may end with an error element at any time, `include_states` marks the end
of the initial rows, and rows may change while they are being listed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rethinkdb.errors import ReqlDriverError, ReqlError, ReqlTimeoutError

from db.connection import BoundedConnection, Database, r
from db.errors import DatabaseUnavailable
from db.logs import get_logger

log = get_logger(__name__)

HEARTBEAT_S = 5.0
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Listed:
    """A row found while listing the table (at the start, or again after a loss)."""

    row: dict[str, Any]


@dataclass(frozen=True)
class Changed:
    row: dict[str, Any]


@dataclass(frozen=True)
class Removed:
    id: str


@dataclass(frozen=True)
class Synced:
    """The listing is complete: what was not Listed is not there."""


@dataclass(frozen=True)
class Lost:
    """The feed broke; events may be missing until the next Synced."""

    message: str


Event = Listed | Changed | Removed | Synced | Lost


def follow(
    database: Database,
    table: str,
    *,
    stopped: Callable[[], bool],
    select: Callable[[Any], Any] | None = None,
    heartbeat_s: float = HEARTBEAT_S,
    on_beat: Callable[[], None] | None = None,
) -> Iterator[Event]:
    """Events of `table` until `stopped()` is true (asked at least every `heartbeat_s`).

    `select` may narrow the table (`lambda t: t.pluck("id", "name")`); rows must keep their `id`.
    `on_beat` is called at least every `heartbeat_s` while the feed is alive (a supervisor's tick).
    """
    known: set[str] = set()
    failures = 0
    while not stopped():
        try:
            connection = database.connect()
        except DatabaseUnavailable as error:
            failures = _pause(failures, stopped, on_beat)
            log.warning("feed_unavailable", table=table, error=str(error))
            continue
        try:
            for event in _one_feed(connection, table, select, known, stopped, heartbeat_s, on_beat):
                if isinstance(event, Synced):
                    failures = 0
                yield event
        except (ReqlError, ReqlDriverError, OSError) as error:
            if stopped():
                return
            log.warning("feed_lost", table=table, error=_first_line(error))
            yield Lost(_first_line(error))
            failures = _pause(failures, stopped, on_beat)
        finally:
            connection.close(noreply_wait=False)


def _one_feed(
    connection: BoundedConnection,
    table: str,
    select: Callable[[Any], Any] | None,
    known: set[str],
    stopped: Callable[[], bool],
    heartbeat_s: float,
    on_beat: Callable[[], None] | None,
) -> Iterator[Event]:
    query = r.table(table)
    query = select(query) if select else query
    cursor = query.changes(include_initial=True, include_states=True, squash=False).run(connection)
    listing: set[str] | None = set()
    while not stopped():
        if on_beat:
            on_beat()
        try:
            change = cursor.next(wait=heartbeat_s)
        except ReqlTimeoutError:
            # Silence is normal; a server that no longer answers is not. The answer comes on this
            # same connection.
            r.expr(1).run(connection)
            continue
        if "error" in change:
            raise ReqlDriverError(str(change["error"]))
        if "state" in change:
            if change["state"] == "ready" and listing is not None:
                for gone in sorted(known - listing, key=str):
                    yield Removed(gone)
                known.clear()
                known.update(listing)
                listing = None
                yield Synced()
            continue
        new, old = change.get("new_val"), change.get("old_val")
        if new is not None:
            (known if listing is None else listing).add(identify(new))
            yield Listed(new) if listing is not None and old is None else Changed(new)
        elif old is not None:
            gone = identify(old)
            known.discard(gone)
            if listing is not None:
                listing.discard(gone)
            yield Removed(gone)


def identify(row: dict[str, Any]) -> Any:
    """The row's id as something that can be remembered: a script may have made it a list."""
    row_id = row["id"]
    return repr(row_id) if isinstance(row_id, list) else row_id


def _pause(failures: int, stopped: Callable[[], bool], on_beat: Callable[[], None] | None) -> int:
    deadline = time.monotonic() + RETRY_S[min(failures, len(RETRY_S) - 1)]
    while time.monotonic() < deadline and not stopped():
        if on_beat:
            on_beat()
        time.sleep(0.05)
    return failures + 1


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
