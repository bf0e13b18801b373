"""Backup and restore: the whole database as plain JSON lines, through the ordinary driver.

The same command works against RethinkDB and the embedded database, because it only reads and writes
tables. The archive can be read with any text tool, and nothing in it is ever executed:

    {"format": "isardvdi-backup", "version": 1, "schema": 1, ...}   header
    {"table": "users"}                                              per table
    {"id": "ana", ...}                                              its rows
    {"end": "users", "rows": 1, "sha256": "..."}                    over its row lines
    {"end": "backup", "tables": 20, "sha256": "..."}                over all before it

Times and binaries travel in RethinkDB's raw pseudo-type form. A restore reads the whole archive
once before it writes anything, refuses while an engine is at work, and writes table `config` last,
so that a database restored by half is never taken for a whole one. All observations come back as
`unknown` (they are of another moment), and the engine's epoch is raised above all that was written.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from rethinkdb.errors import ReqlOpFailedError

from db import schema
from db.connection import Database, r
from db.errors import IsardError
from db.states import Observed

FORMAT = "isardvdi-backup"
VERSION = 1
BATCH_ROWS = 200
LEASE_WATCH_S = 4.0

VOLATILE_TABLES = frozenset(
    {
        "thumbnails",
        "interests",
        "domain_stats",
        "hypervisor_stats",
        "domain_windows",
        "hypervisor_windows",
        "backups",
    }
)
"""Measured again within seconds: not worth keeping. `backups` says what is in the folder of
backups, and is read from there again.
"""

Report = Callable[[str], None]


class BackupError(IsardError):
    """The archive or the database does not allow this; the text says what to do."""


@dataclass(frozen=True)
class Summary:
    tables: int
    rows: int
    schema: int
    created_at: str
    secrets: bool


def backup(database: Database, path: Path, *, secrets: bool = True, report: Report) -> Summary:
    """Write all tables to `path` (mode 0600, never over an existing file).

    Raises BackupError where the file exists or the database has no schema.
    """
    version = schema.read_version(database)
    if version is None:
        raise BackupError("The database has not been set up, so there is nothing to back up.")
    left_out = VOLATILE_TABLES if secrets else VOLATILE_TABLES | schema.SECRET_TABLES
    tables = [name for name in database.run(r.table_list()) if name not in left_out]
    created_at = datetime.now(UTC).isoformat(timespec="seconds")
    header = {
        "format": FORMAT,
        "version": VERSION,
        "schema": version,
        "installation": schema.installation_id(database),
        "created_at": created_at,
        "secrets": secrets,
    }
    partial = path.with_name(path.name + ".partial")
    total = 0
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            writer = _Writer(file.write)
            writer.line(header)
            for table in sorted(tables):
                rows = _write_table(database, writer, table)
                total += rows
                report(f"{table}: {rows} rows")
            writer.line({"end": "backup", "tables": len(tables), "sha256": writer.digest()})
            file.flush()
            os.fsync(file.fileno())
        # A link never replaces what is there, a rename would.
        os.link(partial, path)
    except FileExistsError as error:
        raise BackupError(f"{path} exists already: choose another name.") from error
    finally:
        partial.unlink(missing_ok=True)
    return Summary(len(tables), total, version, created_at, secrets)


def verify(path: Path) -> Summary:
    """Read the whole archive and check every sum. Raises BackupError naming the line."""
    rows = 0
    header: dict[str, Any] = {}
    tables = 0
    for entry in _read(path):
        if entry.kind == "header":
            header = entry.value
        elif entry.kind == "row":
            rows += 1
        elif entry.kind == "table":
            tables += 1
    return Summary(
        tables, rows, int(header["schema"]), str(header["created_at"]), bool(header["secrets"])
    )


def restore(database: Database, path: Path, *, replace: bool = False, report: Report) -> Summary:
    """Write the archive's rows into the database.

    The database must hold no users, domains or hypervisors, unless `replace`: then its tables are
    emptied first. Raises BackupError where the archive is damaged, its schema is newer than this
    program, an engine is at work, or the database is not empty.
    """
    summary = verify(path)
    if summary.schema > schema.newest_version():
        raise BackupError(
            f"The archive has schema {summary.schema}, this program knows "
            f"{schema.newest_version()}. Install the newer program first."
        )
    refuse_while_engine_works(database)
    _prepare(database, replace)
    table = ""
    batch: list[str] = []
    held: dict[str, list[str]] = {"config": []}
    epoch = 0
    for entry in _read(path):
        if entry.kind == "table":
            table = entry.value["table"]
            _create_table(database, table)
        elif entry.kind == "row" and not _is_of_the_moment(table, entry.value):
            row = _unknown_until_seen(table, entry.value)
            epoch = max(epoch, _epoch_of(entry.value))
            target = held.get(table, batch)
            target.append(json.dumps(row, ensure_ascii=False))
            if len(batch) >= BATCH_ROWS:
                _insert(database, table, batch)
                batch.clear()
        elif entry.kind == "end" and entry.value["end"] == table:
            _insert(database, table, batch)
            batch.clear()
            report(f"{table}: {entry.value['rows']} rows")
    lease = {"id": "lease", "holder": "restore", "epoch": epoch + 1, "counter": 0, "at": r.now()}
    database.run(r.table("engine").insert(lease, conflict="replace", durability="hard"))
    _insert(database, "config", held["config"])
    schema.ensure(database)
    return summary


def restored_rows(path: Path) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Each table of the archive with its rows as `restore` writes them. The rows of one table are
    read before the next table is asked for. Raises BackupError.
    """
    table = ""
    for kind, group in itertools.groupby(_read(path), key=lambda entry: entry.kind):
        if kind == "table":
            table = next(group).value["table"]
        elif kind == "row":
            yield table, _restored(table, group)


