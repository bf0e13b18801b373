"""The rows of backups and of their schedule: the part of db/documents.py that is about them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from db.documents import DesiredField


class Backup(TypedDict, total=False):
    """Table `backups`: one file `<id>.jsonl` in the folder of backups. Never in a backup itself."""

    id: str
    kind: str
    """scheduled | hand | found (a file that had no row)"""
    secrets: bool
    """Whether it is to hold password hashes, tokens and console passwords."""
    created_at: datetime
    desired: DesiredField
    """state: available | deleted. Written by webapp or script."""
    observed: dict[str, Any]
    """Written by the holder of the `clock` lease: {state: writing | checking | verified |
    unverified | failed | missing, progress: {done, of}, size, schema, tables, rows, secrets,
    made_at, reason, message, for, epoch, at}
    """


class BackupSchedule(TypedDict, total=False):
    """Table `config`, row `backups`. What each field may be is in db/backup_schedule.py."""

    id: str
    enabled: bool
    every_hours: int
    at: str
    """hh:mm, UTC"""
    keep_count: int
    keep_days: int
    changed_at: datetime
