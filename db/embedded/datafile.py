"""The data folder: one process at a time, and a file that is checked before it is used.

A fresh file is built beside its place and moved there complete, so a kill at any moment leaves
either no file or a good one. An existing file is looked at read-only first: what is not ours, is
newer than this program or is damaged is refused with a sentence and left exactly as it is.
`__main__` calls `claim_folder`, the store calls `open_database`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

APPLICATION_ID: Final = 0x5265514C  # "ReQL"
SCHEMA_VERSION: Final = 1
_MAGIC: Final = b"SQLite format 3\x00"

_SCHEMA: Final = f"""
PRAGMA journal_mode = WAL;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE rows (space INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
                   PRIMARY KEY (space, key)) WITHOUT ROWID;
"""


class DataFolderError(Exception):
    """The folder or its file cannot be used; the message says why and what to do."""


REFUSALS: Final = {
    sqlite3.SQLITE_FULL: "is full",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot be written",
    sqlite3.SQLITE_IOERR: "refuses (full, or failing)",
}
"""What SQLite says of a disk, by the low byte of its code."""


def explain_refusal(error: Exception, folder: Path) -> str | None:
    """A sentence where it is the disk that does not take what is written; otherwise None."""
    if isinstance(error, sqlite3.Error):
        how = REFUSALS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    elif isinstance(error, OSError):
        how = f"cannot be written ({error.strerror})"
    else:
        how = None
    if how is None:
        return None
    return (
        f"The disk of {folder} {how}: make room there, or see that it can be written. The database "
        "goes on by itself then."
    )


def claim_folder(folder: Path) -> int:
    """Create the folder if need be and lock it for this process; the descriptor keeps the lock."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataFolderError(
            f"Cannot use the data folder {folder}: {error.strerror}. See that its disk can be "
            "written and the folder is this user's."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise DataFolderError(
            f"The data folder {folder} is in use by another server (process {holder}). "
            "One process per folder: stop that one first, or choose another folder."
        ) from None
    with contextlib.suppress(OSError):  # on a full disk: it is only told to people
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def open_database(path: Path) -> sqlite3.Connection:
    """The checked file, created if there is none, ready for the writer. Raises DataFolderError."""
    try:
        if path.exists():
            _check(path)
        else:
            _create(path)
        return _open(path)
    except (sqlite3.Error, OSError) as error:
        sentence = explain_refusal(error, path.parent)
        if sentence is None:
            raise
        raise DataFolderError(sentence) from error


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -8000")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    return connection


def _create(path: Path) -> None:
    leftover = path.with_name(path.name + "-wal")
    if leftover.exists():
        raise DataFolderError(
            f"{path} is missing but its log {leftover.name} is there. Put the file back (or move "
            "the log away to start empty); nothing was changed."
        )
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    connection = sqlite3.connect(fresh, isolation_level=None)
    connection.executescript(_SCHEMA)
    connection.close()
    fresh.chmod(0o600)
    descriptor = os.open(fresh, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _read_only(path: Path) -> str:
    """How to open the file so that not even an empty log is left beside it."""
    wal = path.with_name(path.name + "-wal")
    has_log = wal.exists() and wal.stat().st_size > 0
    return f"{path.absolute().as_uri()}?mode=ro" + ("" if has_log else "&immutable=1")


def _check(path: Path) -> None:
    """Refuse a file that is not ours, too new, or damaged, without writing to it."""
    with path.open("rb") as file:
        head = file.read(100)
    if len(head) < 100 or not head.startswith(_MAGIC):
        raise DataFolderError(
            f"{path} is not a database file of this server (it does not begin as one; "
            "torn, or something else). It was left as it is: restore a backup or move it away."
        )
    try:
        connection = sqlite3.connect(_read_only(path), uri=True, isolation_level=None)
        try:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise DataFolderError(
            f"{path} is damaged ({error}). It was left as it is: restore a backup or move it away."
        ) from None
    if application != APPLICATION_ID:
        raise DataFolderError(
            f"{path} belongs to another program (application id {application:#x}). "
            "It was left as it is: choose another folder."
        )
    if version != SCHEMA_VERSION:
        raise DataFolderError(
            f"{path} has format {version}, this server writes format {SCHEMA_VERSION}. "
            "It was left as it is: use the server it was written by."
        )
    if found != ["ok"]:
        raise DataFolderError(
            f"{path} is damaged ({found[0]}). It was left as it is: restore a backup or "
            "move it away."
        )