def _restored(table: str, entries: Iterable[_Entry]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        if not _is_of_the_moment(table, entry.value):
            yield _unknown_until_seen(table, entry.value)


def without_secrets(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines of an archive as if it had been made without secrets, with new sums. `path` is the
    file's name for errors. Raises BackupError at the first line that is wrong.
    """
    lines: list[bytes] = []
    writer = _Writer(lines.append)
    tables, is_left_out = 0, False
    for entry in _read(path, file):
        if entry.kind == "header":
            writer.line({**entry.value, "secrets": False})
        elif entry.kind == "table":
            is_left_out = entry.value["table"] in schema.SECRET_TABLES
            tables += not is_left_out
        if entry.kind != "header" and not is_left_out:
            writer.line(entry.value)
        yield b"".join(lines)
        lines.clear()
    writer.line({"end": "backup", "tables": tables, "sha256": writer.digest()})
    yield b"".join(lines)


def refuse_while_engine_works(database: Database) -> None:
    """Raises BackupError while the lease's counter moves, judged on our own clock."""
    try:
        first = _lease_counter(database)
    except ReqlOpFailedError:
        return
    if first is None:
        return
    deadline = time.monotonic() + LEASE_WATCH_S
    while time.monotonic() < deadline:
        if _lease_counter(database) != first:
            raise BackupError("An engine is at work on this database: stop it first.")
        time.sleep(0.1)


def _lease_counter(database: Database) -> Any:
    return database.run(r.table("engine").get("lease")["counter"].default(None))


def _prepare(database: Database, replace: bool) -> None:
    name = database.settings.db_name
    if name not in database.run(r.db_list()):
        database.run(r.db_create(name))
    present = set(database.run(r.table_list()))
    kept = present & {"users", "domains", "hypervisors"}
    if not replace and any(database.run(r.table(t).is_empty().not_()) for t in kept):
        raise BackupError(
            "The database is not empty. Restore into an empty one, or say --replace to give up "
            "what it holds."
        )
    # `config` goes first and comes last: without it no process takes the database for whole.
    for table in sorted(present, key=lambda table: table != "config"):
        database.run(r.table_drop(table))


def _create_table(database: Database, table: str) -> None:
    if table in database.run(r.table_list()):
        return
    database.run(r.table_create(table))
    database.run(r.table(table).wait(wait_for="all_replicas_ready", timeout=30))


def _insert(database: Database, table: str, lines: list[str]) -> None:
    if not lines:
        return
    query = r.table(table).insert(r.json("[" + ",".join(lines) + "]"), durability="hard")
    answer = database.run(query)
    if answer["errors"]:
        raise BackupError(f"{table}: {answer['first_error']}")


def _is_of_the_moment(table: str, row: dict[str, Any]) -> bool:
    """The web sides' lease: those that run during a restore make it anew, and must not be in the
    way of a row of long ago.
    """
    return table == "engine" and row.get("id") == "clock"


def _unknown_until_seen(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row as it may be believed after a restore: what was seen then is not known now."""
    observed = row.get("observed")
    if table == "domains" and isinstance(observed, dict) and observed:
        state = observed.get("state", Observed.ABSENT)
        seen = state if state == Observed.ABSENT else Observed.UNKNOWN
        return {**row, "observed": {**observed, "state": seen, "activity": None, "epoch": 0}}
    if table == "hypervisors" and isinstance(observed, dict) and observed:
        return {**row, "observed": {**observed, "state": "offline", "epoch": 0}}
    if "epoch" in row and table != "engine":
        return {**row, "epoch": 0}
    return row


def _epoch_of(row: dict[str, Any]) -> int:
    observed = row.get("observed")
    inner = observed.get("epoch") if isinstance(observed, dict) else 0
    return max(int(value) for value in (row.get("epoch"), inner, 0) if isinstance(value, int))


class _Writer:
    """Writes lines and keeps the running sum of all of them."""

    def __init__(self, write: Callable[[bytes], Any]) -> None:
        self._write = write
        self._sum = hashlib.sha256()

    def line(self, value: dict[str, Any]) -> bytes:
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._sum.update(line)
        self._write(line)
        return line

    def digest(self) -> str:
        return self._sum.hexdigest()


def _write_table(database: Database, writer: _Writer, table: str) -> int:
    writer.line({"table": table})
    rows, digest = 0, hashlib.sha256()
    connection = database.connect()
    try:
        options = {"time_format": "raw", "binary_format": "raw"}
        for row in r.table(table).order_by(index="id").run(connection, **options):
            digest.update(writer.line(row))
            rows += 1
    finally:
        connection.close(noreply_wait=False)
    writer.line({"end": table, "rows": rows, "sha256": digest.hexdigest()})
    return rows


@dataclass(frozen=True)
class _Entry:
    kind: str
    value: dict[str, Any]


def _read(path: Path, opened: BinaryIO | None = None) -> Iterator[_Entry]:
    """The archive's lines, each checked. Raises BackupError at the first that is wrong."""
    whole, table_sum = hashlib.sha256(), hashlib.sha256()
    table: str | None = None
    rows = 0
    finished = False
    try:
        file = opened or path.open("rb")
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        for number, line in enumerate(file, 1):
            value = _parse(path, number, line)
            if number == 1:
                _check_header(path, value)
                yield _Entry("header", value)
            elif finished:
                raise BackupError(f"{path}, line {number}: something follows the end.")
            elif table is None and value.get("end") == "backup":
                if value.get("sha256") != whole.hexdigest():
                    raise BackupError(f"{path}: the sum over the archive is wrong.")
                finished = True
            elif table is None:
                table, rows, table_sum = str(value.get("table")), 0, hashlib.sha256()
                yield _Entry("table", value)
            elif value.get("end") == table and "sha256" in value:
                if value["sha256"] != table_sum.hexdigest() or value.get("rows") != rows:
                    raise BackupError(f"{path}, line {number}: table {table} is damaged.")
                yield _Entry("end", value)
                table = None
            else:
                rows += 1
                table_sum.update(line)
                yield _Entry("row", value)
            whole.update(line)
    if not finished:
        raise BackupError(f"{path} is incomplete: its last line is missing.")


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise BackupError(f"{path}, line {number} is not JSON: the archive is damaged.") from error
    if not isinstance(value, dict):
        raise BackupError(f"{path}, line {number} is not an object: the archive is damaged.")
    return value


def _check_header(path: Path, value: dict[str, Any]) -> None:
    if value.get("format") != FORMAT or not isinstance(value.get("schema"), int):
        raise BackupError(f"{path} is no backup of this product.")
    if value.get("version") != VERSION:
        raise BackupError(f"{path} has archive version {value.get('version')}; known: {VERSION}.")
