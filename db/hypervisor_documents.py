"""The shape of the rows of hypervisors and of their enrolment; see db/documents.py."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from db.documents import DesiredField


class Enrolment(TypedDict, total=False):
    """Table `enrolments` (secret): a host's one-time password, sealed for the engine alone.
    Written by webapp or script, opened by the engine, gone within two minutes.
    """

    id: str
    """The hypervisor's."""
    sealed: bytes
    """A libsodium sealed box of JSON, engine/hypervisor/enrolment_key.py: Order."""
    order: str
    """Any text of the writer's: `observed.enrolment.order` names it."""
    by: Any
    at: datetime
    expires_at: datetime


class ObservedEnrolment(TypedDict, total=False):
    """How the latest enrolment of a hypervisor goes."""

    state: str
    """One of states.EnrolmentState."""
    order: str
    reason: str | None
    message: str
    fingerprint: str | None
    """Of the key the host shows, once it is known."""
    host_key: str | None
    trusted: str | None
    """Why that key is trusted: accepted | fingerprint | first_use"""
    at: datetime


class ViewerTicketKeys(TypedDict, total=False):
    """Table `config`, row `viewer_tickets`: the public keys of viewer tickets, for hypervisors.
    Written by webapp at its start.
    """

    id: str
    keys: dict[str, str]
    """key id -> PEM"""


class EnrolmentKeyRow(TypedDict, total=False):
    """Table `engine`, row `enrolment_key`: what to seal passwords with, and the line that lets the
    engine in where it stands in a host's authorized_keys.
    """

    id: str
    public: str
    """X25519, base64"""
    ssh_key: str
    epoch: int


class HypervisorCheck(TypedDict, total=False):
    name: str
    title: str
    ok: bool
    level: str
    """ok | warning | failed. A warning keeps nothing from running; `ok` is false for both others.
    """
    message: str
    remedy: str
    duration_ms: float
    affects: str
    """virtualization | disk_operations | both | storage (only what lies on that path)"""


class HypervisorDrain(TypedDict, total=False):
    left: int
    of: int
    at: datetime | None
    """The `at` of the wish that it is emptied for."""


class StorageSpeed(TypedDict, total=False):
    path: str
    write_bytes_s: float | None
    read_bytes_s: float | None
    cached: bool
    """The cache could not be left out."""
    message: str
    """Why nothing was measured."""


class StorageSpeeds(TypedDict, total=False):
    for_: Any
    """Stored under the key `for`: the `measure.at` that is answered."""
    at: datetime
    is_measuring: bool
    paths: list[StorageSpeed]


class ObservedHypervisor(TypedDict, total=False):
    state: str
    virtualization: str
    """online | degraded (not with all its storage) | offline | error | off (not its kind)"""
    disk_operations: str
    reason: str | None
    message: str | None
    host_key_offered: str | None
    checks: list[HypervisorCheck]
    enrolment: ObservedEnrolment | None
    info: dict[str, Any]
    """cpu_model, cpus, memory_mib, libvirt_version, qemu_version, kvm, kvm_reason, hostname,
    emulator
    """
    drain: HypervisorDrain | None
    """While it is being emptied: in maintenance, or being deleted."""
    speeds: StorageSpeeds | None
    """Of its storage, when somebody last had them measured."""
    retry_at: datetime | None
    epoch: int
    at: datetime
    for_: Any


class Hypervisor(TypedDict, total=False):
    id: str
    hostname: str
    port: int
    user: str
    host_key: str | None
    """The accepted key, as `ssh-ed25519 AAAA…`."""
    description: str
    capabilities: dict[str, bool]
    pools: list[str]
    viewer: dict[str, Any]
    """{hostname (None: as the browser reached us), port (websocket proxy), nat_hostname,
    nat_offset, proxy}
    """
    limits: dict[str, Any]
    """{memory_mib, memory_ratio, vcpus, cpu_ratio, domains, weight}, see rowcheck.LimitsModel."""
    measure: dict[str, Any]
    """{"at": time, "by": …}: the wish to have its storage measured; a later `at` is a new one."""
    desired: DesiredField
    observed: ObservedHypervisor
