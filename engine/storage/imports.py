"""Images from outside, made into disks of ours: qcow2, raw, VMDK, VDI, and the disks of an OVA.

What an image is, is read from its own bytes on the host, never from a name, and the one format
found is the one qemu-img is told. What would have QEMU open further files (a backing file, a data
file, a VMDK that only describes others) is refused before QEMU sees it, and again no backing file
is opened when it is read. Called by engine.reconcilers.task_images.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from db.states import Reason
from engine.errors import CommandFailed, Terminal
from engine.storage import images, qemu_img, work_programs
from engine.storage.ovf import MEMBER
from engine.storage.paths import split_disk_path
from engine.storage.programs import CREATED_WITH
from engine.storage.work import NOBODY, DiskWork, Watch

MEMBERS_MAX = 16
IN_LITTLE = ["prlimit", "--as=8589934592"]
"""The image is a stranger's: reading it takes no more memory than this."""


@dataclass(frozen=True)
class Image:
    """An image that was looked at and found harmless. `size`: of its file."""

    path: str
    format: str
    size: int

    @property
    def spec(self) -> str:
        """As qemu-img is told to open it, and nothing else with it."""
        node: dict[str, object] = {
            "driver": self.format,
            "read-only": True,
            "file": {"driver": "file", "filename": self.path},
        }
        if self.format in ("qcow2", "vmdk"):
            node["backing"] = None
        return "json:" + json.dumps(node)


class ImportWork(DiskWork):
    """Any thread may call."""

    def recognise(self, path: str) -> Image:
        """What the file is. Raises Terminal(NotAnImage) for what is not taken."""
        limits = (images.HEAD_BYTES, images.VOLUME_AT, images.VOLUME_BYTES)
        answer = self._say(work_programs.PROBE, path, *map(str, limits), label=f"head {path}")
        size, head, volume = [*answer.split("\n"), "", "", ""][:3]
        found = images.recognise(
            "disk", int(size), base64.b64decode(head), base64.b64decode(volume)
        )
        if found.objection is not None:
            raise refused(found.objection)
        return Image(path, found.format, int(size))

    def list_members(self, path: str) -> list[str]:
        """The disks in an OVA, in its order. Only plain names: nothing with a folder in it."""
        answer = self._say(work_programs.MEMBERS, path, label=f"tar -t {path}")
        names = [name for name in answer.split("\n") if MEMBER.fullmatch(name)]
        if not names or len(names) > MEMBERS_MAX or len(set(names)) != len(names):
            raise refused("its archive holds no disks (.vmdk) that can be told apart")
        return names

    def unpack(self, ova: str, member: str, path: str, need: int, watch: Watch = NOBODY) -> Image:
        """One disk of an OVA, beside the disk it becomes, looked at. `discard` removes it."""
        place = split_disk_path(path)
        lock, unpacked = place.lock(self._installation), place.unpacked
        argv = [lock, unpacked, str(need), ova, member]
        try:
            self._ssh.run_locked(
                lock,
                self._program(work_programs.UNPACK, place, *argv),
                timeout_s=self._settings.task_timeout_s,
                is_stopped=watch.is_stopped,
                label=f"tar -x {member}",
            )
        except CommandFailed as error:
            if error.exit_status == work_programs.TOO_LARGE:
                raise refused(f"{member} in it is larger than the whole archive") from error
            raise self._explain_work(error, place, "unpack") from error
        image = self.recognise(unpacked)
        if image.format != "vmdk":
            raise refused(f"{member} in it is no VMDK")
        return image

    def measure_image(self, image: Image) -> int:
        """The bytes that a disk made of it may take."""
        argv = [*IN_LITTLE, "qemu-img", "measure", "--output=json", "-O", "qcow2", image.spec]
        return qemu_img.parse_measure(self._ask(argv, image))

    def take_over(self, image: Image, path: str, need: int, watch: Watch = NOBODY) -> str:
        """A copy of the image as a disk beside `path`; under which token."""
        token = secrets.token_hex(8)
        new = split_disk_path(path).unpublished(token)
        argv = [*IN_LITTLE, "qemu-img", "convert", "-p", "-O", "qcow2", image.spec, new]
        self.make_beside(path, token, argv, need, watch)
        return token

    def require_same_image(
        self, image: Image, path: str, token: str, watch: Watch = NOBODY
    ) -> None:
        argv = ["qemu-img", "compare", "-p", "-F", "qcow2", image.spec]
        self._compare([*argv, split_disk_path(path).unpublished(token)], image.path, path, watch)

    def _ask(self, argv: Sequence[str], image: Image) -> str:
        try:
            done = self._ssh.run(
                argv, timeout_s=self._settings.disk_timeout_s, label="qemu-img measure"
            )
        except CommandFailed as error:
            raise refused(f"qemu-img cannot read it ({error.message})") from error
        return done.text

    def _say(self, program: str, path: str, *arguments: str, label: str) -> str:
        try:
            done = self._ssh.run(
                ["sh", "-c", program, CREATED_WITH, path, *arguments],
                timeout_s=self._settings.disk_timeout_s,
                label=label,
            )
        except CommandFailed as error:
            raise Terminal(
                Reason.DISK_MISSING,
                f"{path} cannot be read on {self._ssh.address}.",
                step="look",
                command=error.command,
                answer=error.answer,
            ) from error
        return done.text


def refused(objection: str) -> Terminal:
    return Terminal(Reason.NOT_AN_IMAGE, f"The image is refused: {objection}.", step="look")
