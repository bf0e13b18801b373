"""qemu-img's command lines and answers. Pure.

Formats are always named, never guessed: a raw disk whose guest wrote a qcow2 header into it would
otherwise be read as one, with whatever backing file that header names. For the same reason images
from outside are judged before they are copied. Called by engine.storage.disks.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

IMAGE_FORMATS = frozenset({"qcow2", "raw"})
"""What may be taken over from outside. The others (vmdk above all) can name further files to read.
"""
PROGRESS = re.compile(rb"\((\d+\.\d+)/100%\)")
HEADER = struct.Struct(">4sIQIIQ")
"""Magic, version, backing file's name (where, how long), bits of a cluster, bytes of the disk."""
HEADER_BYTES = 8192
GIB = 1024**3
SECTOR = 512


@dataclass(frozen=True)
class ImageFacts:
    """Sizes are bytes. `backing` is the path as qemu-img resolves it."""

    path: str
    format: str
    virtual_size: int
    actual_size: int
    backing: str | None = None
    backing_format: str | None = None
    data_file: str | None = None
    encrypted: bool = False
    corrupt: bool = False


def create_overlay(path: str, backing: str, size_gib: float | None = None) -> list[str]:
    """A file that holds only what differs from `backing`. Its path comes last."""
    size = [] if size_gib is None else ["-o", f"size={to_bytes(size_gib)}"]
    return ["qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", "qcow2", *size, path]


def create_empty(path: str, size_gib: float) -> list[str]:
    return ["qemu-img", "create", "-q", "-f", "qcow2", path, str(to_bytes(size_gib))]


def convert(source: str, source_format: str, path: str) -> list[str]:
    """A copy of the image alone, with progress on standard output; a backing file named in it is
    not opened.
    """
    return ["qemu-img", "convert", "-p", "-O", "qcow2", _alone(source, source_format), path]


def measure_image(source: str, source_format: str) -> list[str]:
    """What `convert` will take."""
    return ["qemu-img", "measure", "--output=json", "-O", "qcow2", _alone(source, source_format)]


def _alone(source: str, source_format: str) -> str:
    """An image from outside as qemu-img is told to open it, and nothing else with it."""
    if source_format not in IMAGE_FORMATS:
        raise ValueError(f"images of format {source_format!r} are not taken")
    node: dict[str, Any] = {
        "driver": source_format,
        "read-only": True,
        "file": {"driver": "file", "filename": source},
    }
    if source_format == "qcow2":
        node["backing"] = None
    return "json:" + json.dumps(node)


@dataclass(frozen=True)
class Rewrite:
    """How a disk of ours is written anew. `backing` None: with all that it is based on."""

    backing: str | None = None
    compress: bool = False
    preallocation: str = "off"


def rewrite(source: str, path: str, how: Rewrite) -> list[str]:
    """A copy of a disk of ours without what is only zeroes, with progress on standard output. With
    a backing file the copy holds only what differs from it, as the source does.
    """
    options = []
    if how.preallocation != "off":
        options += ["-o", f"preallocation={how.preallocation}"]
    if how.backing is not None:
        options += ["-B", how.backing, "-o", "backing_fmt=qcow2"]
    if how.compress:
        options.append("-c")
    return ["qemu-img", "convert", "-p", "-f", "qcow2", "-O", "qcow2", *options, source, path]


def copy_file(source: str, path: str) -> list[str]:
    """The file as it is, byte for byte, holes left out, with progress."""
    return ["qemu-img", "convert", "-p", "-f", "raw", "-O", "raw", source, path]


def compare(one: str, other: str) -> list[str]:
    """Whether a guest would see the same on both, with progress. Exit status 1: it would not."""
    return ["qemu-img", "compare", "-p", "-f", "qcow2", "-F", "qcow2", one, other]


def measure(path: str, *, flat: bool) -> list[str]:
    """What a copy will take, of the disk alone or with all that it is based on."""
    if flat:
        return ["qemu-img", "measure", "--output=json", "-f", "qcow2", "-O", "qcow2", path]
    node = {
        "driver": "qcow2",
        "read-only": True,
        "backing": None,
        "file": {"driver": "file", "filename": path},
    }
    source = "json:" + json.dumps(node)
    return ["qemu-img", "measure", "--output=json", "-O", "qcow2", source]


def resize(path: str, size: int) -> list[str]:
    return ["qemu-img", "resize", "-q", "-f", "qcow2", path, str(size)]


def rebase(path: str, backing: str) -> list[str]:
    """Another name for the same backing file: what a guest sees is not looked at."""
    return ["qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", backing, path]


