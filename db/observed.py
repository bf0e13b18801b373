"""The door for what is: writes of `observed` and of the engine's own tables. The engine's door
alone.

`observed` is written whole (literal), by update and never by upsert, so a row deleted meanwhile is
not raised again. Every write names the engine's epoch: a row that a newer engine has written
refuses an older one (Fenced).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Literal

from rethinkdb.ast import Func

from db.connection import Database, r
from db.errors import Fenced

Written = Literal["written", "unchanged", "gone"]


def write_observed(
    database: Database,
    table: str,
    row_id: Any,
    observed: dict[str, Any],
    *,
    epoch: int,
    heal: bool = False,
    keep: tuple[str, ...] = (),
) -> Written:
    """Replace the row's whole `observed`. `epoch` is put into it. Raises Fenced.

    `heal` writes over a higher epoch: for a caller who has just read in the lease that no newer
    engine can have written it, so that a script did. `keep`: fields with a writer of their own
    (`write_part`), which stay as they are.
    """
    write = _whole_observed(table, row_id, {**observed, "epoch": epoch}, heal, keep)
    return _outcome(database.run(write), row_id)


def write_domain(
    database: Database,
    row_id: Any,
    observed: dict[str, Any],
    *,
    epoch: int,
    heal: bool = False,
    records: Sequence[dict[str, Any]] = (),
    events: Sequence[dict[str, Any]] = (),
) -> Written:
    """A domain's `observed` as `write_observed` writes it, with what belongs to it: records of
    table `disks` before it, and lines of history after it (softly). One round trip; each is a write
    of its own, so whoever is cut in between does all of them again.
    """
    writes = [_record("disks", {**record, "epoch": epoch}) for record in records]
    writes.append(_whole_observed("domains", row_id, {**observed, "epoch": epoch}, heal))
    if events:
        writes.append(r.table("events").insert(events, durability="soft"))
    answers = database.run(r.expr(writes))
    for answer, record in zip(answers, records, strict=False):
        _outcome(answer, record["id"])
    return _outcome(answers[len(records)], row_id)


def _whole_observed(
    table: str, row_id: Any, value: dict[str, Any], heal: bool, keep: tuple[str, ...] = ()
) -> Any:
    return r.do(row_id, value, heal, _writer_of_observed(table, keep))


def _record(table: str, value: dict[str, Any], durability: str = "hard") -> Any:
    """Insert or replace."""
    return r.do(value, _writer_of_records(table, durability))


# The two writes of every step. What differs from one to the next is an argument, so that the
# function is built once here and compiled once by the embedded server.


@cache
def _writer_of_observed(table: str, keep: tuple[str, ...]) -> Func:
    def whole(row: Any, value: Any) -> Any:
        before = row["observed"].default(None)
        kept = r.branch(before.type_of().eq("OBJECT"), before.pluck(*keep), {})
        return value.merge(kept) if keep else value

    return Func(
        lambda row_id, value, heal: (
            r.table(table)
            .get(row_id)
            .update(
                lambda row: r.branch(
                    r.and_(heal.not_(), written_epoch(row).gt(value["epoch"])),
                    r.error("fenced"),
                    {"observed": r.literal(whole(row, value))},
                ),
                durability="hard",
            )
        )
    )


@cache
def _writer_of_records(table: str, durability: str) -> Func:
    return Func(
        lambda value: (
            r.table(table)
            .get(value["id"])
            .replace(
                lambda row: r.branch(
                    row["epoch"].default(0).gt(value["epoch"]), r.error("fenced"), value
                ),
                durability=durability,
            )
        )
    )


def write_part(
    database: Database,
    table: str,
    row_id: Any,
    field: str,
    value: Any,
    *,
    epoch: int,
    heal: bool = False,
) -> Written:
    """Replace one field of `observed` and leave the rest to its own writer. Raises Fenced."""
    answer = database.run(
        r.table(table)
        .get(row_id)
        .update(
            lambda row: r.branch(
                r.and_(not heal, written_epoch(row).gt(epoch)),
                r.error("fenced"),
                {"observed": {field: r.literal(value)}},
            ),
            durability="hard",
        )
    )
    return _outcome(answer, row_id)


def pin_host_key(
    database: Database, hypervisor_id: str, hostname: str, port: int, host_key: str
) -> Written:
    """Carry out the part of an enrolment that says to trust this host's key: it is put into the row
    where none was accepted yet and the row still names the address that the key was seen at.
    """
    answer = database.run(
        r.table("hypervisors")
        .get(hypervisor_id)
        .update(
            lambda row: r.branch(
                r.and_(
                    row["host_key"].default(None).eq(None),
                    row["hostname"].eq(hostname),
                    row["port"].default(22).eq(port),
                ),
                {"host_key": host_key},
                {},
            ),
            durability="hard",
        )
    )
    return _outcome(answer, hypervisor_id)


def written_epoch(row: Any) -> Any:
    """The epoch in a row's `observed`, as a term; 0 where a script put something that is none."""
    observed = row["observed"].default(None)
    return r.branch(
        observed.type_of().eq("OBJECT"),
        r.do(
            observed["epoch"].default(0),
            lambda epoch: r.branch(epoch.type_of().eq("NUMBER"), epoch, 0),
        ),
        0,
    )


