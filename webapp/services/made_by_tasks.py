"""Rows of what a task makes: copies, images taken over, and images written for others.

The row is written here and the disks are made by the engine, so each field keeps its one writer:
the row says `origin: {"task": id}` (a medium: `source`) and waits for the task of that id. Called
by `webapp.services.tasks` right before it writes the task.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from db import desired
from db.defaults import NOBODY
from db.rowcheck import DISK_ID, MEMORY_MIB_MIN, NAME_MAX, Name, Slug
from db.states import Kind, MediaDesired
from webapp.auth.permissions import Person
from webapp.described import (
    BUSES,
    IMPORT_MEMORY_MIB_MAX,
    IMPORT_VCPUS_MAX,
    Described,
    described_by,
)
from webapp.extensions import database
from webapp.services import audit, desktops, installs, pools
from webapp.tidy import as_mapping, as_text, tidy_media

Row = dict[str, Any]

USUAL: Row = {"vcpus": 2, "memory_mib": 2048, "firmware": "bios"}


class CopyWish(BaseModel):
    """What a request says of a copy."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name


class ImportWish(BaseModel):
    """What a request says of a desktop or template made of an image. What it leaves out is as the
    image's own description has it, else as the profile has it, else the usual.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name
    kind: Literal["desktop", "template"] = "desktop"
    os: Slug | Literal[""] | None = None
    """A profile's id. Empty: none, whatever the description says."""
    firmware: Literal["bios", "uefi"] | None = None
    vcpus: Annotated[int, Field(ge=1, le=IMPORT_VCPUS_MAX)] | None = None
    memory_mib: Annotated[int, Field(ge=MEMORY_MIB_MIN, le=IMPORT_MEMORY_MIB_MAX)] | None = None
    disk_bus: Literal["virtio", "sata"] | None = None


class ExportWish(BaseModel):
    """What a request says of an export."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name | None = None
    """None: as the desktop or template is called."""
    format: Literal["qcow2", "raw", "vmdk", "vdi", "ova"] = "qcow2"
    disk: Annotated[str, StringConstraints(pattern=DISK_ID)] | None = None


def add_export(user: Person, source: Row, task_id: str, wish: ExportWish) -> str:
    """The medium that the image becomes: its owner's alone. Its id."""
    name = wish.name or f"{as_text(source.get('name')) or 'Export'} ({wish.format})"
    row = {
        "id": str(uuid.uuid4()),
        "kind": "disk",
        "name": name[:NAME_MAX],
        "description": "",
        "user": user.id,
        "group": user.group,
        "category": user.category,
        "pool": as_mapping(source.get("placement")).get("pool") or "default",
        "source": {"task": task_id},
        "allowed": NOBODY,
    }
    pools.refuse_unshared(user, row["pool"], "pool")
    made = desired.create_media(database(), row, MediaDesired.AVAILABLE, user.actor)
    audit.record(user.actor, "media.create", f"media/{made['id']}", task=task_id)
    return str(made["id"])


def add_copy(user: Person, source: Row, task_id: str, wish: CopyWish) -> str:
    """Of a desktop a desktop, of a template a template, with the same hardware. Its id."""
    row = _row(user, str(source["kind"]), wish.name, task_id)
    for key in ("description", "icon", "os"):
        row[key] = as_text(source.get(key)) or ""
    row["spec"] = desktops.spec_from(source)
    row["placement"] = {"pool": as_mapping(source.get("placement")).get("pool") or "default"}
    return _add(user, row)


def add_import(user: Person, medium: Row, task_id: str, wish: ImportWish) -> Row:
    """With the hardware that was asked for. The task's arguments: the id of what is made, and what
    its disks are connected to.
    """
    described = described_by(tidy_media(medium)["observed"])
    profile = _find_profile(wish, described)
    spec, bus = _hardware(wish, described, profile)
    row = _row(user, wish.kind, wish.name, task_id)
    row["os"] = profile["name"] if profile else ""
    row["spec"] = spec
    row["placement"] = {"pool": as_text(medium.get("pool")) or "default"}
    return {"into": _add(user, row), "bus": bus}


def _find_profile(wish: ImportWish, described: Described) -> Row | None:
    """One that was asked for must be there; one that would suit need not."""
    if wish.os:
        return installs.find_profile(wish.os, "args.os")
    if wish.os is None and described.os:
        return next((one for one in installs.list_profiles() if one["id"] == described.os), None)
    return None


def _hardware(wish: ImportWish, described: Described, profile: Row | None) -> tuple[Row, str]:
    """(spec, bus). The spec names no disks: how many there are is found by the task."""
    known = profile["spec"] if profile else USUAL
    asked = {
        key: getattr(wish, key) or getattr(described, key) or known[key]
        for key in ("vcpus", "memory_mib", "firmware")
    }
    bus = wish.disk_bus or described.disk_bus
    if profile is None:
        return {**asked, "interfaces": [{"id": "default"}]}, bus or "virtio"
    spec = installs.spec_of(profile, asked)
    own = as_text(spec.pop("disks")[0].get("bus")) or ""
    return spec, bus or BUSES.get(own, "virtio")


def _row(user: Person, kind: str, name: str, task_id: str) -> Row:
    row = {
        "id": str(uuid.uuid4()),
        "kind": kind,
        "name": name,
        "description": "",
        "icon": "",
        "os": "",
        "user": user.id,
        "group": user.group,
        "category": user.category,
        "origin": {"task": task_id},
        "parents": [],
    }
    return row | ({} if kind == Kind.DESKTOP else {"allowed": NOBODY})


def _add(user: Person, row: Row) -> str:
    pools.refuse_unshared(user, row["placement"]["pool"], "pool")
    made = desired.create_domain(database(), row, user.actor)
    noun = "desktop" if row["kind"] == Kind.DESKTOP else "template"
    audit.record(user.actor, f"{noun}.create", f"domain/{made['id']}", task=row["origin"]["task"])
    return str(made["id"])
