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
from db.rowcheck import DISK_ID, NAME_MAX, Name
from db.states import Kind, MediaDesired
from webapp.auth.permissions import Person
from webapp.extensions import database
from webapp.services import audit, desktops, pools
from webapp.tidy import as_mapping, as_text

Row = dict[str, Any]


class CopyWish(BaseModel):
    """What a request says of a copy."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name


class ImportWish(BaseModel):
    """What a request says of a desktop or template made of an image."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name
    kind: Literal["desktop", "template"] = "desktop"
    firmware: Literal["bios", "uefi"] = "bios"
    vcpus: Annotated[int, Field(ge=1, le=64)] = 2
    memory_mib: Annotated[int, Field(ge=16, le=262144)] = 2048


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


def add_import(user: Person, medium: Row, task_id: str, wish: ImportWish) -> str:
    """With the hardware that was asked for. Its id."""
    row = _row(user, wish.kind, wish.name, task_id)
    row["spec"] = {
        "vcpus": wish.vcpus,
        "memory_mib": wish.memory_mib,
        "firmware": wish.firmware,
        "interfaces": [{"id": "default"}],
    }
    row["placement"] = {"pool": as_text(medium.get("pool")) or "default"}
    return _add(user, row)


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
