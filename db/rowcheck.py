"""Judges rows when they are read: the database is an open door, and a script may have written
anything.

`check_domain`, `check_hypervisor`, `check_pool`, `check_interface` and `check_media` say what is
wrong with a row (which field, why) or None. The engine reports it in `observed` (reason InvalidRow)
and does nothing else with that row; no path, XML or command is ever taken from a row on trust. Also
the bounds that webapp's requests obey, so both doors refuse the same things.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from db.sentences import explain, pattern
from db.urls import URL_MAX, read_url

NAME_MAX = 80
VCPUS_MAX = 512
MEMORY_MIB_MIN, MEMORY_MIB_MAX = 16, 16 * 1024 * 1024
SHA256 = pattern(r"^[0-9A-Fa-f]{64}$", "give 64 hexadecimal digits")
SLUG = pattern(
    r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$",
    "use up to 64 plain letters, digits, dots, dashes and underscores, beginning and ending with a "
    "letter or digit",
)
UUID = pattern(
    r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    "it must be a UUID in small letters",
)
DISK_ID = r"^[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?$"
MAC = pattern(
    r"^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$", "write it as six pairs of digits, as in 52:54:00:12:34:56"
)
PATH = pattern(
    r"^/[A-Za-z0-9._+@=/ -]*$", "give a path that begins with / and has no unusual characters"
)
HOSTNAME = pattern(
    r"^[A-Za-z0-9](?:[A-Za-z0-9.:_-]{0,252})$",
    "give a name or an IP address alone, as in kvm-2.example or 192.168.0.114",
)
USER_NAME = pattern(
    r"^[a-z_][a-z0-9_-]{0,31}$",
    "give the name of a Linux user: small letters, digits, dashes and underscores",
)
FINGERPRINT = r"^SHA256:[A-Za-z0-9+/]{43}$"
"""Of an SSH host key, as ssh-keygen -l prints it."""

NO_MARKUP = "the signs < and > and control characters cannot be used here"

Slug = Annotated[str, StringConstraints(pattern=SLUG)]
UuidText = Annotated[str, StringConstraints(pattern=UUID)]
Name = Annotated[
    str,
    # Names are shown and sent to hypervisors as text: no control characters and nothing that looks
    # like markup.
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=NAME_MAX,
        pattern=pattern(r"^[^\x00-\x1f\x7f<>]+$", NO_MARKUP),
    ),
]
Description = Annotated[
    str,
    StringConstraints(
        max_length=1000, pattern=pattern(r"^[^\x00-\x08\x0b-\x1f\x7f<>]*$", NO_MARKUP)
    ),
]


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True)


class DiskModel(_Row):
    id: Annotated[str, StringConstraints(pattern=DISK_ID)] | None = None
    size_gib: float | None = Field(default=None, gt=0, le=65536)
    bus: Literal["virtio", "sata", "scsi", "ide"] = "virtio"


class InterfaceModel(_Row):
    id: Slug
    mac: Annotated[str, StringConstraints(pattern=MAC, to_lower=True)] | None = None


class DriveModel(_Row):
    """A drive for ISO or floppy images, with the medium that is in it."""

    id: UuidText | None = None


class SpecModel(_Row):
    vcpus: int = Field(default=1, ge=1, le=VCPUS_MAX)
    memory_mib: int = Field(default=512, ge=MEMORY_MIB_MIN, le=MEMORY_MIB_MAX)
    firmware: Literal["bios", "uefi"] = "bios"
    boot: list[Literal["disk", "cdrom", "network", "floppy"]] = Field(
        default=["disk"], max_length=4
    )
    disks: list[DiskModel] = Field(default_factory=list, max_length=16)
    media: list[DriveModel] = Field(default_factory=list, max_length=4)
    secure_boot: bool = False
    tpm: bool = False
    hyperv: bool = False
    clock: Literal["utc", "localtime"] = "utc"
    interfaces: list[InterfaceModel] = Field(default_factory=list, max_length=8)
    graphics: list[Literal["vnc", "spice"]] = Field(default=["vnc"], max_length=2)
    video: Literal["virtio", "qxl", "vga", "bochs", "none"] = "virtio"
    sound: Literal["none", "ich9", "ac97", "hda"] = "none"


class DesiredModel(_Row):
    state: Literal["stopped", "started", "paused", "deleted"]
    at: datetime | None = None


ORIGINS = ("template", "desktop", "image", "media", "task")


class OriginModel(_Row):
    template: UuidText | None = None
    desktop: UuidText | None = None
    image: Annotated[str, StringConstraints(pattern=PATH, max_length=1024)] | None = None
    media: UuidText | None = None
    task: UuidText | None = None
    """The task that makes its disks (duplicate, import)."""
    size_gib: float | None = Field(default=None, gt=0, le=65536)


class PlacementModel(_Row):
    pool: Slug = "default"
    forced_hypervisor: Slug | None = None
    favourite_hypervisor: Slug | None = None


class DomainModel(_Row):
    id: UuidText
    kind: Literal["desktop", "template", "base"]
    name: Name
    user: Slug
    group: Slug
    category: Slug
    origin: OriginModel
    spec: SpecModel = Field(default_factory=SpecModel)
    placement: PlacementModel = Field(default_factory=PlacementModel)
    desired: DesiredModel
    observed: dict[str, Any] = Field(default_factory=dict)


BALANCERS = ("free_memory", "round_robin", "least_cpu", "weighted")
"""engine/balancers.py says what each does."""
CPU_MODES = ("host-passthrough", "host-model", "maximum")
USES = ("bases", "templates", "groups", "media")
"""What the paths of a pool are for."""


class LimitsModel(BaseModel):
    """What a hypervisor may take, and its share. A misspelt limit would bind nobody: refused."""

    model_config = ConfigDict(extra="forbid")

    memory_mib: int | None = Field(default=None, ge=0, le=2**30)
    memory_ratio: float | None = Field(default=None, gt=0, le=10)
    """Memory that may be promised for each MiB there is."""
    vcpus: int | None = Field(default=None, ge=0, le=100_000)
    cpu_ratio: float | None = Field(default=None, gt=0, le=100)
    """Virtual processors for each CPU there is."""
    domains: int | None = Field(default=None, ge=0, le=100_000)
    weight: int | None = Field(default=None, ge=0, le=1000)


class MediaSourceModel(_Row):
    url: Annotated[str, StringConstraints(min_length=1, max_length=URL_MAX)] | None = None
    sha256: Annotated[str, StringConstraints(pattern=SHA256, to_lower=True)] | None = None
    upload: UuidText | None = None
    task: UuidText | None = None
    """The task that writes its file (export)."""
    size: int | None = Field(default=None, gt=0, le=2**50)


class MediaDesiredModel(_Row):
    state: Literal["available", "absent", "deleted"]
    at: datetime | None = None


class MediaModel(_Row):
    id: UuidText
    kind: Literal["iso", "floppy", "disk"]
    name: Name
    user: Slug
    pool: Slug = "default"
    source: MediaSourceModel
    desired: MediaDesiredModel


class HypervisorDesiredModel(_Row):
    state: Literal["enabled", "disabled", "maintenance", "deleted"]
    at: datetime | None = None


class HypervisorModel(_Row):
    id: Slug
    hostname: Annotated[str, StringConstraints(pattern=HOSTNAME)]
    port: int = Field(default=22, ge=1, le=65535)
    user: Annotated[str, StringConstraints(pattern=USER_NAME)] = "root"
    host_key: str | None = Field(default=None, max_length=2000)
    capabilities: dict[str, bool] = Field(
        default_factory=lambda: {"hypervisor": True, "disk_operations": True}
    )
    pools: list[Slug] = Field(default=["default"])
    limits: LimitsModel | None = None
    desired: HypervisorDesiredModel


class PoolPathModel(_Row):
    path: Annotated[str, StringConstraints(pattern=PATH, max_length=512)]
    disk_operations: list[Slug] = Field(default_factory=list, max_length=256)
    weight: int = Field(default=100, ge=0, le=1000)


class AllowedModel(_Row):
    """Of each kind: False for nobody, an empty list for everybody, or the ids of some."""

    roles: Literal[False] | list[str] = False
    categories: Literal[False] | list[str] = False
    groups: Literal[False] | list[str] = False
    users: Literal[False] | list[str] = False


class PoolModel(_Row):
    id: Slug
    name: Name | None = None
    description: Description = ""
    paths: dict[Literal["bases", "templates", "groups", "media"], list[PoolPathModel]]
    balancer: Literal["free_memory", "round_robin", "least_cpu", "weighted"] = "free_memory"
    cpu_mode: Literal["host-passthrough", "host-model", "maximum"] | None = None
    allowed: AllowedModel | None = None


NETWORK_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$"
BRIDGE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$"


class NetworkModel(_Row):
    """A row of table `interfaces`."""

    id: Slug
    name: Name | None = None
    description: Description = ""
    kind: Literal["network", "bridge", "isolated"] = "network"
    network: Annotated[str, StringConstraints(pattern=NETWORK_NAME)] | None = None
    bridge: Annotated[str, StringConstraints(pattern=BRIDGE_NAME)] | None = None
    model: Literal["virtio", "e1000"] = "virtio"
    addresses: Literal["dhcp", "first", "any"] | None = None
    allowed: AllowedModel | None = None


@dataclass(frozen=True)
class RowProblem:
    """`field` is the dotted path in the row; `why` a sentence."""

    field: str
    why: str

    @property
    def message(self) -> str:
        return f"The row's field {self.field!r} is wrong: {self.why}."


def check_domain(row: dict[str, Any]) -> RowProblem | None:
    problem = _check(DomainModel, row)
    if problem:
        return problem
    origins = [key for key in ORIGINS if row["origin"].get(key)]
    if len(origins) != 1:
        return RowProblem(
            "origin", f"exactly one of {', '.join(ORIGINS[:-1])} or {ORIGINS[-1]} must be given"
        )
    if row["kind"] != "desktop" and row["desired"]["state"] in ("started", "paused"):
        return RowProblem("desired.state", f"a {row['kind']} is never {row['desired']['state']}")
    disk_ids = [
        disk.get("id") for disk in (row.get("spec") or {}).get("disks") or [] if disk.get("id")
    ]
    if len(disk_ids) != len(set(disk_ids)):
        return RowProblem("spec.disks", "two disks have the same id")
    return None


def check_hypervisor(row: dict[str, Any]) -> RowProblem | None:
    return _check(HypervisorModel, row)


def check_pool(row: dict[str, Any]) -> RowProblem | None:
    """Paths are plain and absolute, and no two of them lie in each other: what is made for one use
    would be found under another.
    """
    problem = _check(PoolModel, row)
    if problem:
        return problem
    seen: dict[str, str] = {}
    for use, entries in row["paths"].items():
        for at, entry in enumerate(entries):
            field, path = f"paths.{use}.{at}.path", entry["path"]
            if not is_plain_path(path):
                return RowProblem(field, f"{path!r} is not a plain path of a folder")
            for other, where in seen.items():
                if path == other:
                    return RowProblem(field, f"{path} is listed already, for {where}")
                if is_below(path, other) or is_below(other, path):
                    return RowProblem(field, f"{path} and {other} ({where}) lie in each other")
            seen[path] = use
    return None


def check_interface(row: dict[str, Any]) -> RowProblem | None:
    problem = _check(NetworkModel, row)
    if problem:
        return problem
    if row.get("kind") == "bridge" and not row.get("bridge"):
        return RowProblem("bridge", "a bridge of the hosts must be named")
    return None


def is_plain_path(path: str) -> bool:
    """Absolute, and nothing in it that would mean another one: no `..`, no `//`."""
    plain = re.fullmatch(PATH, path) is not None and posixpath.normpath(path) == path
    return plain and path != "/" and not path.startswith("//")


def is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def paths_of(row: Mapping[str, Any] | None, use: str | None = None) -> list[Mapping[str, Any]]:
    """The paths a pool's row lists (for one use, or all), whatever else is wrong with the row."""
    paths = row.get("paths") if row else None
    if not isinstance(paths, Mapping):
        return []
    lists = [paths.get(use)] if use else list(paths.values())
    return [
        entry
        for entries in lists
        if isinstance(entries, list)
        for entry in entries
        if isinstance(entry, Mapping) and isinstance(entry.get("path"), str)
    ]


def check_media(row: dict[str, Any]) -> RowProblem | None:
    problem = _check(MediaModel, row)
    if problem:
        return problem
    source = row["source"]
    if sum(bool(source.get(key)) for key in ("url", "upload", "task")) != 1:
        return RowProblem("source", "exactly one of url, upload or task must be given")
    if source.get("url"):
        try:
            read_url(source["url"])
        except ValueError as error:
            return RowProblem("source.url", str(error))
    return None


def is_slug(text: str) -> bool:
    return re.fullmatch(SLUG, text) is not None


def is_uuid(text: str) -> bool:
    return re.fullmatch(UUID, text) is not None


def _check(model: type[_Row], row: dict[str, Any]) -> RowProblem | None:
    try:
        model.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        return RowProblem(field or "row", explain(first))
    return None
