"""Backups, for administrators: list, order, try again, download, delete, and their schedule.

Wishes only: the web side that holds the lease `clock` carries them out (webapp.clock.backups). A
download leaves out password hashes, tokens and console passwords unless they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from os import fstat
from typing import Any, BinaryIO

from db import backup_files, backup_rows, queries
from db.backup import without_secrets
from webapp import backup_payloads
from webapp.auth.permissions import Person, can_administer
from webapp.errors import Problem, not_found
from webapp.extensions import backend, database
from webapp.services import audit
from webapp.threads import off_the_loop

Payload = dict[str, Any]

CHUNK = 256 * 1024


@dataclass(frozen=True)
class Download:
    """`size` in bytes, where it is known before all is sent."""

    name: str
    size: int | None
    chunks: Iterator[bytes]


def list_backups(user: Person) -> list[Payload]:
    """The newest first."""
    _require_admin(user)
    rows = [row for row in backup_rows.list_backups(database()) if isinstance(row["id"], str)]
    shown = [backup_payloads.backup(row) for row in rows]
    return sorted(shown, key=backup_payloads.newest_first)


def get_backup(user: Person, backup_id: str) -> Payload:
    _require_admin(user)
    return backup_payloads.backup(_row(backup_id))


def order(user: Person, *, secrets: bool) -> Payload:
    _require_admin(user)
    row = backup_rows.order(database(), user.actor, secrets_too=secrets)
    audit.record(user.actor, "backup.order", f"backup/{row['id']}", secrets=secrets)
    return backup_payloads.backup(row)


def try_again(user: Person, backup_id: str) -> Payload:
    """Have one made again that failed, or a file restored again into an empty database."""
    _require_admin(user)
    row = backup_rows.wish(database(), _row(backup_id)["id"], "available", user.actor)
    audit.record(user.actor, "backup.try", f"backup/{backup_id}")
    return backup_payloads.backup(row)


def delete(user: Person, backup_id: str) -> Payload:
    _require_admin(user)
    row = backup_rows.wish(database(), _row(backup_id)["id"], "deleted", user.actor)
    audit.record(user.actor, "backup.delete", f"backup/{backup_id}")
    return backup_payloads.backup(row)


def download(user: Person, backup_id: str, *, secrets: bool) -> Download:
    """Raises Problem where there is no whole file yet, or the secrets cannot be left out of it."""
    _require_admin(user)
    shown = backup_payloads.backup(_row(backup_id))
    if not shown["can_download"]:
        raise Problem(409, "NoFile", "There is no whole file of this backup.")
    if shown["reason"] == "Damaged" and not secrets:
        sentence = (
            "The file is damaged, so its secrets cannot be told from the rest. "
            "Download it with its secrets, or make another backup."
        )
        raise Problem(409, "Damaged", sentence)
    try:
        file = backup_files.open_backup(backend().settings.backups, backup_id)
    except (OSError, ValueError) as error:
        sentence = "The file is not in the folder of backups any more, or cannot be read."
        raise Problem(409, "FileMissing", sentence) from error
    audit.record(user.actor, "backup.download", f"backup/{backup_id}", secrets=secrets)
    if secrets or not shown["secrets"]:
        pieces: Iterator[bytes] = iter(lambda: file.read(CHUNK), b"")
        return Download(
            backup_id + backup_files.SUFFIX, fstat(file.fileno()).st_size, _sent(file, pieces)
        )
    path = backup_files.path_of(backend().settings.backups, backup_id)
    name = f"{backup_id}-without-secrets{backup_files.SUFFIX}"
    return Download(name, None, _sent(file, _gathered(without_secrets(file, path))))


def read_schedule(user: Person) -> Payload:
    _require_admin(user)
    made = backup_rows.made_by_schedule(backup_rows.list_backups(database()))
    found = backup_rows.schedule_of(database())
    return backup_payloads.schedule(found, made, datetime.now(UTC))


def change_schedule(user: Person, changes: Payload) -> Payload:
    """Raises Problem naming the field."""
    _require_admin(user)
    try:
        backup_rows.change_schedule(database(), changes)
    except ValueError as error:
        raise Problem(422, "InvalidField", str(error), field=str(error).split()[0]) from error
    audit.record(user.actor, "backup.schedule", "config/backups", **changes)
    return read_schedule(user)


def _sent(file: BinaryIO, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Reading and summing is done in a thread: others are served meanwhile."""
    try:
        while piece := off_the_loop(next, pieces, b""):
            yield piece
    finally:
        file.close()


def _gathered(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Lines in pieces of some size. Some are empty."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= CHUNK:
            yield b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)


def _row(backup_id: str) -> dict[str, Any]:
    row = queries.get_row(database(), backup_rows.TABLE, backup_id)
    if row is None:
        raise not_found("backup")
    return row


def _require_admin(user: Person) -> None:
    if not can_administer(user):
        raise Problem(403, "AdministratorsOnly", "Only administrators may do this.")
