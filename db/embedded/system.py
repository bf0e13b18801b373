"""The database `rethinkdb`: tables that show the server itself, and through which it is managed.

A `SystemTable` looks to the terms like a table: it is read, followed and written, but its documents
are computed by a function of the server each time, and a write is handed to a function that
carries it out. What each table shows and accepts is in `system_tables.py`. Feeds on them compare
what is shown now with what was shown before, whenever the catalog changes and twice a second.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from db.embedded.catalog import SYSTEM, Database
from db.embedded.changes import Follower
from db.embedded.coverage import Coverage
from db.embedded.datum import Datum, equal, order_key
from db.embedded.errors import OpFailedError, ReqlError
from db.embedded.sequences import Read, Selection
from db.embedded.store import Change
from db.embedded.table import index_missing

if TYPE_CHECKING:
    from db.embedded.server import Server

LOOK_EACH_S: Final = 0.5

Rows = Callable[["Server", str], list[dict[str, Datum]]]
Write = Callable[["Server", str, Datum, Datum], None]


def fixed_id(name: str) -> str:
    """The id of something built in: the same on every server."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"isardvdi:rethinkdb:{name}"))


class SystemTable:
    """One table of the database `rethinkdb`, in one identifier format."""

    is_system = True
    primary_key = "id"
    write_hook = None
    number = -1

    def __init__(
        self,
        server: Server,
        database: Database,
        name: str,
        form: str,
        rows: Rows,
        write: Write | None,
    ) -> None:
        self.server = server
        self.store = server.store
        self.database = database
        self.name = name
        self.id = fixed_id(name)
        self.indexes: dict[str, Any] = {}
        self.config: dict[str, Any] = {"indexes": {}, "durability": "soft"}
        self.followers: dict[Follower, None] = {}
        self.key_followers: dict[bytes, dict[Follower, None]] = {}
        self._form = form
        self._rows = rows
        self._write = write
        self._shown: dict[bytes, Datum] | None = None
        itself: Any = self
        self.whole = Selection(Read(itself))

    @property
    def full_name(self) -> str:
        return f"{self.database.name}.{self.name}"

    def rows(self) -> list[dict[str, Datum]]:
        return self._rows(self.server, self._form)

    def get(self, key: bytes) -> Datum:
        for row in self.rows():
            if order_key(row["id"]) == key:
                return row
        return None

    def count(self) -> int:
        return len(self.rows())

    def index(self, name: str) -> Any:
        raise index_missing(self, name)

    def read(self, read: Read) -> Iterable[Datum]:
        coverage = Coverage(read)
        rows = [row for row in self.rows() if coverage.covers(row)]
        rows.sort(key=lambda row: order_key(row["id"]), reverse=read.order == "desc")
        return rows

    def put(self, key: bytes, new: Datum, hard: bool) -> None:
        if self._write is None:
            raise OpFailedError(f"It's illegal to write to the `{self.full_name}` table.")
        self._write(self.server, self._form, self.get(key), new)

    # --- feeds ----------------------------------------------------------------------------

    def start_looking(self) -> None:
        """Called when a feed opens: remember what is shown and look at it from time to time."""
        if self._shown is None:
            self._shown = {order_key(row["id"]): row for row in self.rows()}
            self.server.loop.after(LOOK_EACH_S, self._look_again)

    def _look_again(self) -> None:
        if not self.followers and not self.key_followers:
            self._shown = None
            return
        self.look()
        self.server.loop.after(LOOK_EACH_S, self._look_again)

    def look(self) -> None:
        """Tell the feeds what differs from what was shown last."""
        if self._shown is None:
            return
        before = self._shown
        try:
            now = {order_key(row["id"]): row for row in self.rows()}
        except ReqlError:
            return
        self._shown = now
        changes = [
            Change(self, key, before.get(key), now.get(key), None)
            for key in {**before, **now}
            if not equal(before.get(key), now.get(key))
        ]
        if changes:
            self.released(changes)

    def restore(self, key: bytes, value: Datum) -> None:
        """Nothing is kept here."""

    def released(self, changes: list[Change]) -> None:
        for follower in list(self.followers):
            follower.take(changes)
        for change in changes:
            for follower in list(self.key_followers.get(change.key, ())):
                follower.take([change])


class SystemDatabase(Database):
    """The database `rethinkdb` with its tables, made once per server."""

    def __init__(self, server: Server, tables: dict[str, tuple[Rows, Write | None]]) -> None:
        super().__init__(fixed_id(SYSTEM), SYSTEM)
        self._tables = {
            (name, form): SystemTable(server, self, name, form, rows, write)
            for name, (rows, write) in tables.items()
            for form in ("name", "uuid")
        }
        self.names = sorted(name for name in tables if not name.startswith("_"))

    def find(self, name: str, form: str) -> SystemTable:
        found = self._tables.get((name, form))
        if found is None:
            raise OpFailedError(f"Table `{SYSTEM}.{name}` does not exist.")
        return found

    def look(self) -> None:
        for table in self._tables.values():
            table.look()
