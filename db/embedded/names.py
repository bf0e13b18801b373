"""Names of databases and tables, and which table a name means.

The system database `rethinkdb` is found here beside the ordinary ones, so the terms and the system
tables need not care which they have.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from db.embedded.catalog import SYSTEM, Database
from db.embedded.errors import OpFailedError, QueryLogicError

if TYPE_CHECKING:
    from db.embedded.server import Server

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+\Z")


def is_name(name: str) -> bool:
    return _NAME.match(name) is not None


def check_name(what: str, name: str) -> str:
    if not is_name(name):
        raise QueryLogicError(f"{what} name `{name}` invalid (Use A-Z, a-z, 0-9, _ and - only).")
    return name


def find_database(server: Server, name: str) -> Database:
    if name == SYSTEM:
        return server.system
    return server.catalog.find_database(name)


def find_table(server: Server, database: Database, name: str, form: str = "name") -> Any:
    """The table of that name; `form` matters to system tables only."""
    if database is server.system:
        return server.scratch if name == server.scratch.name else server.system.find(name, form)
    return server.catalog.find_table(database, name)


def list_tables(server: Server, database: Database) -> list[str]:
    return server.system.names if database is server.system else sorted(database.tables)


def refuse_system(database: Database, why: str) -> None:
    """For what is not done to the database `rethinkdb` and its tables."""
    if database.name == SYSTEM:
        raise OpFailedError(f"Database `{SYSTEM}` is special; {why}.")
