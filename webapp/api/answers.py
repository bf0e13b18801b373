"""The shapes of what the API answers, for the OpenAPI document.

`webapp.payloads` builds the values; a test validates each against these, where an unknown or
missing field is an error. Fields only administrators get are optional here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from db.states import Action, Condition

State = Literal["absent", "stopped", "started", "paused", "unknown"]


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemDetails(Answer):
    """RFC 9457, with `reason`: one word a program can compare."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    field: str | None = None


class Token(Answer):
    token: str
    expires_at: str


class Me(Answer):
    id: str
    name: str
    role: str
    group: str
    category: str
    is_admin: bool


class RowProblem(Answer):
    field: str
    message: str


class Wish(Answer):
    state: str
    at: str | None
    by: str
    force: bool


class DiskSpec(Answer):
    id: str | None
    size_gib: float | None
    bus: str


class InterfaceSpec(Answer):
    id: str
    mac: str | None


class Drive(Answer):
    id: str | None


class Spec(Answer):
    vcpus: int | float
    memory_mib: int | float
    firmware: str
    boot: list[str]
    disks: list[DiskSpec]
    interfaces: list[InterfaceSpec]
    graphics: list[str]
    video: str
    sound: str
    media: list[Drive] | None = Field(description="Null: the medium it is installed from")
    secure_boot: bool
    tpm: bool
    hyperv: bool
    clock: str


class Placement(Answer):
    pool: str
    forced_hypervisor: str | None = None
    favourite_hypervisor: str | None = None


class Activity(Answer):
    name: str
    progress: float | None
    deadline: str | None
    step: str | None = None


class Failure(Answer):
    reason: str | None
    message: str | None
    terminal: bool
    retry_at: str | None
    attempts: int | None
    step: str | None = None
    command: str | None = None
    answer: str | None = None
    hypervisor: str | None = None


class ObservedDisk(Answer):
    id: str
    size: int | float | None
    path: str | None = None
    backing: str | None = None


class ObservedInterface(Answer):
    id: str
    mac: str | None
    address: str | None


class QueuePlace(Answer):
    position: int | float
    of: int | float


class ObservedDesktop(Answer):
    state: State | str
    activity: Activity | None
    reason: str | None
    message: str | None
    at: str | None
    started_at: str | None
    failure: Failure | None
    disks: list[ObservedDisk]
    interfaces: list[ObservedInterface]
    media: list[Drive] | None = Field(description="In the drives of the running guest")
    queue: QueuePlace | None
    hypervisor: str | None = None


class Domain(Answer):
    id: str
    name: str
    description: str
    kind: str
    icon: str
    os: str
    user: str
    created_at: str | None
    spec: Spec
    condition: Condition
    condition_label: str


class Desktop(Domain):
    group: str
    category: str
    origin: dict[str, Any]
    placement: Placement
    desired: Wish
    observed: ObservedDesktop
    remedy: str | None = Field(description="What to do about its failure, or its waiting")
    actions: list[Action]
    thumbnail_url: str | None
    thumbnail_at: str | None
    problem: RowProblem | None


class Desktops(Answer):
    items: list[Desktop]


class Allowed(Answer):
    """Each: false (nobody), [] (everybody) or a list of ids."""

    roles: list[str] | Literal[False]
    categories: list[str] | Literal[False]
    groups: list[str] | Literal[False]
    users: list[str] | Literal[False]


class Template(Domain):
    is_ready: bool
    shared: bool
    observed: ObservedDesktop
    actions: list[Action]
    allowed: Allowed | None = Field(description="Null for who may not change it")
    remedy: str | None
    problem: RowProblem | None


class Templates(Answer):
    items: list[Template]


class TreeNode(Answer):
    id: str
    name: str | None = Field(description="Null where it is another person's desktop")
    kind: str
    user: str
    condition: Condition
    condition_label: str
    thumbnail_url: str | None
    children: list[TreeNode]


class Tree(Answer):
    version: str = Field(description="Deletes exactly this tree: DELETE …/tree/{version}")
    count: int = Field(description="Of what is built upon it, itself not counted")
    others: int = Field(description="How many of these are other people's")
    may_delete: bool
    root: TreeNode


