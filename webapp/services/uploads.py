"""Uploads: from a browser, in pieces, into a file of ours; from there once to the disk host.

A piece says where it begins, so an upload that broke goes on where it was, after a reload too. When
the last byte is on disk, a key for tickets goes into table `uploads` and the medium is wished
available; the engine then has the disk host fetch the file (db/upload_tickets.py). Where that could
not be written, or was called off since, an empty piece at the end has it done again. The file goes
when the medium is available or its row is gone (`sweep`, see services/sweeping.py).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from db import desired, queries, upload_tickets
from db.errors import Conflict
from db.logs import get_logger
from db.rowcheck import is_uuid
from db.states import MediaDesired, MediaState
from webapp.auth.permissions import Person
from webapp.errors import Problem, not_found
from webapp.extensions import backend, database
from webapp.services import audit
from webapp.threads import off_the_loop
from webapp.tidy import as_number, tidy_media

log = get_logger(__name__)

Row = dict[str, Any]

PIECE_MAX_BYTES = 64 * 1024**2
BLOCK_BYTES = 256 * 1024
RESERVE_BYTES = 1024**3
SWEEP_S = 5.0
DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
ABANDONED_S = 7 * 86400
"""An upload nobody has gone on with for so long is given up."""


def require_room(size: int) -> None:
    """Raises where a file of this size is not taken, or does not fit."""
    settings = backend().settings
    if size > settings.upload_max_bytes:
        most = settings.upload_max_bytes // 1024**3
        text = f"Files of up to {most} GiB are taken (ISARD_UPLOAD_MAX_GIB)."
        raise Problem(422, "TooLarge", text, field="source.size")
    free = shutil.disk_usage(_spool()).free - RESERVE_BYTES
    if size > free:
        text = "The server has no room for a file of this size just now. Use an address instead."
        raise Problem(422, "NoSpace", text, field="source.size")


def require_whole(row: Row) -> None:
    """Raises where the medium is one that is still to be uploaded."""
    if tidy_media(row)["source"].get("upload") and not _is_finished(row):
        raise Conflict("NotUploaded", "It has not been uploaded to the end. Go on with the upload.")


def progress_of(row: Row) -> dict[str, Any]:
    """How much of it is here: where the next piece begins."""
    size = _size_of(row)
    return {"offset": size if _is_finished(row) else _received(row["id"]), "size": size}


def receive(user: Person, row: Row, offset: int, length: int, stream: IO[bytes]) -> dict[str, Any]:
    """One piece. The row is the user's own."""
    size, media_id = _size_of(row), str(row["id"])
    if _is_finished(row):
        if _is_called_off(row):
            desired.wish_media(database(), media_id, MediaDesired.AVAILABLE, user.actor)
        return {"offset": size, "size": size}
    if offset + length > size:
        text = f"The file was said to have {size} bytes: this piece goes beyond its end."
        raise Problem(413, "TooLarge", text)
    if length > PIECE_MAX_BYTES:
        raise Problem(413, "TooLarge", f"A piece has up to {PIECE_MAX_BYTES} bytes of the file.")
    with _room_told(), _alone(media_id) as file:
        have = file.seek(0, os.SEEK_END)
        if offset != have:
            raise Conflict("WrongOffset", f"The next piece begins at {have}.")
        if length:
            require_room(size - have)
        _copy(stream, file, length)
        have = file.tell()
        if have == size:
            file.flush()
            off_the_loop(os.fsync, file.fileno())
    if have == size:
        _finish(user, media_id, size)
    return {"offset": have, "size": size}


def open_for_host(media_id: str, header: str) -> Path:
    """The file, for a disk host that shows a good ticket. Raises 404 whatever is wrong with it."""
    kind, _, ticket = header.partition(" ")
    record = queries.get_row(database(), "uploads", media_id) if is_uuid(media_id) else None
    if record is None or kind != "Upload":
        raise not_found("upload")
    nonce = upload_tickets.check(ticket, str(record["key"]), media_id, time.time())
    path = _path(media_id)
    if nonce is None or not path.is_file() or not desired.use_ticket(database(), media_id, nonce):
        raise not_found("upload")
    return path


