"""The shape of the rows: the fields they share, and every row that has no file of its own.

Desktops and templates are in db/domain_documents.py, pools and networks in db/pool_documents.py,
hypervisors in db/hypervisor_documents.py, backups in db/backup_documents.py.

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


class ProgressField(TypedDict, total=False):
    """How far long work is. What is not known is left out."""

    percent: float
    bytes: int
    total_bytes: int
    speed_bytes_s: float
    eta_s: float


class HardwareField(TypedDict, total=False):
    """What the description (OVF) in an OVA states; None where it does not, or not sensibly."""

    name: str | None
    vcpus: int | None
    memory_mib: int | None
    firmware: str | None
    """bios | uefi"""
    os: str | None
    """In the words of the description."""
    controller: str | None
    """The first disk's: ide | sata | scsi | nvme | virtio."""
    disks: int
    """That an import takes from the archive."""
    notes: list[str]
    """Sentences on what was left out."""


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
    """iso | raw | qcow2 | vmdk | vdi | ova, as its first bytes say."""
    sha256: str | None
    hardware: HardwareField | None
    """Of an OVA, once available."""
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
