"""Image files of a host that a disk is to be made of: looked at and measured before they are
copied.

Such a file is a stranger's. What it is, is read from its first bytes, and only one that names no
further file is shown to qemu-img, as the one format found, in little memory and time. Called by
engine.storage.disks.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from db.states import Reason
from engine.errors import CommandFailed, Terminal
from engine.hypervisor.ssh import SshSession
from engine.storage import images, programs, qemu_img
from engine.storage.paths import is_inside

IN_LITTLE = ("prlimit", "--as=8589934592")
AT_ONCE = (*IN_LITTLE, "--cpu=30")


def examine(ssh: SshSession, source: str, roots: Sequence[str]) -> qemu_img.ImageFacts:
    """The image's facts, with the path it really has. Raises Terminal unless it is harmless and in
    one of `roots`.
    """
    if not any(is_inside(source, root) for root in roots):
        raise _outside(source, roots)
    limits = (images.HEAD_BYTES, images.VOLUME_AT, images.VOLUME_BYTES)
    try:
        done = ssh.run(
            [
                "sh",
                "-c",
                programs.EXAMINE,
                programs.CREATED_WITH,
                source,
                *map(str, limits),
                *roots,
            ],
            timeout_s=ssh.settings.call_timeout_s,
            label=f"head {source}",
        )
    except CommandFailed as error:
        if error.exit_status == programs.OUTSIDE:
            raise _outside(source, roots) from error
        if error.exit_status == programs.NOT_THERE:
            raise Terminal(
                Reason.DISK_MISSING, f"There is no image {source} on {ssh.address}.", step="image"
            ) from error
        raise _unreadable(source, error) from error
    # A name may hold line breaks; the three lines after it do not.
    real, size, head, volume = done.text.removesuffix("\n").rsplit("\n", 3)
    found = images.recognise("disk", int(size), base64.b64decode(head), base64.b64decode(volume))
    objection = found.objection
    if objection is None and found.format not in qemu_img.IMAGE_FORMATS:
        objection = f"it is of format {found.format}; convert it to qcow2 first"
    if objection is not None:
        raise _refused(source, objection)
    return _ask_qemu(ssh, source, real, found.format)


def convert(image: qemu_img.ImageFacts, path: str) -> list[str]:
    """The command that makes a disk of it."""
    return [*IN_LITTLE, *qemu_img.convert(image.path, image.format, path)]


def measure(ssh: SshSession, image: qemu_img.ImageFacts) -> int:
    """The bytes that a disk made of it takes at most: of a packed one more than its file."""
    argv = [*IN_LITTLE, *qemu_img.measure_image(image.path, image.format)]
    try:
        done = ssh.run(argv, timeout_s=ssh.settings.disk_timeout_s, label="qemu-img measure")
        return qemu_img.parse_measure(done.text)
    except CommandFailed as error:
        raise _unreadable(image.path, error) from error
    except ValueError as error:
        raise _refused(image.path, str(error)) from error


def _ask_qemu(ssh: SshSession, source: str, real: str, format: str) -> qemu_img.ImageFacts:
    """What qemu-img finds beyond the header that was judged."""
    argv = [*AT_ONCE, "qemu-img", "info", "-U", "-f", format, "--output=json", "--", real]
    try:
        done = ssh.run(argv, timeout_s=ssh.settings.call_timeout_s, label=f"qemu-img info {source}")
        facts = qemu_img.parse_info(done.text)
    except CommandFailed as error:
        raise _unreadable(source, error) from error
    except ValueError as error:
        raise _refused(source, str(error)) from error
    objection = qemu_img.find_objection(facts)
    if objection is None and facts.path != real:
        objection = "its name is not a plain one"
    if objection is not None:
        raise _refused(source, objection)
    return facts


def _outside(source: str, roots: Sequence[str]) -> Terminal:
    return Terminal(
        Reason.INVALID_ROW,
        f"The image {source} is not in a folder from which images may be taken "
        f"({', '.join(roots)}).",
        step="image",
    )


def _refused(source: str, objection: str) -> Terminal:
    return Terminal(
        Reason.DISK_FAILED, f"The image {source} is refused: {objection}.", step="image"
    )


def _unreadable(source: str, error: CommandFailed) -> Terminal:
    return Terminal(
        Reason.DISK_FAILED,
        f"The image {source} cannot be read.",
        step="image",
        command=error.command,
        answer=error.answer,
    )
