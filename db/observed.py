"""The door for what is: writes of `observed` and of the engine's own tables. The engine's door
alone.

`observed` is written whole (literal), by update and never by upsert, so a row deleted meanwhile is
not raised again. Every write names the engine's epoch: a row that a newer engine has written
refuses an older one (Fenced).
"""

from __future__ import annotations

from typing import Any, Literal

from db.connection import Database, r
from db.errors import Fenced

Written = Literal["written", "unchanged", "gone"]


def write_observed(
    database: Database, table: str, row_id: str, observed: dict[str, Any], *, epoch: int
) -> Written:
    """Replace the row's whole `observed`. `epoch` is put into it. Raises Fenced."""
    value = {**observed, "epoch": epoch}
    answer = database.run(
        r.table(table)
        .get(row_id)
        .update(
            lambda row: r.branch(
                row["observed"]["epoch"].default(0).gt(epoch),
                r.error("fenced"),
                {"observed": r.literal(value)},
            ),
            durability="hard",
        )
    )
    return _outcome(answer, row_id)


def remove_row(database: Database, table: str, row_id: str, *, epoch: int) -> Written:
    """Remove a row whose wish `deleted` has been carried out. A row whose wish is not `deleted`
    stays.
    """
    answer = database.run(
        r.table(table)
        .get(row_id)
        .replace(
            lambda row: r.branch(
                row.eq(None),
                None,
                row["observed"]["epoch"].default(0).gt(epoch),
                r.error("fenced"),
                row["desired"]["state"].default("").eq("deleted"),
                None,
                row,
            ),
            durability="hard",
        )
    )
    return _outcome(answer, row_id)


def put_record(
    database: Database, table: str, record: dict[str, Any], *, epoch: int, soft: bool = False
) -> None:
    """Insert or replace a row of a table that only the engine writes (disks, consoles, thumbnails,
    stats …).
    """
    value = {**record, "epoch": epoch}
    answer = database.run(
        r.table(table)
        .get(record["id"])
        .replace(
            lambda row: r.branch(row["epoch"].default(0).gt(epoch), r.error("fenced"), value),
            durability="soft" if soft else "hard",
        )
    )
    _outcome(answer, str(record["id"]))


def drop_record(database: Database, table: str, record_id: str) -> None:
    database.run(r.table(table).get(record_id).delete(durability="hard"))


def _outcome(answer: dict[str, Any], row_id: str) -> Written:
    if answer["errors"]:
        if "fenced" in answer["first_error"]:
            raise Fenced(f"A newer engine has written {row_id}: this engine must stop.")
        raise ValueError(f"{row_id}: {answer['first_error']}")
    if answer["skipped"]:
        return "gone"
    return "unchanged" if answer["unchanged"] else "written"