def remove_row(
    database: Database, table: str, row_id: Any, *, epoch: int, final: bool = False
) -> Written:
    """Remove a row whose wish `deleted` has been carried out. A row whose wish is not `deleted`
    stays, unless its deletion had begun (`final`): then there is nothing left to keep it for.
    """
    answer = database.run(
        r.table(table)
        .get(row_id)
        .replace(
            lambda row: r.branch(
                row.eq(None),
                None,
                written_epoch(row).gt(epoch),
                r.error("fenced"),
                r.or_(final, row["desired"]["state"].default("").eq("deleted")),
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
    write = _record(table, {**record, "epoch": epoch}, "soft" if soft else "hard")
    _outcome(database.run(write), str(record["id"]))


def write_ledger(
    database: Database, records: Sequence[dict[str, Any]], drops: Sequence[str], *, epoch: int
) -> None:
    """Several records of table `disks` in this order and one round trip, then the drops. Each is
    one hard write of its own: whoever is cut in between does all of them again.
    """
    writes = [_record("disks", {**record, "epoch": epoch}) for record in records]
    writes += [r.table("disks").get(key).delete(durability="hard") for key in drops]
    for answer, name in zip(
        database.run(r.expr(writes)), [*(record["id"] for record in records), *drops], strict=True
    ):
        _outcome(answer, name)


def put_records(
    database: Database, table: str, records: list[dict[str, Any]], *, epoch: int
) -> None:
    """Replace several rows at once, softly: numbers and pictures that the next look makes anew."""
    if records:
        values = [{**record, "epoch": epoch} for record in records]
        database.run(r.table(table).insert(values, conflict="replace", durability="soft"))


def append_points(
    database: Database, table: str, rows: list[dict[str, Any]], *, epoch: int
) -> None:
    """Append the `points` of each row to those of its chunk (db/windows.py), softly. A chunk begun
    by a program that measured other things is begun anew.
    """

    def join(_id: Any, old: Any, new: Any) -> Any:
        points = r.branch(
            old["metrics"].default(None).eq(new["metrics"]), old["points"].add(new["points"]), None
        )
        return r.branch(points.eq(None), new, new.merge({"points": points}))

    if rows:
        values = [{**row, "epoch": epoch} for row in rows]
        database.run(r.table(table).insert(values, conflict=join, durability="soft"))


def note_orphans(database: Database, rows: list[dict[str, Any]], *, epoch: int) -> None:
    """List orphans, and what is known of those that are listed; since when, and what was wished of
    one, stay.
    """
    if rows:
        values = [{**row, "epoch": epoch} for row in rows]
        database.run(
            r.table("orphans").insert(
                values, conflict=lambda _id, old, new: old.merge(new.without("at"))
            )
        )


def append_events(database: Database, events: list[dict[str, Any]]) -> None:
    """What the engine adds to the audit log: what came of what was asked."""
    if events:
        database.run(r.table("events").insert(events, durability="soft"))


def drop_expired(database: Database, table: str, first: str, end: str) -> int:
    """Drop the rows whose key lies in a range (`end` not included); how many there were."""
    query = r.table(table).between(first, end).delete(durability="soft")
    return int(database.run(query)["deleted"])


def drop_events_before(database: Database, moment: datetime) -> None:
    """Let the oldest of the audit log go."""
    query = r.table("events").between(r.minval, moment, index="at")
    database.run(query.delete(durability="soft"))


def drop_by_index(database: Database, table: str, index: str, value: Any) -> None:
    database.run(r.table(table).get_all(value, index=index).delete(durability="soft"))


def drop_record(database: Database, table: str, record_id: Any) -> None:
    database.run(r.table(table).get(record_id).delete(durability="hard"))


def drop_records(database: Database, records: Iterable[tuple[str, Any]]) -> None:
    """Drop several (table, id) in one round trip. Missing ones are no error."""
    deletions = [r.table(table).get(key).delete(durability="hard") for table, key in records]
    if deletions:
        database.run(r.expr(deletions))


def _outcome(answer: dict[str, Any], row_id: Any) -> Written:
    if answer["errors"]:
        if "fenced" in answer["first_error"]:
            raise Fenced(f"A newer engine has written {row_id}: this engine must stop.")
        raise ValueError(f"{row_id}: {answer['first_error']}")
    if answer["skipped"]:
        return "gone"
    return "unchanged" if answer["unchanged"] else "written"
