"""Where disk files lie, and what a row leaves out. Pure.

A path is always computed from the pool's path and two ids, `<pool path>/<domain id>/<disk
id>.qcow2`, and a path that comes from anywhere else must have exactly that shape before anything is
done with it. What a script left out of a row is derived from the row's id, so it is the same
whenever and wherever it is derived. Called by the reconcilers and by engine.storage.disks.
"""

from __future__ import annotations

import hashlib
import math
import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.rowcheck import DISK_ID, PATH, is_uuid
from db.states import Kind, Reason
from engine.errors import Terminal

MARKER_NAME = ".isard-storage.json"
VARIABLES = "nvram.fd"
"""UEFI's, beside the first disk; removed by engine.storage.programs with the last one."""
SUFFIX = ".qcow2"

USES = ("bases", "templates", "groups", "media")
USE_OF_KIND: dict[Kind, str] = {
    Kind.DESKTOP: "groups",
    Kind.TEMPLATE: "templates",
    Kind.BASE: "bases",
}


@dataclass(frozen=True)
class DiskPlace:
    """A disk file, taken apart."""

    pool_path: str
    domain_id: str
    disk_id: str

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.disk_id}{SUFFIX}"

    @property
    def folder(self) -> str:
        return f"{self.pool_path}/{self.domain_id}"

    def lock(self, installation: str) -> str:
        """The file that whoever makes or removes the disk holds locked, on any host."""
        return f"{locks_folder(self.pool_path, installation)}/{self.domain_id}.{self.disk_id}"

    @property
    def unpacked(self) -> str:
        """A foreign image that the disk is made of, where it had to be taken out of an archive."""
        return f"{self.folder}/.{self.disk_id}.unpacked"

    def unpublished(self, token: str) -> str:
        """A name for the file while it is being made. A new token each time."""
        return f"{self.folder}/.{self.disk_id}.{token}.part"


@dataclass(frozen=True)
class DiskPlan:
    """A disk the row should have. `size_gib` None: as large as what it is made from."""

    id: str
    bus: str
    size_gib: float | None


def locks_folder(pool_path: str, installation: str) -> str:
    """Made with the marker, so it is nowhere but on this installation's own storage."""
    return f"{pool_path}/.isard-locks/{installation}"


def disk_path(pool_path: str, domain_id: str, disk_id: str) -> str:
    """Raises Terminal(InvalidRow) for an id or a pool path that cannot be part of a path."""
    return place_disk(pool_path, domain_id, disk_id).path


def place_disk(pool_path: str, domain_id: str, disk_id: str) -> DiskPlace:
    check_pool_path(pool_path)
    if not is_uuid(domain_id):
        raise _invalid(f"{domain_id!r} is not a domain's id")
    if not re.fullmatch(DISK_ID, disk_id):
        raise _invalid(f"{disk_id!r} is not a disk's id")
    return DiskPlace(pool_path, domain_id, disk_id)


def split_disk_path(path: str) -> DiskPlace:
    """The parts of a path of ours. Raises Terminal(InvalidRow) for any other shape."""
    folder, _, name = path.rpartition("/")
    pool_path, _, domain_id = folder.rpartition("/")
    if not name.endswith(SUFFIX):
        raise _invalid(f"{path!r} is not the path of a disk")
    return place_disk(pool_path, domain_id, name.removesuffix(SUFFIX))


def split_variables_path(path: str) -> DiskPlace | None:
    """Where UEFI's variables lie without a disk beside them: the place of a disk that never is
    there, which is deleted with all that is in the folder of a domain without disks. None for the
    path of anything else.
    """
    folder, _, name = path.rpartition("/")
    pool_path, _, domain_id = folder.rpartition("/")
    return place_disk(pool_path, domain_id, "nvram") if name == VARIABLES else None


def check_disk_path(path: str, domain_id: str, pool_paths: Collection[str]) -> DiskPlace:
    """A path that a row recorded: inside one of the pool's paths, and carrying the row's id."""
    place = split_disk_path(path)
    if place.domain_id != domain_id:
        raise _invalid(f"the disk {path!r} does not belong to {domain_id}")
    if place.pool_path not in pool_paths:
        raise _invalid(f"the disk {path!r} is outside the pool's paths")
    return place


def check_pool_path(pool_path: str) -> None:
    """Absolute, plain, and with nothing that would mean something else: no `..`, no `//`."""
    plain = re.fullmatch(PATH, pool_path) and posixpath.normpath(pool_path) == pool_path
    if not plain or pool_path.startswith("//") or pool_path == "/":
        raise _invalid(f"{pool_path!r} is not a storage path")


def is_inside(path: str, folder: str) -> bool:
    """Textually below the folder; both are absolute."""
    inner, outer = posixpath.normpath(path), posixpath.normpath(folder)
    return inner.startswith("/") and inner.startswith(outer.rstrip("/") + "/")


def derive_disks(row: Mapping[str, Any]) -> list[DiskPlan]:
    """The row's disks, in order; a row that names none has one. Ids that are left out count up."""
    disks: Sequence[Mapping[str, Any]] = (row.get("spec") or {}).get("disks") or [{}]
    named = {disk["id"] for disk in disks if disk.get("id")}
    free = (name for at in range(len(disks) + len(named)) if (name := f"disk{at}") not in named)
    origin_size = (row.get("origin") or {}).get("size_gib")
    return [
        DiskPlan(
            id=disk.get("id") or next(free),
            bus=disk.get("bus") or "virtio",
            size_gib=disk.get("size_gib") or (origin_size if at == 0 else None),
        )
        for at, disk in enumerate(disks)
    ]


def larger_size(size_gib: float | None, below: object) -> float | None:
    """The size of a disk built upon one of `below` bytes; None: as large as that. Less would cut
    off the end of what is seen: a template may have grown since somebody wrote down its size.
    """
    if size_gib is None or (isinstance(below, int | float) and size_gib * 1024**3 <= below):
        return None
    return size_gib


def derive_mac(domain_id: str, index: int) -> str:
    """Locally administered, unicast, and the same each time; 40 bits make two alike unlikely."""
    digest = hashlib.sha256(f"{domain_id}/{index}".encode()).digest()
    return "52:" + ":".join(f"{byte:02x}" for byte in digest[:5])


def choose_pool_path(
    pool: Mapping[str, Any], use: str, key: str, disk_hosts: Collection[str] | None = None
) -> Mapping[str, Any] | None:
    """The path of `pool` for this use, spread by weight; the same key always gets the same one.

    `disk_hosts`: only paths that one of these hosts works on. None where there is no path. A change
    of weights moves only as many keys as it must (rendezvous hashing), and only those whose disks
    were never made: the ledger knows the others.
    """
    paths: Sequence[Mapping[str, Any]] = (pool.get("paths") or {}).get(use) or []
    fitting = [
        path
        for path in paths
        if (path.get("weight", 100) or 0) > 0
        and (disk_hosts is None or set(path.get("disk_operations") or disk_hosts) & set(disk_hosts))
    ]
    return max(fitting, key=lambda path: _score(path, key), default=None)


def _score(path: Mapping[str, Any], key: str) -> float:
    digest = hashlib.sha256(f"{key}\n{path.get('path')}".encode()).digest()
    share = (int.from_bytes(digest[:8]) + 1) / 2**64
    return float(path.get("weight", 100)) / -math.log(min(share, 1 - 2**-53))


def _invalid(why: str) -> Terminal:
    return Terminal(Reason.INVALID_ROW, f"{why[0].upper()}{why[1:]}.", step="paths")
