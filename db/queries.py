"""Reads that both sides use. Each returns plain rows; a missing row is None, never an exception."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from db.connection import Database, r


def get_row(database: Database, table: str, row_id: str) -> dict[str, Any] | None:
    row: dict[str, Any] | None = database.run(r.table(table).get(row_id))
    return row


def get_rows(database: Database, table: str, ids: Iterable[str]) -> list[dict[str, Any]]:
    wanted = list(ids)
    return database.run(r.table(table).get_all(*wanted)) if wanted else []


def list_rows(database: Database, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = database.run(r.table(table))
    return rows


def list_by_index(database: Database, table: str, index: str, value: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = database.run(r.table(table).get_all(value, index=index))
    return rows


def list_children(database: Database, template_id: str) -> list[dict[str, Any]]:
    """Domains whose disks are backed by this template's."""
    return list_by_index(database, "domains", "template", template_id)


def read_engine(database: Database) -> dict[str, Any]:
    """{"lease": row or None, "ticks": row or None}: who is active and how its loops do."""
    rows = {row["id"]: row for row in get_rows(database, "engine", ["lease", "ticks"])}
    return {"lease": rows.get("lease"), "ticks": rows.get("ticks")}
