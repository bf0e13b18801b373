"""The shape of every row. This file is the truth; docs/rows.md is generated from it.

Written by: `desired`/`spec` and the rest of a row by webapp and scripts, `observed` by the engine
alone. Times are timezone-aware datetimes (ReQL TIME). All keys may be missing in a row a script
wrote: readers judge rows with `db/rowcheck.py` before they trust them, and what is left out is
derived (MAC, disk ids) and shown in `observed`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict


class DesiredField(TypedDict, total=False):
    state: str
    """One of states.Desired (domains), HypervisorDesired (hypervisors)."""
    at: datetime
    """When it was wished; a wish is new while (state, at) differs from `observed.for`."""
    by: Any
    """{"id": "user/<id>" | "schedule/<id>", "at": <the same at>} or a plain string from a script.
    """
    force: Any
    """The same `at`, or True from a script: power off at once instead of asking the guest."""


class ActivityField(TypedDict, total=False):
    name: str
    step: str
    deadline: datetime
    progress: float
    """Percent, 0-100, where it can be known."""


class FailureField(TypedDict, total=False):
    reason: str
    message: str
    step: str
    command: str
    answer: str
    terminal: bool
    retry_at: datetime
    attempts: int


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


class ProgressField(TypedDict, total=False):
    """How far long work is. What is not known is left out."""

    percent: float
    bytes: int
    total_bytes: int
    speed_bytes_s: float
    eta_s: float


class ObservedMedia(TypedDict, total=False):
    state: str
    """One of states.MediaState."""
    activity: ActivityField | None
    progress: ProgressField | None
    path: str | None
    pool: str
    hypervisor: str | None
    """The disk host that works on it, while one does."""
    size: int
    """Bytes on disk, once available."""
    format: str | None
    """iso | raw | qcow2, as its first bytes say."""
    sha256: str | None
    reason: str | None
    message: str | None
    failure: FailureField | None
    for_: Any
    epoch: int
    at: datetime


class Media(TypedDict, total=False):
    """Table `media`: ISO and floppy images and disk images, downloaded by a disk host or uploaded
    through webapp. File: `<pool path of media>/<id>/<id>.<iso|img|qcow2>`.
    """

    id: str
    kind: str
    """iso | floppy | disk"""
    name: str
    description: str
    user: str
    group: str
    category: str
    pool: str
    created_at: datetime
    source: dict[str, Any]
    """{"url": text, "sha256": text?} | {"upload": its own id, "size": bytes, "file": text}"""
    allowed: dict[str, Any]
    catalogue: dict[str, Any]
    """{"id", "version"} of the entry of the catalogue it came from."""
    desired: DesiredField
    """state: available | absent | deleted"""
    observed: ObservedMedia


class Upload(TypedDict, total=False):
    """Table `uploads` (secret): `id` is the medium's. Written by the webapp that holds the whole
    file, taken away by the engine when the medium is available or removed.
    """

    id: str
    url: str
    """Where the disk host fetches it from."""
    key: str
    """What the engine signs its tickets with (db/upload_tickets.py)."""
    size: int
    used: list[str]
    """The tickets that were shown already."""
    at: datetime


class ObservedTask(TypedDict, total=False):
    state: str
    """One of states.TaskState."""
    step: str
    progress: ProgressField | None
    reason: str | None
    message: str | None
    failure: FailureField | None
    hypervisor: str | None
    result: dict[str, Any]
    started_at: datetime | None
    at: datetime
    epoch: int


class Task(TypedDict, total=False):
    """Table `tasks`: one-shot orders with progress. Made by webapp or a script, done once by the
    engine; `target` is the id of the domain or the medium it works on.
    """

    id: str
    kind: str
    target: str
    args: dict[str, Any]
    user: str
    created_at: datetime
    desired: DesiredField
    """state: done | cancelled"""
    observed: ObservedTask


class PoolPath(TypedDict, total=False):
    path: str
    disk_operations: list[str]
    """The hosts that own it. None named: any host of the pool that works on disks."""
    weight: int


class ObservedPoolHost(TypedDict, total=False):
    id: str
    owner: bool
    """It works on the disks there; others only run desktops from them."""
    ok: bool
    message: str


class ObservedPoolPath(TypedDict, total=False):
    use: str
    path: str
    state: str
    """ok | degraded (some host does not have it) | failed (no host can work there)"""
    hosts: list[ObservedPoolHost]
    same_storage: bool | None
    """Its mark is the recorded one on every host that was looked at. None: it has no mark yet."""
    free_bytes: int | None
    size_bytes: int | None
    disks: int
    """In the ledger."""
    message: str
    remedy: str


class ObservedPool(TypedDict, total=False):
    state: str
    """ok | degraded | failed"""
    reason: str | None
    message: str | None
    paths: list[ObservedPoolPath]
    removed: list[dict[str, Any]]
    """{path, disks}: no longer listed, but disks lie there."""
    waiting: int
    epoch: int
    at: datetime


class Pool(TypedDict, total=False):
    """Table `hypervisors_pools`."""

    id: str
    name: str
    description: str
    paths: dict[str, list[PoolPath]]
    """bases, templates, groups, media -> paths"""
    balancer: str
    cpu_mode: str
    viewer: dict[str, Any]
    interfaces: list[str]
    allowed: dict[str, Any]
    """Whose desktops, templates and media may be in it, see Domain.allowed; left out: everybody's.
    """
    observed: ObservedPool


class Network(TypedDict, total=False):
    """Table `interfaces`: what a desktop's network card can be connected to."""

    id: str
    name: str
    description: str
    kind: str
    """network (one of libvirt's on the host) | bridge (of the host) | isolated (guests of one host
    among themselves)
    """
    network: str
    bridge: str
    model: str
    """virtio | e1000"""
    addresses: str
    """Which addresses a guest may use: dhcp (what it was lent) | first (the first it uses) | any.
    Its hardware address is always its own.
    """
    allowed: dict[str, Any]
    """Whose desktops may use it, see Domain.allowed."""


