"""Disk files on a disk host, by qemu-img over SSH. Every method is idempotent: done again, it finds
it done.

Before anything, the storage's marker proves that the right storage is mounted: a file that is not
there means something only then. Making and removing run under a lock of the disk's own in the
pool's folder, so a command that a dead engine left behind is ended or waited for, on whichever host
of a shared storage it runs. Paths have the one shape of engine.storage.paths or are refused. Called
by the domain reconciler.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from db.rowcheck import is_uuid
from db.states import Reason
from engine.errors import CommandFailed, EngineError, Terminal, Transient, WrongStorage
from engine.hypervisor.guard import GUARD_NO_LOCK
from engine.hypervisor.ssh import SshSession
from engine.settings import EngineSettings
from engine.storage import outside, programs, qemu_img
from engine.storage.faults import explain, foreign
from engine.storage.overlays import Overlays
from engine.storage.paths import (
    DiskPlace,
    check_pool_path,
    locks_folder,
    split_disk_path,
)

ROOM_TO_SPARE = 16 * 1024 * 1024
"""Free bytes a copy of an image leaves behind, beyond what it may take."""


@dataclass(frozen=True)
class DiskFacts:
    """A disk file that exists. Sizes are bytes; what it takes is 0 where it was just made."""

    path: str
    backing: str | None
    virtual_size: int
    actual_size: int = field(default=0, compare=False)


class DiskHost:
    """The disk operations of one host. Any thread may call; one disk is worked on by one command at
    a time.
    """

    def __init__(self, ssh: SshSession, installation: str) -> None:
        self._ssh = ssh
        self._settings = ssh.settings
        if not is_uuid(installation):
            raise ValueError(f"{installation!r} is no installation's id")
        self._installation = installation
        self._overlays = Overlays(ssh, installation)

    @property
    def settings(self) -> EngineSettings:
        return self._settings

    def ensure_marker(self, pool_path: str, pool_id: str, recorded: str | None) -> str:
        """The path's id, from its marker. A path never used before (`recorded` None) that holds no
        disks gets one.

        Raises WrongStorage where a recorded marker is missing or differs, where it is another
        installation's, and where there are disks without a marker.
        """
        return self._marker(pool_path, pool_id, recorded, "yes" if recorded is None else "keep")

    def mark_folder(self, pool_path: str, pool_id: str) -> str:
        """Like ensure_marker for a path never used before, but only where the folder is there."""
        return self._marker(pool_path, pool_id, None, "there")

    def check_marker(self, pool_path: str, pool_id: str, recorded: str | None) -> None:
        """Like ensure_marker, changing nothing."""
        self._marker(pool_path, pool_id, recorded, "no")

    def look(self, path: str) -> DiskFacts | None:
        """The file, or None when the right storage is there and the file is not. Raises
        WrongStorage.
        """
        place = split_disk_path(path)
        try:
            done = self._ssh.run(
                self._program(programs.LOOK, place, *qemu_img.info(path)),
                timeout_s=self._settings.call_timeout_s,
                label=f"qemu-img info {path}",
            )
        except CommandFailed as error:
            if error.exit_status == programs.NOT_THERE:
                return None
            raise explain(error, self._at(place.pool_path), "look") from error
        return self._read(done.text, "look")

    def create_overlay(
        self,
        path: str,
        backing_path: str,
        size_gib: float | None = None,
        *,
        before: Callable[[], None] = lambda: None,
    ) -> DiskFacts:
        """A disk on top of another disk of ours, made together with others that are wanted now
        where that can be. `before` is called right before anything is done. Raises
        Terminal(DiskMissing) when that other is not there.
        """
        split_disk_path(backing_path)
        place = split_disk_path(path)
        head = self._overlays.make(place, backing_path, size_gib, before)
        if head is None:
            before()
            new = place.unpublished(secrets.token_hex(8))
            argv = qemu_img.create_overlay(new, backing_path, size_gib)
            facts = self._make(place, new, argv, backing=backing_path)
        else:
            facts = self._read_head(place, head)
        return self._require_backing(facts, backing_path)

    def create_empty(self, path: str, size_gib: float) -> DiskFacts:
        place = split_disk_path(path)
        new = place.unpublished(secrets.token_hex(8))
        return self._require_backing(
            self._make(place, new, qemu_img.create_empty(new, size_gib)), None
        )

    def create_from_image(
        self,
        path: str,
        source: str,
        *,
        size_gib: float | None = None,
        roots: Sequence[str] = (),
        on_progress: Callable[[float], None] | None = None,
    ) -> DiskFacts:
        """A copy of an image file of the host, which must lie below the images folder or one of
        `roots` (the pool's media path). Raises Terminal for an image that would bring in other
        files' contents, or is none."""
        place = split_disk_path(path)
        existing = self.look(path)
        if existing is not None:
            return self._require_backing(existing, None)
        image = outside.examine(self._ssh, source, [str(self._settings.images), *roots])
        grow = "" if size_gib is None else str(qemu_img.to_bytes(size_gib))
        if grow and int(grow) < image.virtual_size:
            raise Terminal(
                Reason.INVALID_ROW,
                f"The image {source} needs {image.virtual_size / qemu_img.GIB:.1f} GiB; "
                f"a disk of {size_gib:g} GiB cannot hold it.",
                step="image",
            )
        new = place.unpublished(secrets.token_hex(8))

        def watch(chunk: bytes) -> None:
            percent = qemu_img.parse_progress(chunk)
            if percent is not None and on_progress is not None:
                on_progress(percent)

        facts = self._make(
            place,
            new,
            outside.convert(image, new),
            grow=grow,
            need=outside.measure(self._ssh, image) + ROOM_TO_SPARE,
            timeout_s=self._settings.convert_timeout_s,
            on_output=watch,
        )
        return self._require_backing(facts, None)

    def delete(self, path: str) -> bool:
        """Removes the file, what was left of making it, and its folder when empty. True if there
        was a file.

        Raises Transient(InUse) while a guest has it open.
        """
        place = split_disk_path(path)
        lock = place.lock(self._installation)
        try:
            done = self._ssh.run_locked(
                lock,
                self._program(programs.DELETE, place, lock),
                timeout_s=self._settings.disk_timeout_s,
                label=f"rm {path}",
            )
        except CommandFailed as error:
            raise self._explain_locked(error, place.pool_path, "delete") from error
        return "removed" in done.text

    def list_disks(self, pool_path: str) -> list[str]:
        """The paths of all files in the pool's path that have the shape of our disks, whoever's."""
        check_pool_path(pool_path)
        try:
            done = self._ssh.run(
                ["sh", "-c", programs.LIST, programs.CREATED_WITH, pool_path],
                timeout_s=self._settings.disk_timeout_s,
                label=f"find {pool_path}",
            )
        except CommandFailed as error:
            raise explain(error, self._at(pool_path), "list") from error
        found = []
        for name in done.text.split("\0"):
            try:
                found.append(split_disk_path(f"{pool_path}/{name}").path)
            except Terminal:
                continue  # another shape: not ours to speak of
        return found

    def run_in(
        self,
        place: DiskPlace,
        program: str,
        *arguments: str,
        step: str,
        label: str,
        timeout_s: float | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> str:
        """What `program` (of this folder) says in the disk's place, under the disk's lock, which is
        its first own argument. For engine.storage.templates.
        """
        lock = place.lock(self._installation)
        try:
            done = self._ssh.run_locked(
                lock,
                self._program(program, place, lock, *arguments),
                timeout_s=timeout_s or self._settings.disk_timeout_s,
                on_output=on_output,
                label=label,
            )
        except CommandFailed as error:
            raise self._explain_locked(error, place.pool_path, step) from error
        return done.text

    def run_plain(
        self, program: str, *arguments: str, where: str, step: str, label: str, timeout_s: float
    ) -> str:
        """What a program says that changes nothing. `where`: the pool's path it is about."""
        try:
            done = self._ssh.run(
                ["sh", "-c", program, programs.CREATED_WITH, *arguments],
                timeout_s=timeout_s,
                label=label,
            )
        except CommandFailed as error:
            raise explain(error, self._at(where), step) from error
        return done.text

    def copy_layer(
        self, path: str, source: str, backing: str | None, on_progress: Callable[[float], None]
    ) -> DiskFacts:
        """A copy of a disk of ours, of its own layer alone, on top of the same backing file."""
        place = split_disk_path(path)
        split_disk_path(source)
        new = place.unpublished(secrets.token_hex(8))

        def watch(chunk: bytes) -> None:
            percent = qemu_img.parse_progress(chunk)
            if percent is not None:
                on_progress(percent)

        facts = self._make(
            place,
            new,
            qemu_img.rewrite(source, new, qemu_img.Rewrite(backing)),
            backing=source,
            timeout_s=self._settings.convert_timeout_s,
            on_output=watch,
        )
        return self._require_backing(facts, backing)

    def _make(
        self,
        place: DiskPlace,
        new: str,
        argv: Sequence[str],
        *,
        backing: str = "",
        grow: str = "",
        need: int = 0,
        timeout_s: float | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> DiskFacts:
        lock = place.lock(self._installation)
        is_copy = on_output is not None
        answer = "info" if is_copy else str(qemu_img.HEADER_BYTES)
        own = (lock, new, backing, grow, str(need or ""), answer)
        try:
            done = self._ssh.run_locked(
                lock,
                self._program(programs.MAKE, place, *own, *argv),
                timeout_s=timeout_s or self._settings.disk_timeout_s,
                on_output=on_output,
                label=" ".join(argv),
            )
        except CommandFailed as error:
            if error.exit_status == programs.NO_ROOM:
                raise self._no_room(place, need, error) from error
            raise self._explain_locked(error, place.pool_path, "create") from error
        return self._read(done.text, "create") if is_copy else self._read_head(place, done.stdout)

    def _read_head(self, place: DiskPlace, head: bytes) -> DiskFacts:
        try:
            facts = qemu_img.parse_header(place.path, head)
        except ValueError as error:
            raise Terminal(
                Reason.DISK_FAILED, f"{error}.", step="create", command=f"head {place.path}"
            ) from error
        return DiskFacts(facts.path, facts.backing, facts.virtual_size)

    def _program(self, program: str, place: DiskPlace, *arguments: str) -> list[str]:
        where = (place.pool_path, place.domain_id, place.disk_id, self._installation)
        return ["sh", "-c", program, programs.CREATED_WITH, *where, *arguments]

    def _marker(self, pool_path: str, pool_id: str, recorded: str | None, may_make: str) -> str:
        check_pool_path(pool_path)
        locks = locks_folder(pool_path, self._installation)
        marker = json.dumps(
            {"installation": self._installation, "path_id": str(uuid.uuid4()), "pool": pool_id},
            sort_keys=True,
        )
        try:
            done = self._ssh.run(
                [
                    *("sh", "-c", programs.MARK, programs.CREATED_WITH),
                    *(pool_path, marker, self._installation, locks, may_make),
                ],
                timeout_s=self._settings.call_timeout_s,
                label=f"cat {pool_path}/.isard-storage.json",
            )
        except CommandFailed as error:
            raise explain(error, self._at(pool_path), "storage") from error
        where = self._at(pool_path)
        try:
            found = json.loads(done.text)
            installation, path_id = str(found["installation"]), str(found["path_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise WrongStorage(
                f"The marker of {where} cannot be read. Nothing was touched.", answer=done.text
            ) from error
        if installation != self._installation:
            raise foreign(where)
        if recorded is not None and path_id != recorded:
            raise WrongStorage(
                f"{where} is another storage than the one this installation used there. "
                "Mount the right one; nothing was touched."
            )
        return path_id

    def _read(self, answer: str, step: str) -> DiskFacts:
        try:
            # What qemu-img printed of its progress comes before.
            facts = qemu_img.parse_info(answer[max(0, answer.find("{")) :])
        except ValueError as error:
            raise Terminal(
                Reason.DISK_FAILED, f"{error}.", step=step, command="qemu-img info", answer=answer
            ) from error
        return DiskFacts(facts.path, facts.backing, facts.virtual_size, facts.actual_size)

    def _require_backing(self, facts: DiskFacts, backing: str | None) -> DiskFacts:
        """The postcondition: a file that was there already must be the one that was asked for."""
        if facts.backing != backing:
            raise Terminal(
                Reason.DISK_FAILED,
                f"There is a file {facts.path} already, and it is "
                + (f"based on {facts.backing}." if facts.backing else "not based on anything."),
                step="create",
            )
        return facts

    def _explain_locked(self, error: CommandFailed, pool_path: str, step: str) -> EngineError:
        """Without the folder of locks nothing was run: the marker says why it is not there."""
        if error.exit_status == GUARD_NO_LOCK:
            self._marker(pool_path, "", None, "no")
            return WrongStorage(
                f"The folder of locks in {self._at(pool_path)} is gone; it will be made again.",
                answer=error.answer,
            )
        return explain(error, self._at(pool_path), step)

    def _no_room(self, place: DiskPlace, need: int, error: CommandFailed) -> Transient:
        free = int(error.answer) if error.answer.isdigit() else 0
        return Transient(
            Reason.NO_SPACE,
            f"There is no free space for it in {self._at(place.pool_path)}: it may take "
            f"{need / qemu_img.GIB:.2f} GiB, and {free / qemu_img.GIB:.2f} GiB are free.",
            step="space",
            command=error.command,
            answer=error.answer,
            retry_after_s=60.0,
        )

    def _at(self, pool_path: str) -> str:
        return f"{pool_path} on {self._ssh.address}"
