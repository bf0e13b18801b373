"""The duty of backups: the folder, the rows and the schedule are brought together.

Level-triggered: each look begins with what the folder and table `backups` say. A file without a row
gets one, a wish that is new is carried out by a process of its own (db/backup_job.py, one at a
time), one that was cut off is begun again, what is due is ordered, what is too old is wished gone.
Everything noted in `observed` names the epoch of the lease.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from db import backup_files, backup_rows
from db.backup_schedule import is_due, too_old
from db.connection import Database
from db.errors import DatabaseUnavailable, Fenced
from db.logs import get_logger
from webapp.settings import WebSettings
from webapp.tidy import Row, as_mapping, as_time

log = get_logger(__name__)

JOB_S = 2 * 3600.0
"""A backup and its trial that take longer are ended."""
WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")

FACTS = ("size", "schema", "tables", "rows", "secrets", "made_at")

INVALID_ID = (
    "The id is no name for a file: use letters, digits, dots, dashes and underscores. "
    "Delete the row and insert another, or leave the id out."
)
CUT_OFF = "The process that made it ended unexpectedly: see the web side's log, and try again."
TOO_LONG = "It took longer than two hours and was ended. See whether disk or database are slow."
FILE_MISSING = "The file is not in the folder of backups any more. Delete it from the list."


class BackupKeeper:
    def __init__(self, database: Database, settings: WebSettings) -> None:
        self._database, self._settings = database, settings
        self._folder = settings.backups
        self._job: Job | None = None

    def tick(self, epoch: int) -> None:
        if self._job is not None and not self._job.is_running():
            self._job = None
        backup_rows.heal(self._database, epoch)
        files = self._files()
        if files is not None:
            known = {row["id"] for row in backup_rows.list_backups(self._database)}
            for found in files.values():
                if found.id not in known:
                    backup_rows.adopt(self._database, found, epoch)
        self._keep_schedule()
        rows = backup_rows.list_backups(self._database)
        for row in rows:
            if as_mapping(row.get("desired")).get("state") == "deleted":
                self._delete(row)
            elif not backup_files.is_id(row["id"]):
                self._refuse(row, epoch)
            elif files is not None and row["id"] not in files:
                self._note_missing(row, epoch)
        self._begin_next(rows, epoch)

    def stop(self) -> None:
        if self._job is not None:
            self._job.end()
            self._job = None

    def _files(self) -> dict[str, backup_files.Found] | None:
        """None where the folder cannot be read: then nothing is said of any file."""
        try:
            return backup_files.list_files(self._folder)
        except OSError as error:
            log.warning("backups_not_listed", folder=str(self._folder), error=str(error))
            return None

    def _keep_schedule(self) -> None:
        schedule = backup_rows.schedule_of(self._database)
        made = backup_rows.made_by_schedule(backup_rows.list_backups(self._database))
        now = datetime.now(UTC)
        if is_due(schedule, made, now):
            row = backup_rows.order(self._database, backup_rows.BY_SCHEDULE, "scheduled")
            log.info("backup_due", backup=row["id"])
        for backup_id in too_old(schedule, made, now):
            backup_rows.wish(self._database, backup_id, "deleted", backup_rows.BY_SCHEDULE)
            log.info("backup_too_old", backup=backup_id)

    def _delete(self, row: Row) -> None:
        if self._job is not None and self._job.backup_id == row["id"]:
            self.stop()
        try:
            if backup_files.is_id(row["id"]):
                backup_files.remove(self._folder, row["id"])
        except OSError as error:
            log.warning("backup_not_deleted", backup=row["id"], error=str(error))
            return
        backup_rows.forget(self._database, row["id"])

    def _refuse(self, row: Row, epoch: int) -> None:
        if backup_rows.is_new(row):
            problem = {"state": "failed", "reason": "InvalidRow", "message": INVALID_ID}
            backup_rows.note(self._database, row["id"], {**problem, "for": _wish_of(row)}, epoch)

    def _note_missing(self, row: Row, epoch: int) -> None:
        observed = as_mapping(row.get("observed"))
        if backup_rows.is_new(row) or observed.get("state") not in ("verified", "unverified"):
            return
        problem = {"state": "missing", "reason": "FileMissing", "message": FILE_MISSING}
        backup_rows.note(self._database, row["id"], {**observed, **problem}, epoch)

    def _begin_next(self, rows: list[Row], epoch: int) -> None:
        if self._job is not None:
            return
        waiting = [
            row
            for row in rows
            if backup_files.is_id(row["id"])
            and backup_rows.is_new(row)
            and as_mapping(row.get("desired")).get("state") != "deleted"
        ]
        if waiting:
            row = min(waiting, key=lambda row: (_created_at(row), row["id"]))
            self._job = Job(self._database, self._settings, row, epoch)
            self._job.start()


class Job:
    """One process at work on one backup, and the notes of how far it is."""

    def __init__(self, database: Database, settings: WebSettings, row: Row, epoch: int) -> None:
        self._database, self._settings, self._row, self._epoch = database, settings, row, epoch
        self.backup_id: str = row["id"]
        self._ended = False
        self._too_long = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="backup", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def is_running(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        """At once; nothing more is noted."""
        self._ended = True
        self._kill()

    def _arguments(self) -> list[str]:
        """What had its file already is only tried again: another file would not be that backup."""
        arguments = ["--folder", str(self._settings.backups)]
        if self._row.get("secrets") is False:
            arguments.append("--without-secrets")
        if as_mapping(self._row.get("observed")).get("size") or self._row.get("kind") == "found":
            arguments.append("--only-try")
        return [*arguments, "--", self.backup_id]

    def _run(self) -> None:
        try:
            process = self._begin()
        except OSError as error:
            told = f"The backup's process could not be started: {error}. See the web side's log."
            self._note_end({"step": "failed", "reason": "NotStarted", "message": told})
            return
        self._follow(process)

    def _begin(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*WITH_PARENT, sys.executable, "-m", "db.backup_job", *self._arguments()],
            env={**os.environ, **_environment(self._settings)},
            cwd=Path(__file__).parent.parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        self._process, lines = process, cast(IO[bytes], process.stdout)
        if self._ended:
            self._kill()
        timer = threading.Timer(JOB_S, self._time_is_up)
        timer.start()
        told: Row = {"step": "failed", "reason": "CutOff", "message": CUT_OFF}
        try:
            for line in lines:
                told = json.loads(line)
                if told["step"] in ("writing", "checking"):
                    progress = {"done": told["done"], "of": told["of"]}
                    self._note({**self._facts(), "state": told["step"], "progress": progress})
            self._note_end(told)
        except (DatabaseUnavailable, Fenced) as error:
            # The row's wish is still new: the holder of the lease, whoever it is, begins again.
            log.warning("backup_given_up", backup=self.backup_id, error=str(error))
        finally:
            timer.cancel()
            self._kill()
            lines.close()

    def _facts(self) -> Row:
        """What is known of the file from an earlier trial."""
        observed = as_mapping(self._row.get("observed"))
        return {key: observed[key] for key in FACTS if key in observed}

    def _time_is_up(self) -> None:
        self._too_long = True
        self._kill()

    def _note_end(self, told: Row) -> None:
        if self._too_long:
            told = {"step": "failed", "reason": "TookTooLong", "message": TOO_LONG}
        elif told["step"] not in ("done", "failed"):
            told = {"step": "failed", "reason": "CutOff", "message": CUT_OFF}
        done = told["step"] == "done"
        state = ("verified" if told["verified"] else "unverified") if done else "failed"
        kept = {key: value for key, value in told.items() if key not in ("step", "verified")}
        log.info("backup_ended", backup=self.backup_id, state=state, reason=kept.get("reason"))
        self._note({**self._facts(), "state": state, **kept, "for": _wish_of(self._row)})

    def _note(self, observed: Row) -> None:
        if not self._ended:
            backup_rows.note(self._database, self.backup_id, observed, self._epoch)

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


def _environment(settings: WebSettings) -> dict[str, str]:
    """How the job reaches the database: as we do."""
    kernel = settings.kernel
    return {
        "ISARD_DATA": str(kernel.data),
        "ISARD_DB_HOST": kernel.db_host,
        "ISARD_DB_PORT": str(kernel.db_port),
        "ISARD_DB_USER": kernel.db_user,
        "ISARD_DB_PASSWORD": kernel.db_password,
        "ISARD_DB_NAME": kernel.db_name,
    }


def _wish_of(row: Mapping[str, Any]) -> Row:
    wish = as_mapping(row.get("desired"))
    return {"state": wish.get("state"), "at": wish.get("at")}


def _created_at(row: Mapping[str, Any]) -> datetime:
    return as_time(row.get("created_at")) or datetime(1970, 1, 1, tzinfo=UTC)
