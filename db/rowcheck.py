"""Judges rows when they are read: the database is an open door, and a script may have written
anything.

`check_domain` and `check_hypervisor` say what is wrong with a row (which field, why) or None. The
engine reports it in `observed` (reason InvalidRow) and does nothing else with that row; no path,
XML or command is ever taken from a row on trust. Also the bounds that webapp's requests obey, so
both doors refuse the same things.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

NAME_MAX = 80
SLUG = r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$"
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
DISK_ID = r"^[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?$"
MAC = r"^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$"
PATH = r"^/[A-Za-z0-9._+@=/ -]*$"
HOSTNAME = r"^[A-Za-z0-9](?:[A-Za-z0-9.:_-]{0,252})$"

Slug = Annotated[str, StringConstraints(pattern=SLUG)]
UuidText = Annotated[str, StringConstraints(pattern=UUID)]
Name = Annotated[
    str,
    # Names are shown and sent to hypervisors as text: no control characters and nothing that looks
    # like markup.
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=NAME_MAX, pattern=r"^[^\x00-\x1f\x7f<>]+$"
    ),
]
Description = Annotated[
    str, StringConstraints(max_length=1000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f<>]*$")
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


class SpecModel(_Row):
    vcpus: int = Field(default=1, ge=1, le=512)
    memory_mib: int = Field(default=512, ge=16, le=16 * 1024 * 1024)
    firmware: Literal["bios", "uefi"] = "bios"
    boot: list[Literal["disk", "cdrom", "network", "floppy"]] = Field(
        default=["disk"], max_length=4
    )
    disks: list[DiskModel] = Field(default_factory=list, max_length=16)
    media: list[dict[str, Any]] = Field(default_factory=list, max_length=8)
    interfaces: list[InterfaceModel] = Field(default_factory=list, max_length=8)
    graphics: list[Literal["vnc", "spice"]] = Field(default=["vnc"], max_length=2)
    video: Literal["virtio", "qxl", "vga", "bochs", "none"] = "virtio"
    sound: Literal["none", "ich9", "ac97", "hda"] = "none"


class DesiredModel(_Row):
    state: Literal["stopped", "started", "paused", "deleted"]
    at: datetime | None = None


class OriginModel(_Row):
    template: UuidText | None = None
    desktop: UuidText | None = None
    image: Annotated[str, StringConstraints(pattern=PATH, max_length=1024)] | None = None
    media: UuidText | None = None
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


class HypervisorDesiredModel(_Row):
    state: Literal["enabled", "disabled", "maintenance", "deleted"]
    at: datetime | None = None


class HypervisorModel(_Row):
    id: Slug
    hostname: Annotated[str, StringConstraints(pattern=HOSTNAME)]
    port: int = Field(default=22, ge=1, le=65535)
    user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "root"
    host_key: str | None = Field(default=None, max_length=2000)
    capabilities: dict[str, bool] = Field(
        default_factory=lambda: {"hypervisor": True, "disk_operations": True}
    )
    pools: list[Slug] = Field(default=["default"])
    desired: HypervisorDesiredModel


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
    origins = [key for key in ("template", "desktop", "image", "media") if row["origin"].get(key)]
    if len(origins) != 1:
        return RowProblem(
            "origin", "exactly one of template, desktop, image or media must be given"
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


def is_slug(text: str) -> bool:
    return re.fullmatch(SLUG, text) is not None


def is_uuid(text: str) -> bool:
    return re.fullmatch(UUID, text) is not None


def _check(model: type[_Row], row: dict[str, Any]) -> RowProblem | None:
    try:
        model.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        return RowProblem(field or "row", first["msg"])
    return None
