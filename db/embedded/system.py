"""The database `rethinkdb`: tables that show the server itself."""

from __future__ import annotations

from db.embedded.catalog import Database
from db.embedded.env import Env
from db.embedded.table import Table


def find_table(env: Env, database: Database, name: str, identifier_format: str) -> Table:
    return env.catalog.find_table(database, name)
