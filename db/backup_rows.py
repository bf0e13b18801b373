"""The door for table `backups` and the schedule.

`desired` is written by the web side, `python -m db backups` and scripts; `observed` only by the
holder of the `clock` lease (webapp.clock), whose `epoch` each write names. A script orders one by
inserting `{"desired": {"state": "available"}}`, and has one looked at again by another `at`. The
engine has no part in it.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any, Literal

from db import backup_files, backup_schedule
from db.backup_schedule import CONFIG, Made, Schedule, State, read_schedule
from db.connection import Database, r
from db.errors import Conflict, Fenced, NotFound

TABLE = "backups"
BY_SCHEDULE = "schedule/backups"

Kind = Literal["scheduled", "hand"]
Row = dict[str, Any]


def list_backups(database: Database) -> list[Row]:
    rows: list[Row] = database.run(r.table(TABLE))
    return rows


def order(database: Database, by: str, kind: Kind = "hand", *, secrets_too: bool = True) -> Row:
    """Wish for a backup now. Returns its row."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    row = {
        "id": f"isard-{stamp}-{kind}-{secrets.token_hex(3)}",
        "kind": kind,
        "secrets": secrets_too,
        "created_at": r.now(),
        "desired": {"state": "available", "by": by, "at": r.now()},
        "observed": {},
    }
    answer = database.run(
        r.table(TABLE).insert(row, durability="hard", return_changes="always", conflict="error")
    )
    if answer["errors"]:
        raise Conflict("Exists", "Two backups were ordered at once: try again.")
    return dict(answer["changes"][0]["new_val"])


def wish(
    database: Database, backup_id: str, state: Literal["available", "deleted"], by: str
) -> Row:
    """Have one deleted, or looked at again. Raises NotFound; Conflict once its deletion began."""
    change = {"desired": {"state": state, "by": by, "at": r.now()}}
    answer = database.run(
        r.table(TABLE)
        .get(backup_id)
        .update(
            lambda row: r.branch(
                r.and_(_is_going(row), state != "deleted"), r.error("deleted"), change
            ),
            durability="hard",
            return_changes="always",
        )
    )
    if answer["skipped"]:
        raise NotFound("There is no such backup.")
    if answer["errors"]:
        raise Conflict("Deleted", "The backup is being deleted.")
    return dict(answer["changes"][0]["new_val"])


def adopt(database: Database, found: backup_files.Found, epoch: int) -> None:
    """A row for a file that has none: put there by hand, or of a time before a restore."""
    scheduled = backup_files.SCHEDULED.fullmatch(found.id) is not None
    moment = datetime.fromtimestamp(found.modified_at_s, UTC)
    row = {
        "id": found.id,
        "kind": "scheduled" if scheduled else "found",
        "created_at": moment,
        "desired": {"state": "available", "by": "folder", "at": moment},
        "observed": {"epoch": epoch},
    }
    database.run(r.table(TABLE).insert(row, conflict=lambda _id, old, _new: old))


def note(database: Database, backup_id: Any, observed: Row, epoch: int) -> None:
    """Write the whole `observed`. A row that is gone stays gone. Raises Fenced where a newer holder
    of the lease has written it.
    """
    value = {**observed, "epoch": epoch, "at": r.now()}
    answer = database.run(
        r.table(TABLE)
        .get(backup_id)
        .update(
            lambda row: r.branch(
                _epoch_of(row).gt(epoch), r.error("fenced"), {"observed": r.literal(value)}
            ),
            durability="hard",
        )
    )
    if answer["errors"]:
        raise Fenced("Another web side makes the backups now.")


def heal(database: Database, epoch: int) -> None:
    """For the holder of the lease, which has just renewed it: an epoch above its own is no newer
    holder's, but a script's, or of a lease that was deleted.
    """
    above = r.table(TABLE).filter(lambda row: _epoch_of(row).gt(epoch))
    database.run(above.update({"observed": {"epoch": epoch}}, durability="hard"))


def forget(database: Database, backup_id: Any) -> None:
    """The row of a backup whose file is gone, as wished."""
    is_wished = r.row["desired"]["state"].default("").eq("deleted")
    gone = r.table(TABLE).get_all(backup_id).filter(is_wished)
    database.run(gone.delete(durability="hard"))


def schedule_of(database: Database) -> Schedule:
    return read_schedule(database.run(r.table("config").get(CONFIG)))


def change_schedule(database: Database, changes: Row) -> Schedule:
    """Change these fields. Raises ValueError naming one that may not be so."""
    for field, value in changes.items():
        if field not in backup_schedule.DEFAULTS:
            raise ValueError(f"{field}: the schedule has no such field.")
        if not backup_schedule.is_valid(field, value):
            bounds = backup_schedule.BOUNDS.get(field)
            told = f"a whole number from {bounds[0]} to {bounds[1]}" if bounds else "like 02:30"
            raise ValueError(f"{field} must be {told}, not {value!r}.")
    moves = {"changed_at": r.now()} if {"enabled", "every_hours", "at"} & set(changes) else {}
    row = {**backup_schedule.DEFAULTS, "id": CONFIG, **changes, "changed_at": r.now()}
    database.run(
        r.table("config").insert(
            row, conflict=lambda _id, old, _new: old.merge(changes | moves), durability="hard"
        )
    )
    return schedule_of(database)


def is_new(row: Row) -> bool:
    """Whether its wish has not been carried out to an end, good or bad."""
    desired, observed = _mapping(row.get("desired")), _mapping(row.get("observed"))
    done = _mapping(observed.get("for"))
    return (desired.get("state"), desired.get("at")) != (done.get("state"), done.get("at"))


def made_by_schedule(rows: list[Row]) -> list[Made]:
    """The schedule's own backups among the rows; those on their way out do not count."""
    return [_made(row) for row in rows if row.get("kind") == "scheduled" and _is_kept(row)]


def _made(row: Row) -> Made:
    observed = _mapping(row.get("observed"))
    states: dict[str, State] = {"verified": "verified", "unverified": "unverified"}
    state: State = "working" if is_new(row) else states.get(str(observed.get("state")), "failed")
    ended_at = observed.get("at") if state != "working" else None
    return Made(
        id=str(row["id"]),
        state=state,
        created_at=_time(row.get("created_at")),
        ended_at=_time(ended_at) if ended_at is not None else None,
        message=str(observed.get("message") or ""),
    )


def _is_kept(row: Row) -> bool:
    return _mapping(row.get("desired")).get("state") != "deleted"


def _mapping(value: object) -> Row:
    return value if isinstance(value, dict) else {}


def _time(value: object) -> datetime:
    """Times of long ago stand for what is no time: they are the first to go."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    return datetime(1970, 1, 1, tzinfo=UTC)


def _epoch_of(row: Any) -> Any:
    epoch = row["observed"]["epoch"].default(0)
    return r.branch(epoch.type_of().eq("NUMBER"), epoch, 0)


def _is_going(row: Any) -> Any:
    return row["desired"]["state"].default("").eq("deleted")
