"""Which databases, tables, indexes and users exist; their configuration is rows of space 0.

Every configuration change is one row: `apply(key, config)` brings the objects in memory in line
with it, and the same call serves loading at start, changing, and undoing a commit that failed.
Admin terms call the verbs; `find_table` is what every read and write starts from.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

from db.embedded.datum import Datum, from_json, to_json
from db.embedded.errors import OpFailedError
from db.embedded.store import Change, Store
from db.embedded.table import Table, new_id

DATABASE, TABLE, USER, GRANT, SERVER = "database", "table", "user", "grant", "server"
SYSTEM: Final = "rethinkdb"


class Database:
    """A name for a set of tables."""

    def __init__(self, ident: str, name: str) -> None:
        self.id = ident
        self.name = name
        self.tables: dict[str, Table] = {}


class Catalog:
    """Everything that exists, by name and by id."""

    number = 0

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rows: dict[bytes, dict[str, Any]] = {}
        self.databases: dict[str, Database] = {}
        self._databases_by_id: dict[str, Database] = {}
        self.tables_by_id: dict[str, Table] = {}
        self._last_number = 0
        self.on_change: Callable[[], None] = lambda: None

    # --- loading --------------------------------------------------------------------------

    def load(self) -> None:
        """Everything from the file; a fresh file gets its first rows."""
        spaces: dict[int, Table] = {}
        rows = self.store.load()
        settings = {key: from_json(value) for space, key, value in rows if space == 0}
        for kind in (SERVER, DATABASE, USER, GRANT):
            for key, config in settings.items():
                if key.startswith(kind.encode() + b"/"):
                    self.apply(key, config)
        bare: list[tuple[bytes, dict[str, Any]]] = []
        for key, config in settings.items():
            if key.startswith(TABLE.encode() + b"/"):
                self.apply(key, {**config, "indexes": {}})
                bare.append((key, config))
                table = self.tables_by_id[key.split(b"/", 1)[1].decode()]
                spaces[table.number] = table
        for space, key, value in rows:
            if space in spaces:
                spaces[space].documents[key] = from_json(value)
        for key, config in bare:
            self.apply(key, config)

    # --- rows -----------------------------------------------------------------------------

    def change(self, kind: str, ident: str, config: dict[str, Any] | None) -> None:
        """Set (or with None remove) one row of configuration, in memory and on its way to disk."""
        key = f"{kind}/{ident}".encode()
        old = self.rows.get(key)
        self.apply(key, config)
        stored = None if config is None else to_json(config)
        self.store.record(Change(self, key, old, config, stored), hard=True)

    def restore(self, key: bytes, value: Datum) -> None:
        self.apply(key, value, load=True)

    def released(self, changes: list[Change]) -> None:
        """Configuration rows have no feeds of their own; the system tables show them."""
        self.on_change()

    def apply(self, key: bytes, config: dict[str, Any] | None, load: bool = False) -> None:
        """Bring memory in line with a row of configuration."""
        if config is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = config
        kind, _, ident = key.decode().partition("/")
        if kind == DATABASE:
            self._apply_database(ident, config)
        elif kind == TABLE:
            self._apply_table(ident, config, load)

    def _apply_database(self, ident: str, config: dict[str, Any] | None) -> None:
        known = self._databases_by_id.pop(ident, None)
        if known is not None:
            self.databases.pop(known.name, None)
        if config is None:
            return
        database = known or Database(ident, config["name"])
        database.name = config["name"]
        self.databases[database.name] = database
        self._databases_by_id[ident] = database

    def _apply_table(self, ident: str, config: dict[str, Any] | None, load: bool) -> None:
        known = self.tables_by_id.pop(ident, None)
        if known is not None:
            known.database.tables.pop(known.name, None)
        if config is None:
            return
        self._last_number = max(self._last_number, config["number"])
        database = self._databases_by_id[config["db"]]
        if known is None:
            table = Table(self.store, database, ident, {**config, "indexes": {}})
            if load:
                for key, value in self.store.load_space(table.number):
                    table.documents[key] = from_json(value)
            known = table
        known.database = database
        known.configure(config)
        database.tables[known.name] = known
        self.tables_by_id[ident] = known

    def identity(self) -> dict[str, Any]:
        """This server's id and name, made up once per data folder."""
        for key, config in self.rows.items():
            if key.startswith(SERVER.encode() + b"/"):
                return {"id": key.split(b"/", 1)[1].decode(), **config}
        ident = new_id()
        self.change(SERVER, ident, {"name": f"embedded_{ident[:8]}"})
        if "test" not in self.databases:
            self.create_database("test")
        return self.identity()

    # --- finding --------------------------------------------------------------------------

    def find_database(self, name: str) -> Database:
        found = self.databases.get(name)
        if found is None:
            raise OpFailedError(f"Database `{name}` does not exist.")
        return found

    def find_table(self, database: Database, name: str) -> Table:
        found = database.tables.get(name)
        if found is None:
            raise OpFailedError(f"Table `{database.name}.{name}` does not exist.")
        return found

    def tables(self) -> Iterator[Table]:
        return iter(list(self.tables_by_id.values()))

    # --- creating and dropping ------------------------------------------------------------

    def create_database(self, name: str) -> Database:
        if name in self.databases or name == SYSTEM:
            raise OpFailedError(f"Database `{name}` already exists.")
        ident = new_id()
        self.change(DATABASE, ident, {"name": name})
        return self.databases[name]

    def drop_database(self, database: Database) -> int:
        tables = list(database.tables.values())
        for table in tables:
            self.drop_table(table)
        self.change(DATABASE, database.id, None)
        return len(tables)

    def create_table(self, database: Database, name: str, config: dict[str, Any]) -> Table:
        if name in database.tables:
            raise OpFailedError(f"Table `{database.name}.{name}` already exists.")
        ident = str(uuid.uuid4())
        self.change(
            TABLE,
            ident,
            {
                "name": name,
                "db": database.id,
                "number": self._last_number + 1,
                "indexes": {},
                **config,
            },
        )
        return self.tables_by_id[ident]

    def drop_table(self, table: Table) -> None:
        for follower in [*table.followers, *_flat(table.key_followers)]:
            follower.end(
                f"Changefeed aborted (table `{table.database.name}.{table.name}` dropped)."
            )
        self.store.drop_space(table.number)
        self.change(TABLE, table.id, None)

    def configure_table(self, table: Table, **settings: Any) -> None:
        """Change some settings of a table."""
        self.change(TABLE, table.id, {**table.config, **settings})


def _flat(followers: dict[bytes, dict[Any, None]]) -> list[Any]:
    return [follower for some in followers.values() for follower in some]