class User(TypedDict, total=False):
    """Table `users`; `id` is a slug fixed at creation (the login name)."""

    id: str
    name: str
    role: str
    group: str
    category: str
    enabled: bool
    created_at: datetime
    accessed_at: datetime
    sessions_epoch: int
    """Raised to end all sessions of the user (password change, disabling)."""
    preferences: dict[str, Any]


class Credential(TypedDict, total=False):
    """Table `credentials` (secret): `id` is the user's."""

    id: str
    argon2: str
    changed_at: datetime


class ApiToken(TypedDict, total=False):
    """Table `api_tokens` (secret): `id` is the SHA-256 of the token; the token itself is never
    stored.
    """

    id: str
    user: str
    name: str
    sessions_epoch: int
    created_at: datetime
    expires_at: datetime


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


class EngineLease(TypedDict, total=False):
    """Table `engine`, row `lease`. Judged by `counter` standing still on the reader's own clock,
    never by `at`.
    """

    id: str
    holder: str
    epoch: int
    counter: int
    at: datetime


class EngineTick(TypedDict, total=False):
    """Table `engine`, row `ticks`: each loop's last tick as seconds ago, written with the lease."""

    id: str
    holder: str
    loops: dict[str, Any]
    """name -> {"age_s": float, "restarts": int, "healthy": bool}"""
    at: datetime


class StatsWindow(TypedDict, total=False):
    """Tables `domain_windows` and `hypervisor_windows`: points over one stretch of time. The key,
    the steps and the metrics are in db/windows.py. Written softly by the engine, never backed up.
    """

    id: str
    """`<window>/<start of the stretch>/<subject>`"""
    domain: str
    """Or `hypervisor`."""
    window: str
    metrics: list[str]
    points: list[list[float | int | None]]
    """[seconds since 1970, a value for each metric]"""
    epoch: int


class Orphan(TypedDict, total=False):
    """Table `orphans`: a domain or file that belongs to no row. `ours` is false where it carries
    another installation. Facts are the engine's, noted anew at each look.
    """

    id: str
    """`<hypervisor>/<domain>` or the file's path"""
    kind: str
    """domain | file"""
    hypervisor: str
    path: str | None
    domain: str
    name: str
    macs: list[str]
    disks: list[str]
    size: int
    modified_at: datetime
    backing: str | None
    ours: bool
    message: str
    at: datetime
    """Since when it is listed."""
    desired: DesiredField
    """state: removed. Written by webapp or script; what is not ours is refused."""
    observed: dict[str, Any]
    """{reason, message, command, answer, for, at}: why the last wish was refused."""


class AuditEvent(TypedDict, total=False):
    """Table `events`: who asked what, and what came of it."""

    id: str
    at: datetime
    who: str
    what: str
    target: str
    detail: dict[str, Any]
