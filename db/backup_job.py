"""`python -m db.backup_job --folder DIR ID`: make one backup of the folder, and try it.

Started by webapp.clock as a process of its own, so that a large database keeps no web page waiting
and a deadline can end it. It prints what it does as JSON lines; the last one has `step` `done` or
`failed`. A file that is there already is only tried, so one that was cut off is simply begun again:
the file gets its name when it is whole. One job at a time works in a folder, by a lock.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from db import backup, backup_files, backup_trial, schema
from db.connection import Database
from db.errors import DatabaseUnavailable, IsardError
from db.logs import configure
from db.settings import Settings

LOCK_S = 300.0
"""How long a job of another process may still be at work in the folder."""

REMEDIES = {
    errno.ENOSPC: ("DiskFull", "The disk is full: free some space, or keep fewer backups."),
    errno.EROFS: ("FolderNotWritable", "The folder is read-only: mount it writable."),
    errno.EACCES: (
        "FolderNotWritable",
        "The folder may not be written: it must be the web side's.",
    ),
    errno.EPERM: ("FolderNotWritable", "The folder may not be written: it must be the web side's."),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m db.backup_job", description=__doc__)
    parser.add_argument("id")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--without-secrets", action="store_true")
    parser.add_argument("--only-try", action="store_true", help="a missing file is a failure")
    options = parser.parse_args()
    configure("backup")
    try:
        run(options)
    except DatabaseUnavailable as error:
        _fail("DatabaseUnavailable", f"{error} Try again when it answers.")
    except IsardError as error:
        _fail("BackupFailed", str(error))
    except OSError as error:
        reason, remedy = REMEDIES.get(error.errno or 0, ("FolderUnusable", "See to the disk."))
        _fail(reason, f"{error.filename or options.folder}: {error.strerror}. {remedy}")
    return 0


def run(options: argparse.Namespace) -> None:
    path = backup_files.path_of(options.folder, options.id)
    options.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _folder_to_ourselves(options.folder):
        backup_files.remove_leftovers(options.folder)
        if not path.exists():
            if options.only_try:
                _fail("FileMissing", f"The file {path.name} is not in the folder of backups.")
                return
            database = Database(Settings.from_environment())
            try:
                report = _Progress("writing")
                backup.backup(database, path, secrets=not options.without_secrets, report=report)
            finally:
                database.close()
        _try(path, options.folder)


def _try(path: Path, folder: Path) -> None:
    size = path.stat().st_size
    try:
        summary = backup.verify(path)
    except backup.BackupError as error:
        _tell("done", verified=False, size=size, reason="Damaged", message=_bad(str(error)))
        return
    facts = {
        "size": size,
        "schema": summary.schema,
        "tables": summary.tables,
        "rows": summary.rows,
        "secrets": summary.secrets,
        "made_at": summary.created_at,
    }
    try:
        trial = backup_trial.try_restore(path, folder, _Progress("checking"))
    except (IsardError, OSError) as error:
        _tell("done", verified=False, reason="NotRestorable", message=_bad(str(error)), **facts)
        return
    if trial.differences:
        told = _bad(" ".join(trial.differences))
        _tell("done", verified=False, reason="Differs", message=told, **facts)
        return
    _tell("done", verified=True, **facts)


def _bad(what: str) -> str:
    return f"It could not be restored whole into an empty database: {what} Make another backup."


class _Progress:
    """Tells of each table that is done."""

    def __init__(self, step: str) -> None:
        self._step, self._done = step, 0
        self._of = len(set(schema.TABLES) - backup.VOLATILE_TABLES)
        _tell(step, done=0, of=self._of)

    def __call__(self, _line: str) -> None:
        self._done += 1
        _tell(self._step, done=min(self._done, self._of), of=self._of)


@contextmanager
def _folder_to_ourselves(folder: Path) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    lock = os.open(folder / backup_files.LOCK, flags, 0o600)
    try:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise backup.BackupError(
                        "Another backup is being made in this folder and does not end."
                    ) from None
                time.sleep(0.2)
        yield
    finally:
        os.close(lock)


def _fail(reason: str, message: str) -> None:
    _tell("failed", reason=reason, message=message)


def _tell(step: str, **more: Any) -> None:
    sys.stdout.write(json.dumps({"step": step, **more}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