class MadeDesktop(Answer):
    id: str
    name: str
    user: str


class MadeDesktops(Answer):
    items: list[MadeDesktop]


class Viewer(Answer):
    url: str = Field(description="Websocket of the hypervisor's proxy, with a ticket")
    expires_at: str
    password: str = Field(description="Of the console; new at each start of the desktop")
    page: str = Field(description="Path of our own viewer page")


class ViewerAddress(Answer):
    hostname: str | None
    port: int | float | None
    nat_hostname: str | None
    nat_offset: int | float | None
    proxy: str | None


class Check(Answer):
    name: str
    title: str
    ok: bool
    level: Literal["ok", "warning", "failed"]
    message: str
    remedy: str
    duration_ms: float | None
    affects: str


class Enrolment(Answer):
    state: Literal["working", "waiting", "done", "failed"]
    order: str | None
    reason: str | None
    message: str | None
    fingerprint: str | None
    host_key: str | None
    trusted: str | None
    at: str | None


class StorageSpeed(Answer):
    path: str
    write_bytes_s: int | float | None
    read_bytes_s: int | float | None
    cached: bool = Field(description="The cache could not be left out")
    message: str = Field(description="Why nothing was measured")


class StorageSpeeds(Answer):
    at: str | None
    is_measuring: bool
    paths: list[StorageSpeed]


class Drain(Answer):
    left: int | float = Field(description="Desktops still on it")
    of: int | float


class ObservedHypervisor(Answer):
    state: str
    virtualization: str | None
    disk_operations: str | None
    reason: str | None
    message: str | None
    host_key_offered: str | None
    checks: list[Check]
    enrolment: Enrolment | None
    drain: Drain | None = Field(description="While it is being emptied")
    speeds: StorageSpeeds | None = Field(description="Of its storage, when last measured")
    info: dict[str, str | int | float | bool | None]
    retry_at: str | None
    at: str | None


class Capabilities(Answer):
    hypervisor: bool
    disk_operations: bool


class Hypervisor(Answer):
    id: str
    hostname: str
    port: int | float
    user: str
    description: str
    capabilities: Capabilities
    pools: list[str]
    viewer: ViewerAddress
    limits: dict[str, Any]
    host_key: str | None
    created_at: str | None
    desired: Wish
    observed: ObservedHypervisor
    state_label: str
    remedy: str | None = Field(description="What to do about its reason")
    problem: RowProblem | None


class Hypervisors(Answer):
    items: list[Hypervisor]


class TaskProgress(Answer):
    percent: int | float | None
    bytes: int | float | None
    total_bytes: int | float | None
    speed_bytes_s: int | float | None
    eta_s: int | float | None


class ObservedTask(Answer):
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    step: str | None
    progress: TaskProgress | None
    reason: str | None
    message: str | None
    result: dict[str, Any] | None
    started_at: str | None
    at: str | None
    hypervisor: str | None = None
    command: str | None = None
    answer: str | None = None


class Task(Answer):
    id: str
    kind: str
    target: str
    name: str
    user: str
    created_at: str | None
    args: dict[str, Any]
    desired: Wish
    observed: ObservedTask
    is_open: bool
    can_cancel: bool
    problem: RowProblem | None


class Tasks(Answer):
    items: list[Task]


class NamedDesktop(Answer):
    id: str
    name: str
    user: str
    condition: Condition


class OwnedPath(Answer):
    pool: str
    use: str
    path: str
    alone: bool = Field(description="No other hypervisor works on it")


class Removal(Answer):
    desktops: list[NamedDesktop] = Field(description="On it now")
    forced: list[NamedDesktop] = Field(description="Must run there")
    favourite: list[NamedDesktop] = Field(description="Would rather run there")
    paths: list[OwnedPath]


class StopCounts(Answer):
    all: int | float
    unwatched: int | float = Field(description="Surely watched by nobody")


class Stopped(Answer):
    stopped: int | float = Field(description="Wished stopped by this request")
    kept: int | float = Field(description="On it and not to be stopped")
