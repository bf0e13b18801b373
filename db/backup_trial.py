"""Is a backup any good? It is restored into an empty database and compared with the archive.

The database is a private one: the embedded server as its own process, in a folder of its own, on a
free port of the loopback, with a password nobody else has. It ends with this process, however that
ends. Every row that the archive holds must be there as a restore writes it, and no other. Used by
db.backup_job and `python -m db verify --restore`.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from db import backup, schema
from db.backup_files import SCRATCH
from db.connection import Database, r
from db.settings import Settings

START_S = 60.0
STOP_S = 15.0
DIFFERENCES_MAX = 20

READY = re.compile(rb"on port (\d+)")
WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


@dataclass(frozen=True)
class Trial:
    """`differences`: sentences; none: what was restored is what the archive holds."""

    summary: backup.Summary
    differences: tuple[str, ...]


def try_restore(archive: Path, folder: Path, report: backup.Report) -> Trial:
    """`folder`: where the private database may be, on a disk with room for it.

    Raises BackupError where the archive cannot be restored at all, or no database can be started.
    """
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder))
    try:
        with _empty_database(scratch) as database:
            summary = backup.restore(database, archive, report=report)
            return Trial(summary, tuple(_compare(database, archive, summary.schema)))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _empty_database(scratch: Path) -> Iterator[Database]:
    password = secrets.token_urlsafe(32)
    with subprocess.Popen(
        [
            *WITH_PARENT,
            *(sys.executable, "-m", "db.embedded", "--host", "127.0.0.1", "--port", "0"),
            *("--data", str(scratch / "db")),
        ],
        env={**os.environ, "ISARD_DB_PASSWORD": password},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parent.parent,
    ) as server:
        try:
            port = _port_of(cast(IO[bytes], server.stdout))
            settings = replace(
                Settings.from_environment({}), db_port=port, db_password=password, data=scratch
            )
            database = Database(settings)
            try:
                yield database
            finally:
                database.close()
        finally:
            # Nothing in it is wanted any more: it need not tidy up.
            server.kill()
            server.wait(STOP_S)


def _port_of(said_by: IO[bytes]) -> int:
    deadline, said = time.monotonic() + START_S, b""
    while (left_s := deadline - time.monotonic()) > 0:
        if not select.select([said_by], [], [], left_s)[0]:
            break
        piece = os.read(said_by.fileno(), 4096)
        said += piece
        ready = READY.search(said)
        if ready and said.endswith(b"\n"):
            return int(ready[1])
        if not piece:
            break
    raise backup.BackupError(
        "The private database for the trial did not start. See that the disk of the backups is "
        "not full and that the machine has free memory."
    )


def _compare(database: Database, archive: Path, version: int) -> Iterator[str]:
    """What of the archive is not in the database as it should be, or is there besides.

    An archive of an older schema was upgraded on the way: there only lost rows can be told.
    """
    differences = _differences(database, archive, exact=version == schema.newest_version())
    yield from itertools.islice(differences, DIFFERENCES_MAX)
    if next(differences, None) is not None:
        yield "There are more differences."


def _differences(database: Database, archive: Path, *, exact: bool) -> Iterator[str]:
    for table, rows in backup.restored_rows(archive):
        present = set(database.run(r.table_list()))
        if table not in present:
            yield f"Table {table} was not restored."
            continue
        there = _Rows(database, table)
        expected = 0
        try:
            for row in rows:
                expected += 1
                found = there.get(row["id"])
                if found is None:
                    yield f"{table}: row {row['id']!r} was not restored."
                elif exact and found != row and not _is_lease(table, row):
                    yield f"{table}: row {row['id']!r} is another one after the restore."
        finally:
            there.close()
        count = database.run(r.table(table).count())
        if exact and table != "engine" and count != expected:
            yield f"{table}: {expected} rows in the archive, {count} after the restore."


def _is_lease(table: str, row: dict[str, Any]) -> bool:
    """The one row a restore makes anew."""
    return table == "engine" and row.get("id") == "lease"


class _Rows:
    """A table read once, in the order of its keys, which is the archive's too."""

    def __init__(self, database: Database, table: str) -> None:
        self._connection = database.connect()
        options = {"time_format": "raw", "binary_format": "raw"}
        query = r.table(table).order_by(index="id")
        self._rows = iter(query.run(self._connection, **options))
        self._passed: dict[str, dict[str, Any]] = {}

    def get(self, key: Any) -> dict[str, Any] | None:
        """Rows that are not asked for are kept: an older archive may lack what an upgrade adds."""
        name = repr(key)
        if name in self._passed:
            return self._passed.pop(name)
        for row in self._rows:
            if row["id"] == key:
                return dict(row)
            self._passed[repr(row["id"])] = dict(row)
        return None

    def close(self) -> None:
        self._connection.close(noreply_wait=False)
