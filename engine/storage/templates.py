"""The files of a template that is made from a desktop, on a disk host.

Each method is one step, idempotent and checked like those of engine.storage.disks, on whose locks
and markers it stands. The order of the steps, and what is recorded between them, is in
engine/reconcilers/template_steps.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from db.states import Reason
from engine.errors import CommandFailed, Terminal, Transient
from engine.storage import qemu_img
from engine.storage import template_programs as programs
from engine.storage.disks import DiskFacts, DiskHost
from engine.storage.paths import split_disk_path

LEAKS_ONLY = 3
"""qemu-img check found clusters that nobody uses: room lost, no data."""
GIB = qemu_img.GIB


@dataclass(frozen=True)
class Survey:
    same_device: bool
    free_bytes: int


class TemplateFiles:
    def __init__(self, disks: DiskHost) -> None:
        self._disks = disks
        self._settings = disks.settings

    def inspect(self, path: str, backing: str | None) -> DiskFacts:
        """The desktop's disk: nobody has it open, its whole chain is there and made of our own
        files, it is free of errors and stands on what the ledger says.
        """
        answer = self._disks.run_in(
            split_disk_path(path),
            programs.ASK,
            *qemu_img.info(path, shared=False, chain=True),
            step="check",
            label=f"qemu-img info --backing-chain {path}",
        )
        chain = self._read_chain(answer, path)
        top = chain[0]
        if top.backing != backing:
            raise Terminal(
                Reason.DISK_FAILED,
                f"The disk {path} is based on {top.backing or 'nothing'}, "
                f"but the record says {backing or 'nothing'}.",
                step="check",
            )
        for layer in chain[1:]:
            split_disk_path(layer.path)
        if any(layer.corrupt or layer.data_file for layer in chain):
            raise Terminal(
                Reason.DISK_FAILED,
                f"The disk {path} or one below it is marked as corrupt: repair it first.",
                step="check",
            )
        self._check(path)
        return DiskFacts(top.path, top.backing, top.virtual_size, top.actual_size)

    def survey(self, source: str, pool_path: str) -> Survey:
        """Whether the desktop's file and the template's path are of one file system, and what is
        free there.
        """
        answer = self._disks.run_plain(
            programs.SURVEY,
            source,
            pool_path,
            where=pool_path,
            step="space",
            label=f"df {pool_path}",
            timeout_s=self._settings.call_timeout_s,
        ).split()
        return Survey(answer[0] == answer[1], int(answer[-1]))

    def require_space(self, pool_path: str, needed: int, free: int) -> None:
        if needed > free:
            raise Transient(
                Reason.NO_SPACE,
                f"The template needs {needed / GIB:.1f} GiB in {pool_path}, "
                f"where {free / GIB:.1f} GiB are free. Make room there.",
                step="space",
                retry_after_s=60.0,
            )

    def link(self, source: str, path: str) -> bool:
        """Give the desktop's file its second name. False where the file systems differ."""
        place = split_disk_path(path)
        try:
            self._disks.run_in(
                place, programs.LINK, source, step="link", label=f"ln {source} {path}"
            )
        except Transient as error:
            cause = error.__cause__
            if isinstance(cause, CommandFailed) and cause.exit_status == programs.NOT_LINKED:
                return False
            raise
        return True

    def copy(
        self, source: str, path: str, backing: str | None, on_progress: Callable[[float], None]
    ) -> None:
        self._disks.copy_layer(path, source, backing, on_progress)

    def copy_variables(self, source: str, path: str) -> None:
        """UEFI's variables lie beside a desktop's first disk, if it has any: boot entries and keys.
        The template gets a copy of its own, as do those made from it.
        """
        split_disk_path(source)
        self._disks.run_in(
            split_disk_path(path),
            programs.COPY_VARIABLES,
            source,
            step="variables",
            label=f"cp {source.rpartition('/')[0]}/nvram.fd",
        )

    def lay_over(self, path: str, template: str) -> None:
        """Make the overlay that will take the place of the desktop's disk, beside it."""
        place = split_disk_path(path)
        split_disk_path(template)
        new = f"{place.folder}/.{place.disk_id}.next"
        argv = qemu_img.create_overlay(new, template)
        self._disks.run_in(
            place, programs.LAY_OVER, template, *argv, step="overlay", label=" ".join(argv)
        )

    def switch(self, path: str, template: str, *, copied: bool) -> None:
        """Put the overlay in the place of the disk that the template has now."""
        place = split_disk_path(path)
        self._disks.run_in(
            place,
            programs.SWITCH,
            template,
            "yes" if copied else "no",
            step="switch",
            label=f"mv {place.folder}/.{place.disk_id}.next {path}",
        )

    def look(self, path: str) -> DiskFacts | None:
        return self._disks.look(path)

    def drop_overlay(self, path: str) -> None:
        place = split_disk_path(path)
        self._disks.run_in(
            place, programs.DROP_OVERLAY, step="undo", label=f"rm {place.folder}/.*.next"
        )

    def drop(self, path: str) -> None:
        """Take back the name, or the copy, that the template's disk had. The desktop's stays."""
        place = split_disk_path(path)
        self._disks.run_in(place, programs.DROP, step="undo", label=f"rm {path}")

    def _check(self, path: str) -> None:
        try:
            self._disks.run_in(
                split_disk_path(path),
                programs.ASK,
                *qemu_img.check(path),
                step="check",
                label=f"qemu-img check {path}",
                timeout_s=self._settings.convert_timeout_s,
            )
        except Transient as error:
            cause = error.__cause__
            status = cause.exit_status if isinstance(cause, CommandFailed) else 0
            if status == LEAKS_ONLY:
                return
            if error.reason == Reason.IN_USE or not isinstance(cause, CommandFailed):
                raise
            raise Terminal(
                Reason.DISK_FAILED,
                f"The disk {path} has errors. Repair it (qemu-img check -r all) and try again.",
                step="check",
                command=error.command,
                answer=error.answer,
            ) from error

    def _read_chain(self, answer: str, path: str) -> list[qemu_img.ImageFacts]:
        try:
            return qemu_img.parse_chain(answer)
        except ValueError as error:
            raise Terminal(
                Reason.DISK_FAILED, f"{path}: {error}.", step="check", answer=answer
            ) from error