def info(path: str, *, shared: bool = True, chain: bool = False) -> list[str]:
    """Of a disk of ours. `shared` reads an image that a guest is writing; without it such an image
    is refused.
    """
    options = [*(["-U"] if shared else []), *(["--backing-chain"] if chain else [])]
    return ["qemu-img", "info", "-f", "qcow2", *options, "--output=json", path]


def check(path: str, *, repair: bool = False) -> list[str]:
    options = ["-r", "all"] if repair else []
    return ["qemu-img", "check", "-f", "qcow2", *options, "--output=json", path]


def to_bytes(size_gib: float) -> int:
    """Whole sectors, rounded up. Raises ValueError."""
    size = -(-math.ceil(size_gib * GIB) // SECTOR) * SECTOR
    if size <= 0:
        raise ValueError(f"{size_gib} GiB is no size for a disk")
    return size


def parse_header(path: str, head: bytes) -> ImageFacts:
    """From the first HEADER_BYTES of a qcow2 file of ours, whose backing file's name is whole: much
    quicker than a process that opens the image. Raises ValueError.
    """
    if len(head) < HEADER.size or not head.startswith(b"QFI\xfb"):
        raise ValueError(f"{path} is no qcow2 file")
    _magic, _version, at, length, _bits, size = HEADER.unpack_from(head)
    if at + length > len(head):
        raise ValueError(f"{path} has no backing file's name where it should be")
    backing = head[at : at + length].decode(errors="replace") if at else None
    return ImageFacts(path, "qcow2", size, 0, backing)


def parse_info(answer: str) -> ImageFacts:
    """Of `info` without a chain. Raises ValueError."""
    return _facts(_load(answer, dict))


def parse_chain(answer: str) -> list[ImageFacts]:
    """Of `info` with the chain: the file itself first, the oldest last. Raises ValueError."""
    return [_facts(entry) for entry in _load(answer, list)]


def parse_measure(answer: str) -> int:
    """The bytes that a copy takes at most. Raises ValueError."""
    required = _load(answer, dict).get("required")
    if not isinstance(required, int) or isinstance(required, bool):
        raise ValueError("qemu-img's answer lacks 'required'")
    return required


def parse_check(answer: str) -> dict[str, int]:
    """What `check` found: always `corruptions`, `leaks` and `errors`, and what was repaired.
    Raises ValueError.
    """
    # A repair is told twice: before and after. The last answer counts.
    start = answer.rfind("\n{")
    found = _load(answer[start + 1 :] if start >= 0 else answer, dict)
    return {
        "corruptions": int(found.get("corruptions") or 0),
        "leaks": int(found.get("leaks") or 0),
        "errors": int(found.get("check-errors") or 0),
        "corruptions_fixed": int(found.get("corruptions-fixed") or 0),
        "leaks_fixed": int(found.get("leaks-fixed") or 0),
    }


def parse_progress(chunk: bytes) -> float | None:
    """The last percentage in a piece of output, if any; pieces end anywhere."""
    found = PROGRESS.findall(chunk)
    return min(100.0, float(found[-1])) if found else None


def find_objection(facts: ImageFacts) -> str | None:
    """Why an image from outside must not be taken, or None. A sentence's end."""
    if facts.format not in IMAGE_FORMATS:
        return f"it is of format {facts.format}; convert it to qcow2 first"
    if facts.backing is not None:
        return "it is based on another file; flatten it first (qemu-img convert)"
    if facts.data_file is not None:
        return "it keeps its data in another file; convert it to plain qcow2 first"
    if facts.encrypted:
        return "it is encrypted"
    if facts.corrupt:
        return "it is marked as corrupt; repair it first (qemu-img check -r)"
    if facts.virtual_size <= 0:
        return "it is empty"
    return None


def _load(answer: str, kind: type) -> Any:
    try:
        value = json.loads(answer)
    except ValueError as error:
        raise ValueError(f"qemu-img's answer is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise ValueError("qemu-img's answer has another shape than expected")
    return value


def _facts(entry: Mapping[str, Any]) -> ImageFacts:
    specific = (entry.get("format-specific") or {}).get("data") or {}
    try:
        return ImageFacts(
            path=entry["filename"],
            format=entry["format"],
            virtual_size=int(entry["virtual-size"]),
            actual_size=int(entry.get("actual-size") or 0),
            backing=entry.get("full-backing-filename") or entry.get("backing-filename"),
            backing_format=entry.get("backing-filename-format"),
            data_file=specific.get("data-file"),
            encrypted=bool(entry.get("encrypted")),
            corrupt=bool(specific.get("corrupt")),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"qemu-img's answer lacks {error}") from error
