"""Long work on disk files of a disk host: copies made, compared and put in place.

A DiskHost that can also make a new file out of a disk of ours. Each step is one program under the
lock of the disk it writes, can be called off, and is harmless when cut off: until `replace` or
`publish` nothing that anybody uses has changed, and after it the new file is whole. Called by
engine.reconcilers.task_work.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from db.states import Reason
from engine.errors import CommandFailed, EngineError, Terminal
from engine.storage import programs, qemu_img, work_programs
from engine.storage.disks import DiskFacts, DiskHost
from engine.storage.paths import DiskPlace, check_pool_path, split_disk_path
from engine.storage.qemu_img import GIB, ImageFacts


@dataclass(frozen=True)
class Watch:
    """Who looks on: told how far it is (percent), and asked whether to go on."""

    on_progress: Callable[[float], None] = lambda percent: None
    is_stopped: Callable[[], bool] = lambda: False

    def hear(self, chunk: bytes) -> None:
        percent = qemu_img.parse_progress(chunk)
        if percent is not None:
            self.on_progress(percent)


NOBODY = Watch()


class DiskWork(DiskHost):
    """Any thread may call."""

    def look_chain(self, path: str) -> list[ImageFacts]:
        """The disk and all that it is based on, the oldest last."""
        argv = qemu_img.info(path, chain=True)
        answer = self._touch(split_disk_path(path), argv, "look")
        try:
            return qemu_img.parse_chain(answer)
        except ValueError as error:
            raise _unreadable(error, argv, answer) from error

    def measure(self, path: str, *, flat: bool) -> int:
        """The bytes that a copy may take."""
        argv = qemu_img.measure(path, flat=flat)
        answer = self._touch(split_disk_path(path), argv, "measure")
        try:
            return qemu_img.parse_measure(answer)
        except ValueError as error:
            raise _unreadable(error, argv, answer) from error

    def copy(
        self, source: str, path: str, how: qemu_img.Rewrite | None, need: int, watch: Watch = NOBODY
    ) -> str:
        """Write `source` anew beside `path` (None: the very same file), and say under which token.
        Nothing is in place yet. Raises Terminal(NoSpace) before a byte is written.
        """
        split_disk_path(source)
        if how is not None and how.backing is not None:
            split_disk_path(how.backing)
        token = secrets.token_hex(8)
        new = split_disk_path(path).unpublished(token)
        argv = (
            qemu_img.copy_file(source, new) if how is None else qemu_img.rewrite(source, new, how)
        )
        self.make_beside(path, token, argv, need, watch)
        return token

    def make_beside(
        self, path: str, token: str, argv: Sequence[str], need: int, watch: Watch = NOBODY
    ) -> None:
        place = split_disk_path(path)
        lock, new = place.lock(self._installation), place.unpublished(token)
        try:
            self._ssh.run_locked(
                lock,
                self._program(work_programs.COPY, place, lock, new, str(need), *argv),
                timeout_s=self._settings.task_timeout_s,
                on_output=watch.hear,
                is_stopped=watch.is_stopped,
                label=" ".join(argv),
            )
        except CommandFailed as error:
            if error.exit_status == work_programs.NO_SPACE:
                raise no_space(self._at(place.pool_path), need, error.answer) from error
            raise self._explain_locked(error, place.pool_path, "copy") from error

    def require_same(self, one: str, path: str, token: str, watch: Watch = NOBODY) -> None:
        """A guest would see the same on the disk `one` and on the copy, or Terminal."""
        argv = qemu_img.compare(one, split_disk_path(path).unpublished(token))
        self._compare(argv, one, path, watch)

    def _compare(self, argv: Sequence[str], one: str, path: str, watch: Watch) -> None:
        place = split_disk_path(path)
        try:
            self._ssh.run_locked(
                place.lock(self._installation),
                argv,
                timeout_s=self._settings.task_timeout_s,
                on_output=watch.hear,
                is_stopped=watch.is_stopped,
                label=" ".join(argv),
            )
        except CommandFailed as error:
            if error.exit_status != 1:
                raise self._explain_locked(error, place.pool_path, "compare") from error
            raise Terminal(
                Reason.DISK_FAILED,
                f"The copy of {one} is not the same as the disk; it was thrown away.",
                step="compare",
                command=error.command,
                answer=error.answer,
            ) from error

    def replace(self, path: str, token: str) -> DiskFacts:
        """Put the copy in the disk's place, in one step. Raises Terminal where the disk was written
        to since, and Transient(InUse) while somebody writes.
        """
        place = split_disk_path(path)
        new = place.unpublished(token)
        return self._put(work_programs.REPLACE, place, "replace", new)

    def publish(self, path: str, token: str, beside: str | None = None) -> DiskFacts:
        """Give the copy its name, which nothing must have yet. `beside`: the disk that it is a copy
        of; UEFI's variables are taken from there.
        """
        place = split_disk_path(path)
        folder = split_disk_path(beside).folder if beside else ""
        return self._put(work_programs.PUBLISH, place, "publish", place.unpublished(token), folder)

    def is_near(self, path: str, pool_path: str) -> bool:
        """Whether the pool's path is on the disk's own filesystem: then nothing need be copied."""
        check_pool_path(pool_path)
        place = split_disk_path(path)
        argv = ["stat", "-c", "%d", "--", place.path, pool_path]
        return len(set(self._touch(place, argv, "look").split())) == 1

    def link(self, source: str, path: str) -> str:
        """A second name for the same file, beside `path`: the copy that costs nothing."""
        split_disk_path(source)
        token = secrets.token_hex(8)
        new = split_disk_path(path).unpublished(token)
        self.make_beside(path, token, ["ln", "-T", "--", source, new], 0)
        return token

    def discard(self, path: str) -> None:
        """Remove what was made beside it and never put in place."""
        place = split_disk_path(path)
        self._locked(place, work_programs.DISCARD, "discard")

    def resize(self, path: str, size: int) -> DiskFacts:
        """Grow in place; a disk of that size already is left alone."""
        place = split_disk_path(path)
        facts = self.look(path)
        if facts is None:
            raise _missing(path)
        if facts.virtual_size > size:
            raise Terminal(
                Reason.INVALID_ROW,
                f"The disk has {facts.virtual_size / GIB:g} GiB already: disks only grow.",
                step="resize",
            )
        if facts.virtual_size < size:
            self._locked(place, work_programs.TOUCH, "resize", *qemu_img.resize(path, size))
            facts = self.look(path)
        if facts is None or facts.virtual_size != size:
            raise Terminal(Reason.DISK_FAILED, f"{path} did not get its new size.", step="resize")
        return facts

    def rebase(self, path: str, backing: str) -> DiskFacts:
        """The same disk upon the same file under another name. Raises Transient(InUse) while it is
        open, and Terminal(DiskMissing) where that file is not there.
        """
        place = split_disk_path(path)
        split_disk_path(backing)
        argv = qemu_img.rebase(path, backing)
        facts = self._put(work_programs.REBASE, place, "rebase", backing, *argv)
        return self._require_backing(facts, backing)

    def check(self, path: str, *, repair: bool, watch: Watch = NOBODY) -> dict[str, int]:
        """What `qemu-img check` finds. Broken disks are an answer, no error."""
        place = split_disk_path(path)
        argv = qemu_img.check(path, repair=repair)
        done = self._ssh.run_locked(
            place.lock(self._installation),
            self._program(work_programs.TOUCH, place, *argv),
            timeout_s=self._settings.task_timeout_s,
            is_stopped=watch.is_stopped,
            check=False,
            label=" ".join(argv),
        )
        if done.exit_status not in (0, 2, 3):
            error = CommandFailed(
                argv,
                done.exit_status,
                command=" ".join(argv),
                answer=done.error_text or done.text.strip(),
            )
            raise self._explain_work(error, place, "check")
        try:
            return qemu_img.parse_check(done.text)
        except ValueError as error:
            raise _unreadable(error, argv, done.text) from error

    def _put(self, program: str, place: DiskPlace, step: str, *arguments: str) -> DiskFacts:
        return self._read(self._locked(place, program, step, *arguments), step)

    def _locked(self, place: DiskPlace, program: str, step: str, *arguments: str) -> str:
        try:
            done = self._ssh.run_locked(
                place.lock(self._installation),
                self._program(program, place, *arguments),
                timeout_s=self._settings.disk_timeout_s,
                label=f"{step} {place.path}",
            )
        except CommandFailed as error:
            raise self._explain_work(error, place, step) from error
        return done.text

    def _touch(self, place: DiskPlace, argv: Sequence[str], step: str) -> str:
        try:
            done = self._ssh.run(
                self._program(work_programs.TOUCH, place, *argv),
                timeout_s=self._settings.disk_timeout_s,
                label=" ".join(argv),
            )
        except CommandFailed as error:
            raise self._explain_work(error, place, step) from error
        return done.text

    def _explain_work(self, error: CommandFailed, place: DiskPlace, step: str) -> EngineError:
        if error.exit_status == work_programs.STALE:
            return Terminal(
                Reason.IN_USE,
                f"{place.path} was written to while it was copied: the copy was thrown away and "
                "the disk is as it was. Order it again.",
                step=step,
            )
        if error.exit_status == work_programs.NO_SPACE:
            return no_space(self._at(place.pool_path), 0, error.answer)
        if error.exit_status == work_programs.EXISTS:
            return Terminal(
                Reason.DISK_FAILED,
                f"There is a file {place.path} already, and it is not touched.",
                step=step,
                answer=error.answer,
            )
        if error.exit_status == programs.NOT_THERE:
            return _missing(place.path)
        return self._explain_locked(error, place.pool_path, step)


def no_space(where: str, need: int, free: str) -> Terminal:
    has = int(free) / GIB if free.isdigit() else 0.0
    return Terminal(
        Reason.NO_SPACE,
        f"This may take {need / GIB:.2f} GiB in {where}, where {has:.2f} GiB are free. "
        "Nothing was changed.",
        step="space",
    )


def _missing(path: str) -> Terminal:
    return Terminal(Reason.DISK_MISSING, f"The disk {path} is not there.", step="look")


def _unreadable(error: ValueError, argv: Sequence[str], answer: str) -> Terminal:
    return Terminal(
        Reason.DISK_FAILED, f"{error}.", step="look", command=" ".join(argv), answer=answer
    )
