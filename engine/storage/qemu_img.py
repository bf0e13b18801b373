"""qemu-img's command lines and answers. Pure.

Formats are always named, never guessed: a raw disk whose guest wrote a qcow2 header into it would
otherwise be read as one, with whatever backing file that header names. For the same reason images
from outside are judged before they are copied. Called by engine.storage.disks.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

IMAGE_FORMATS = frozenset({"qcow2", "raw"})
"""What may be taken over from outside. The others (vmdk above all) can name further files to read.
"""
PROGRESS = re.compile(rb"\((\d+\.\d+)/100%\)")
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
    """A file that holds only what differs from `backing`."""
    size = [] if size_gib is None else [str(to_bytes(size_gib))]
    return ["qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", "qcow2", path, *size]


def create_empty(path: str, size_gib: float) -> list[str]:
    return ["qemu-img", "create", "-q", "-f", "qcow2", path, str(to_bytes(size_gib))]


def convert(source: str, source_format: str, path: str) -> list[str]:
    """A copy of the image alone, with progress on standard output; a backing file named in it is
    not opened.
    """
    if source_format not in IMAGE_FORMATS:
        raise ValueError(f"images of format {source_format!r} are not taken")
    node: dict[str, Any] = {
        "driver": source_format,
        "read-only": True,
        "file": {"driver": "file", "filename": source},
    }
    if source_format == "qcow2":
        node["backing"] = None
    return ["qemu-img", "convert", "-p", "-O", "qcow2", "json:" + json.dumps(node), path]


def resize(path: str, size: int) -> list[str]:
    return ["qemu-img", "resize", "-q", "-f", "qcow2", path, str(size)]


def info(path: str, *, shared: bool = True, chain: bool = False) -> list[str]:
    """Of a disk of ours. `shared` reads an image that a guest is writing; without it such an image
    is refused.
    """
    options = [*(["-U"] if shared else []), *(["--backing-chain"] if chain else [])]
    return ["qemu-img", "info", "-f", "qcow2", *options, "--output=json", path]


def check(path: str) -> list[str]:
    return ["qemu-img", "check", "-q", "-f", "qcow2", "--output=json", path]


def to_bytes(size_gib: float) -> int:
    """Whole sectors, rounded up. Raises ValueError."""
    size = -(-math.ceil(size_gib * GIB) // SECTOR) * SECTOR
    if size <= 0:
        raise ValueError(f"{size_gib} GiB is no size for a disk")
    return size


def parse_info(answer: str) -> ImageFacts:
    """Of `info` without a chain. Raises ValueError."""
    return _facts(_load(answer, dict))


def parse_chain(answer: str) -> list[ImageFacts]:
    """Of `info` with the chain: the file itself first, the oldest last. Raises ValueError."""
    return [_facts(entry) for entry in _load(answer, list)]


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
