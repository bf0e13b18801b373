"""Media for the browser: a medium's file, brought from the storage and kept here until it is saved.

The reverse of `uploads`, because webapp has no key to any host: who asks for a file makes an order
(task `deliver`), the engine has the disk host send it with a ticket that is good for once, and when
all of it is here it is sent to whoever may change the medium, in part where asked. It is kept for a
day after it was last asked for, and goes with its medium (`sweep`, see services/sweeping.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import gevent

from db import desired, queries, upload_tickets
from db.connection import r
from db.errors import Conflict
from db.logs import get_logger
from db.rowcheck import is_uuid
from db.states import TASK_ENDED, MediaState, TaskKind
from webapp.auth.permissions import Person
from webapp.errors import Problem, not_found
from webapp.extensions import backend, database
from webapp.services import media, tasks
from webapp.services.uploads import BLOCK_BYTES, RESERVE_BYTES
from webapp.task_payloads import task
from webapp.threads import off_the_loop
from webapp.tidy import as_mapping, as_number, as_text, tidy_media

log = get_logger(__name__)

Payload = dict[str, Any]
Row = dict[str, Any]

KEPT_S = 86_400
BROKEN_S = 3600
"""A file that grows no more and is not whole is one whose sender is gone."""
SWEEP_S = 30.0
SYNC_BYTES = 64 * 1024**2
SIZE_MAX_BYTES = 2**50
BUSY_TRIES = 20
EXTENSIONS = frozenset(("iso", "img", "qcow2", "vmdk", "vdi", "ova"))


def bring(user: Person, media_id: str) -> Payload:
    """Have it here: {"ready", "url", "task"}. Asking again while it comes, or is here, orders
    nothing. Raises 403 for who may not change the medium, 409 where it is not available.
    """
    row, size = _require_available(user, media_id)
    url = f"/api/v1/media/{row['id']}/file"
    if _is_here(row["id"], size):
        _note_use(_path(row["id"]))
        return {"ready": True, "url": url, "task": None}
    under_way = _open_order(row["id"])
    if under_way is not None:
        return {"ready": False, "url": url, "task": task(under_way, user)}
    _require_room(size)

    def leave_key(task_id: str) -> None:
        record = {
            "id": task_id,
            "media": row["id"],
            "url": f"{backend().settings.upload_url}/deliveries/{task_id}",
            "key": upload_tickets.make_key(),
            "size": size,
        }
        desired.put_upload(database(), record)

    ordered = tasks.order_of_medium(user, row, TaskKind.DELIVER, before=leave_key)
    return {"ready": False, "url": url, "task": ordered}


def find_file(user: Person, media_id: str) -> tuple[Path, str]:
    """(the file, what to call it). Raises 409 where it is not here (yet)."""
    row, size = _require_available(user, media_id)
    if not _is_here(row["id"], size):
        text = "The file is not here yet. Ask for it with POST, and wait for its task."
        raise Conflict("NotHere", text)
    path = _path(row["id"])
    _note_use(path)
    return path, _name_of(row)


def take(task_id: str, header: str, length: int | None, stream: IO[bytes]) -> None:
    """From a disk host that shows a good ticket. Raises 404 whatever is wrong with it."""
    kind, _, ticket = header.partition(" ")
    record = queries.get_row(database(), "uploads", task_id) if is_uuid(task_id) else None
    if record is None or kind != "Delivery" or not is_uuid(str(record.get("media"))):
        raise not_found("delivery")
    nonce = upload_tickets.check(ticket, str(record["key"]), task_id, time.time())
    if nonce is None or not desired.use_ticket(database(), task_id, nonce):
        raise not_found("delivery")
    media_id, size = str(record["media"]), int(record["size"])
    if length != size:
        raise Problem(413, "WrongSize", f"The file has {size} bytes.")
    _require_room(size)
    with _alone(media_id) as file:
        _copy(stream, file, size)
        if file.tell() != size:
            raise Problem(400, "CutOff", "The file did not come to its end.")
        _sync(file)
        _part(media_id).replace(_path(media_id))
    log.info("delivered", media=media_id, task=task_id, size=size)


def sweep() -> int:
    """Remove what is needed no more; how many files went."""
    gone = 0
    with contextlib.suppress(FileNotFoundError):
        for path in backend().settings.deliveries.iterdir():
            if not _is_needed(path):
                path.unlink(missing_ok=True)
                log.info("delivery_removed", file=path.name)
                gone += 1
    for record in database().run(r.table("uploads").has_fields("media").pluck("id")):
        order = queries.get_row(database(), "tasks", record["id"])
        if order is None or _has_ended(order):
            database().run(r.table("uploads").get(record["id"]).delete())
    return gone


def _is_needed(path: Path) -> bool:
    facts = path.stat()
    if path.suffix == ".part":
        return time.time() - facts.st_mtime < BROKEN_S
    age_s = time.time() - max(facts.st_atime, facts.st_mtime)
    row = queries.get_row(database(), "media", path.name) if is_uuid(path.name) else None
    return row is not None and age_s < KEPT_S and _size_of(row) is not None


def _require_available(user: Person, media_id: str) -> tuple[Row, int]:
    row = media.find_own(user, media_id)
    size = _size_of(row)
    if size is None:
        raise Conflict("NotReady", "Only a medium that is available can be saved.")
    return row, size


def _size_of(row: Row) -> int | None:
    """Of its file; None where it is not available."""
    seen = tidy_media(row)["observed"]
    size = as_number(seen.get("size"))
    return int(size) if seen.get("state") == MediaState.AVAILABLE and size else None


def _require_room(size: int) -> None:
    if size > shutil.disk_usage(_folder()).free - RESERVE_BYTES:
        text = "The server has no room for a file of this size just now. Try again later."
        raise Problem(409, "NoSpace", text)


def _open_order(media_id: str) -> Row | None:
    """The order that brings it, where one is under way."""
    rows = queries.list_by_index(database(), "tasks", "target", media_id)
    kind = TaskKind.DELIVER.value
    return next((row for row in rows if row.get("kind") == kind and not _has_ended(row)), None)


def _has_ended(order: Row) -> bool:
    return str(as_mapping(order.get("observed")).get("state")) in TASK_ENDED


def _is_here(media_id: str, size: int) -> bool:
    try:
        return _path(media_id).stat().st_size == size
    except FileNotFoundError:
        return False


def _note_use(path: Path) -> None:
    """By its time of access: its time of change tells a browser that it is the same file still."""
    os.utime(path, (time.time(), path.stat().st_mtime))


def _name_of(row: Row) -> str:
    """The medium's own name, as a file's, with the extension that its file has."""
    path = as_text(tidy_media(row)["observed"].get("path")) or ""
    extension = path.rpartition(".")[2]
    name = re.sub(r"[^\w .()+-]+", "_", as_text(row.get("name")) or "").strip(" .") or "medium"
    return f"{name}.{extension if extension in EXTENSIONS else 'img'}"


def _folder() -> Path:
    """Which is there from now on."""
    folder = backend().settings.deliveries
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _path(media_id: str) -> Path:
    return backend().settings.deliveries / media_id


def _part(media_id: str) -> Path:
    return backend().settings.deliveries / f"{media_id}.part"


def _copy(stream: IO[bytes], file: IO[bytes], size: int) -> None:
    """A block at a time; to disk now and then, so that the end is not one long wait."""
    left, since = size, 0
    while left > 0:
        block = stream.read(min(BLOCK_BYTES, left))
        if not block:
            return
        off_the_loop(file.write, block)
        left, since = left - len(block), since + len(block)
        if since >= SYNC_BYTES:
            _sync(file)
            since = 0


def _sync(file: IO[bytes]) -> None:
    off_the_loop(file.flush)
    off_the_loop(os.fsync, file.fileno())


@contextlib.contextmanager
def _alone(media_id: str) -> Iterator[IO[bytes]]:
    """The unfinished file, from its beginning, for one sender at a time. One that was cut off lets
    go of it a moment later.
    """
    _folder()
    for _ in range(BUSY_TRIES):
        with _part(media_id).open("ab") as file:
            if _lock(file, _part(media_id)):
                file.truncate(0)
                file.seek(0)
                yield file
                return
        gevent.sleep(0.5)
    raise Conflict("Busy", "This file is just being received.")


def _lock(file: IO[bytes], path: Path) -> bool:
    """False where another has it, or where it became the whole file while we opened it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