def sweep() -> int:
    """Remove what is needed no more; how many files went."""
    gone = 0
    with contextlib.suppress(FileNotFoundError):
        for path in backend().settings.spool.iterdir():
            if path == backend().settings.deliveries:
                continue
            row = queries.get_row(database(), "media", path.name)
            if _is_needed(row, path):
                continue
            path.unlink(missing_ok=True)
            log.info("upload_removed", media=path.name)
            gone += 1
    return gone


def _is_needed(row: Row | None, path: Path) -> bool:
    if row is None:
        return False
    tidy = tidy_media(row)
    if tidy["observed"].get("state") == MediaState.AVAILABLE:
        return False
    return _is_finished(row) or time.time() - path.stat().st_mtime < ABANDONED_S


def _finish(user: Person, media_id: str, size: int) -> None:
    url = f"{backend().settings.upload_url}/uploads/{media_id}"
    record = {"id": media_id, "url": url, "key": upload_tickets.make_key(), "size": size}
    desired.put_upload(database(), record)
    desired.wish_media(database(), media_id, MediaDesired.AVAILABLE, user.actor)
    audit.record(user.actor, "media.uploaded", f"media/{media_id}", size=size)


def _is_finished(row: Row) -> bool:
    """All of it was here once: the engine knows, or the key is there."""
    if tidy_media(row)["observed"].get("state") == MediaState.AVAILABLE:
        return True
    return queries.get_row(database(), "uploads", row["id"]) is not None


def _is_called_off(row: Row) -> bool:
    """Not fetched, and nobody wishes it any more."""
    tidy = tidy_media(row)
    is_there = tidy["observed"].get("state") == MediaState.AVAILABLE
    return tidy["desired"]["state"] == MediaDesired.ABSENT and not is_there


def _size_of(row: Row) -> int:
    source = tidy_media(row)["source"]
    size = as_number(source.get("size"))
    if not source.get("upload") or not size:
        raise Conflict("NotAnUpload", "This medium is not one that is uploaded.")
    return int(size)


def _received(media_id: str) -> int:
    try:
        return _path(media_id).stat().st_size
    except FileNotFoundError:
        return 0


def _path(media_id: str) -> Path:
    if not is_uuid(media_id):
        raise not_found("upload")
    return backend().settings.spool / media_id


def _spool() -> Path:
    """The folder, which is there from now on."""
    spool = backend().settings.spool
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    return spool


def _copy(stream: IO[bytes], file: IO[bytes], length: int) -> None:
    """What comes, up to `length`. A connection that breaks leaves what has come: it counts."""
    left = length
    while left > 0:
        block = stream.read(min(BLOCK_BYTES, left))
        if not block:
            return
        off_the_loop(file.write, block)
        left -= len(block)


@contextlib.contextmanager
def _room_told() -> Iterator[None]:
    """Raises 503 where our own disk does not take it; what has come before counts."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_REFUSES:
            raise
        log.error("upload_not_kept", folder=str(backend().settings.spool), error=error.strerror)
        text = (
            f"The server cannot keep what is uploaded just now ({error.strerror}). Go on with the "
            "upload later: what has arrived is kept."
        )
        raise Problem(503, "NoSpace", text, headers={"Retry-After": "60"}) from error


@contextlib.contextmanager
def _alone(media_id: str) -> Iterator[IO[bytes]]:
    """The file, for one piece at a time: two at once would mix. Other web sides may have the same
    folder, so the lock is the file's.
    """
    _spool()
    with _path(media_id).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = "Another piece of this file is just being received."
            raise Conflict("Busy", text) from error
        yield file
