"""Disks of ours, written as images that other programs read, into the folder of a medium.

Made under the medium's own unfinished name, under its lock, and published by the media operations,
so a medium that is deleted meanwhile takes it along. Called by engine.reconcilers.task_export.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import CommandFailed
from engine.storage import work_programs
from engine.storage.faults import explain
from engine.storage.media_paths import MediaPlace
from engine.storage.paths import split_disk_path
from engine.storage.programs import CREATED_WITH
from engine.storage.work import NOBODY, DiskWork, Watch, no_space

EXTENSIONS = {"qcow2": "qcow2", "raw": "img", "vmdk": "vmdk", "vdi": "vdi", "ova": "ova"}
OPTIONS: dict[str, Sequence[str]] = {
    "qcow2": ("-O", "qcow2", "-c"),
    "raw": ("-O", "raw"),
    "vmdk": ("-O", "vmdk", "-o", "subformat=streamOptimized"),
    "vdi": ("-O", "vdi"),
}
USTAR_MAX = 8 * 1024**3


class ExportWork(DiskWork):
    """Any thread may call."""

    def export(
        self, path: str, format: str, place: MediaPlace, need: int, watch: Watch = NOBODY
    ) -> None:
        """The disk with all it is based on, as one file of that format."""
        split_disk_path(path)
        argv = ["qemu-img", "convert", "-p", "-f", "qcow2", *OPTIONS[format], path]
        self._run_export(
            work_programs.EXPORT,
            place,
            watch,
            " ".join(argv),
            str(need),
            *argv,
            place.unfinished,
        )

    def stage(
        self, path: str, name: str, place: MediaPlace, need: int, watch: Watch = NOBODY
    ) -> int:
        """One disk of an OVA, beside it. Its size."""
        split_disk_path(path)
        argv = ["qemu-img", "convert", "-p", "-f", "qcow2", *OPTIONS["vmdk"], path]
        answer = self._run_export(
            work_programs.STAGE, place, watch, " ".join(argv), str(need), name, *argv
        )
        return int(answer.split()[-1])

    def pack(
        self, ovf: str, names: Sequence[str], sizes: Sequence[int], place: MediaPlace, need: int
    ) -> None:
        """The staged disks and their description, in one archive."""
        format = "ustar" if max(sizes) < USTAR_MAX else "gnu"
        self._run_export(work_programs.PACK, place, NOBODY, "tar", str(need), format, ovf, *names)

    def withdraw(self, place: MediaPlace) -> None:
        """Remove what was made and never published."""
        self._run_export(work_programs.WITHDRAW, place, NOBODY, f"rm {place.unfinished}")

    def _run_export(
        self, program: str, place: MediaPlace, watch: Watch, label: str, *arguments: str
    ) -> str:
        where = (place.pool_path, place.media_id, self._installation)
        try:
            done = self._ssh.run_locked(
                place.lock(self._installation),
                ["sh", "-c", program, CREATED_WITH, *where, *arguments],
                timeout_s=self._settings.task_timeout_s,
                on_output=watch.hear,
                is_stopped=watch.is_stopped,
                label=label,
            )
        except CommandFailed as error:
            if error.exit_status == work_programs.NO_SPACE:
                need = int(arguments[0]) if arguments else 0
                raise no_space(self._at(place.pool_path), need, error.answer) from error
            raise explain(error, self._at(place.pool_path), "export") from error
        return done.text
