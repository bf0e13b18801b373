"""The rows of one desktop, template or base: its row in `domains`, the ledger of its disks, its
console and its picture. The fields that all rows share are in db/documents.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from db.documents import ActivityField, DesiredField, FailureField


class ObservedDisk(TypedDict, total=False):
    id: str
    path: str
    backing: str | None
    size: int
    """Virtual size in bytes."""


class ObservedInterface(TypedDict, total=False):
    id: str
    mac: str
    address: str


class ObservedDomain(TypedDict, total=False):
    state: str
    activity: ActivityField | None
    hypervisor: str | None
    """Where it runs, or is being started (placement is written before createXML)."""
    reason: str | None
    message: str | None
    at: datetime
    started_at: datetime | None
    for_: Any
    """Stored under the key `for`: {state, at} of the last wish that was finished."""
    failure: FailureField | None
    epoch: int
    disks: list[ObservedDisk]
    interfaces: list[ObservedInterface]
    queue: dict[str, Any]
    """{position, of, since} while it waits for room: its place among those of its pool that do."""
    viewer: dict[str, Any] | None
    """{"ports": {"vnc": 5900}, "hypervisor": id} while running."""


class Disk(TypedDict, total=False):
    id: str
    size_gib: float
    bus: str


class Interface(TypedDict, total=False):
    id: str
    """An id of table `interfaces`."""
    mac: str


class Spec(TypedDict, total=False):
    vcpus: int
    memory_mib: int
    firmware: str
    """bios | uefi"""
    boot: list[str]
    disks: list[Disk]
    media: list[dict[str, Any]]
    """Drives, each {"id": a medium's or None where it is empty}. Left out: the medium it is
    installed from is in its one drive.
    """
    secure_boot: bool
    """With UEFI: only signed systems start."""
    tpm: bool
    """A TPM 2.0, emulated; what is in it lasts as long as the desktop runs."""
    hyperv: bool
    """Tell a Windows guest that it is a guest (it is then faster); under KVM alone."""
    clock: str
    """utc | localtime"""
    interfaces: list[Interface]
    graphics: list[str]
    video: str
    sound: str
    xml: str


class Domain(TypedDict, total=False):
    """Table `domains`: desktops, templates and bases. `id` is the libvirt UUID and name."""

    id: str
    kind: str
    name: str
    description: str
    icon: str
    os: str
    user: str
    group: str
    category: str
    created_at: datetime
    accessed_at: datetime
    origin: dict[str, Any]
    """{"template": id} | {"image": path or url} | {"media": id, "size_gib": n} | {"desktop": id} |
    {"task": id of the task that makes its disks}
    """
    parents: list[str]
    spec: Spec
    placement: dict[str, Any]
    allowed: dict[str, Any]
    """{roles, categories, groups, users}: each False (nobody), [] (everybody) or a list of ids.
    Templates only.
    """
    restart_on_failure: bool
    ephemeral: dict[str, Any] | None
    viewers: dict[str, Any]
    desired: DesiredField
    observed: ObservedDomain


class DiskRecord(TypedDict, total=False):
    """Table `disks`: the engine's ledger of disk files. A disk is created only where no record says
    `made`.

    Written before the file is made (`making`), after it is published (`made`) and before it goes
    (`deleting`), so that an emptied `observed` can never lead to a new disk in place of one that is
    missing.
    """

    id: str
    """`<domain id>/<disk id>`"""
    domain: str
    disk: str
    path: str
    pool: str
    backing: str | None
    state: str
    size: int
    epoch: int
    at: datetime


class Console(TypedDict, total=False):
    """Table `consoles` (secret): `id` is the domain's; a new password at each start."""

    id: str
    password: str
    hypervisor: str
    ports: dict[str, int]
    at: datetime


class Thumbnail(TypedDict, total=False):
    id: str
    png: bytes
    at: datetime


class Interest(TypedDict, total=False):
    """Table `interests`: somebody looks at this domain's thumbnail until `expires_at`. Written by
    webapp.
    """

    id: str
    expires_at: datetime
