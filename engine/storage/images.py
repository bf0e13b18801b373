"""What a file is, by its first bytes. Pure.

A file that was fetched is looked at before any other program is let near it: an HTML page is no
ISO, an archive no disk, and a disk image that names further files (a backing file, a data file)
would have QEMU open those. qemu-img is asked only afterwards, about the one format found here.
Called by engine.storage.downloads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD_BYTES = 4096
VOLUME_AT = 0x8000
VOLUME_BYTES = 8192
FLOPPY_MAX_BYTES = 2949120
SECTOR = 512

TEXTS = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype html|html|head|body|\?xml)", re.I)
ARCHIVES: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!", "rar"),
)
DISKS: tuple[tuple[bytes, str], ...] = (
    (b"QFI\xfb", "qcow2"),
    (b"KDMV", "vmdk"),
    (b"COWD", "vmdk"),
    (b"# Disk DescriptorFile", "vmdk"),
    (b"conectix", "vhd"),
    (b"vhdxfile", "vhdx"),
    (b"QED\0", "qed"),
)
VDI = b"\x7f\x10\xda\xbe"
TAR = b"ustar"


@dataclass(frozen=True)
class Found:
    """`extension` is the one the file gets; an `objection` is a sentence's end, and a refusal."""

    format: str
    extension: str = ""
    objection: str | None = None


def recognise(kind: str, size: int, head: bytes, volume: bytes) -> Found:
    """`head`: its first HEAD_BYTES; `volume`: VOLUME_BYTES from VOLUME_AT; `kind`: the row's."""
    if size == 0:
        return Found("empty", objection="it is empty")
    format = _format(head, volume)
    if format == "html":
        return Found(format, objection="it is a web page, not an image: look at the address")
    if format in {name for _, name in ARCHIVES}:
        return Found(format, objection=f"it is packed ({format}): unpack it first")
    return {"iso": _as_iso, "floppy": _as_floppy, "disk": _as_disk}[kind](format, size, head)


def _format(head: bytes, volume: bytes) -> str:
    if TEXTS.match(head[:512]):
        return "html"
    for magic, name in (*ARCHIVES, *DISKS):
        if head.startswith(magic):
            return name
    if head[0x40:0x44] == VDI:
        return "vdi"
    if head[257:262] == TAR:
        return "ova" if head[:100].rstrip(b"\0").endswith(b".ovf") else "tar"
    # ISO 9660 and UDF say so at the same place, in one of the first volume descriptors.
    if any(volume[at + 1 : at + 6] in (b"CD001", b"BEA01") for at in (0, 2048, 4096)):
        return "iso"
    return "raw"


def _as_iso(format: str, size: int, head: bytes) -> Found:
    if format != "iso":
        return Found(format, objection=f"it is no ISO image but {_describe(format)}")
    return Found("iso", "iso")


def _as_floppy(format: str, size: int, head: bytes) -> Found:
    if format != "raw" or size > FLOPPY_MAX_BYTES or size % SECTOR:
        return Found(format, objection="it is no image of a floppy disk")
    return Found("raw", "img")


def _as_disk(format: str, size: int, head: bytes) -> Found:
    if format == "qcow2":
        return Found("qcow2", "qcow2", find_references(head))
    if format == "raw":
        return Found("raw", "img", "it has no whole sectors" if size % SECTOR else None)
    if format in ("vmdk", "vdi", "ova"):
        # To make a desktop of (docs/storage.md): QEMU itself is only given it then.
        return Found(format, format, find_vmdk_references(head) if format == "vmdk" else None)
    if format == "iso":
        return Found(format, objection="it is an ISO image, not a disk")
    return Found(format, objection=f"it is {_describe(format)}: convert it to qcow2 first")


def find_references(head: bytes) -> str | None:
    """Whether a qcow2 header names another file. A sentence's end."""
    if len(head) < 104:
        return "its header is cut short"
    version = int.from_bytes(head[4:8], "big")
    if version not in (2, 3):
        return f"it is of a version ({version}) nobody knows"
    if int.from_bytes(head[8:16], "big"):
        return "it is based on another file: flatten it first (qemu-img convert)"
    if int.from_bytes(head[32:36], "big"):
        return "it is encrypted"
    features = int.from_bytes(head[72:80], "big") if version == 3 else 0
    if features & 4:
        return "it keeps its data in another file: convert it to plain qcow2 first"
    if features & 2:
        return "it is marked as corrupt: repair it first (qemu-img check -r)"
    return None


def find_vmdk_references(head: bytes) -> str | None:
    """Whether a VMDK is more than this one file. A sentence's end."""
    if not head.startswith(b"KDMV"):
        return "it only describes other files: export it as one file (OVA or streamOptimized)"
    if not int.from_bytes(head[12:20], "little"):
        return "it only describes other files: export it as one file (OVA or streamOptimized)"
    return None


def _describe(format: str) -> str:
    return "an unknown kind of file" if format == "raw" else f"of format {format}"
