"""Thumbnails of running desktops' screens: when each was taken, its picture, and who looks.

The engine takes pictures only of desktops in whose row of `interests` somebody showed interest
within the last seconds; a page that shows cards repeats that while it is visible.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from db import queries
from db.connection import r
from webapp.extensions import database

INTEREST_S = 15
INTERESTS_MAX = 200
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def times_of(ids: Iterable[str]) -> dict[str, Any]:
    """Id -> when its thumbnail was taken, for those that have one."""
    wanted = list(ids)
    if not wanted:
        return {}
    rows = database().run(r.table("thumbnails").get_all(*wanted).pluck("id", "at"))
    return {row["id"]: row.get("at") for row in rows}


def read_png(desktop_id: str) -> bytes | None:
    row = queries.get_row(database(), "thumbnails", desktop_id) or {}
    png = row.get("png")
    return bytes(png) if isinstance(png, bytes) and png.startswith(PNG_MAGIC) else None


def show_interest(ids: Iterable[str]) -> None:
    """Somebody looks at these desktops now, and for the next INTEREST_S seconds."""
    until = r.now().add(INTEREST_S)
    rows = [{"id": desktop_id, "expires_at": until} for desktop_id in sorted(set(ids))]
    if rows:
        table = r.table("interests")
        database().run(table.insert(rows[:INTERESTS_MAX], conflict="replace", durability="soft"))
