"""The folder of backups: which names are backups, where a backup's file is, what is left over.

A backup's file is `<id>.jsonl` in the folder, computed from the id and never taken from a row, and
an id is one plain word, so no row leads outside the folder; links are not followed. Used by
db.backup_job, webapp.clock and the services.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".jsonl"
LOCK = ".lock"
SCRATCH = ".trial-"
"""What the private database of a trial has its folder's name from."""
OUR_PARTIALS = "isard-*.jsonl.partial"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SCHEDULED = re.compile(r"isard-[0-9TZ]+-scheduled-[0-9a-f]+")


@dataclass(frozen=True)
class Found:
    """`size` in bytes, `modified_at_s` in seconds since 1970."""

    id: str
    size: int
    modified_at_s: float


def is_id(value: object) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None


def path_of(folder: Path, backup_id: str) -> Path:
    """Raises ValueError for what is no backup's id."""
    if not is_id(backup_id):
        raise ValueError(f"{backup_id!r} is no id of a backup")
    return folder / (backup_id + SUFFIX)


def list_files(folder: Path) -> dict[str, Found]:
    """The backups in the folder by their ids; none where there is no folder. Raises OSError."""
    found = {}
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return {}
    for entry in entries:
        name = entry.name.removesuffix(SUFFIX)
        if name == entry.name or not is_id(name) or not entry.is_file(follow_symlinks=False):
            continue
        status = entry.stat(follow_symlinks=False)
        found[name] = Found(name, status.st_size, status.st_mtime)
    return found


def open_backup(folder: Path, backup_id: str) -> BinaryIO:
    """The file, to be read. Raises ValueError for what is no id, OSError where there is no file."""
    path = path_of(folder, backup_id)
    # A pipe in its place would keep us waiting for whoever writes into it.
    found = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise FileNotFoundError(f"{path} is no file")
    return os.fdopen(found, "rb")


def remove(folder: Path, backup_id: str) -> None:
    """One that is gone already is no error. Raises ValueError, OSError."""
    path_of(folder, backup_id).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """What a job that was killed has left. The caller holds the folder's lock."""
    for partial in folder.glob(OUR_PARTIALS):
        partial.unlink(missing_ok=True)
    for scratch in folder.glob(SCRATCH + "*"):
        shutil.rmtree(scratch, ignore_errors=True)
