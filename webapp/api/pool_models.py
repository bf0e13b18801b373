"""What is sent and answered of pools and networks, for the OpenAPI document;
`webapp.pool_payloads` builds the answers. Bounds are the kernel's (`db.rowcheck`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from db.rowcheck import BRIDGE_NAME, NETWORK_NAME, PATH, SLUG, Description, Name, Slug
from webapp.api.answers import Answer, RowProblem
from webapp.api.requests import Allowed, Body

Balancer = Literal["free_memory", "round_robin", "least_cpu", "weighted"]
CpuMode = Literal["host-passthrough", "host-model", "maximum"]


class NewPath(Body):
    path: Annotated[str, StringConstraints(pattern=PATH, max_length=512)]
    disk_operations: Annotated[list[Slug], Field(max_length=256)] = []
    weight: Annotated[int, Field(ge=0, le=1000)] = 100


Paths = Annotated[list[NewPath], Field(max_length=64)]


class PathsOfUses(Body):
    bases: Paths = []
    templates: Paths = []
    groups: Paths = []
    media: Paths = []


class NewPool(Body):
    id: Annotated[str, StringConstraints(pattern=SLUG)]
    name: Name | None = None
    description: Description = ""
    balancer: Balancer = "free_memory"
    cpu_mode: CpuMode | None = None
    paths: PathsOfUses = PathsOfUses()
    allowed: Allowed = Allowed(roles=[])


class ChangePool(Body):
    """`paths` replaces all of them; `cpu_mode` may be null (chosen for each hypervisor)."""

    name: Name | None = None
    description: Description | None = None
    balancer: Balancer | None = None
    cpu_mode: CpuMode | None = None
    paths: PathsOfUses | None = None
    allowed: Allowed | None = None

    @model_validator(mode="after")
    def something(self) -> ChangePool:
        given = self.model_fields_set
        if not given or any(getattr(self, key) is None for key in given - {"cpu_mode"}):
            raise ValueError("give something to change, not null")
        return self


class NetworkFields(Body):
    description: Description = ""
    kind: Literal["network", "bridge", "isolated"] = "network"
    network: Annotated[str, StringConstraints(pattern=NETWORK_NAME)] | None = None
    bridge: Annotated[str, StringConstraints(pattern=BRIDGE_NAME)] | None = None
    model: Literal["virtio", "e1000"] = "virtio"
    addresses: Literal["dhcp", "first", "any"] | None = None
    allowed: Allowed = Allowed()


class NewNetwork(NetworkFields):
    id: Annotated[str, StringConstraints(pattern=SLUG)]
    name: Name | None = None


class ChangeNetwork(NetworkFields):
    """`network`, `bridge` and `addresses` may be null."""

    name: Name | None = None

    @model_validator(mode="after")
    def something(self) -> ChangeNetwork:
        given = self.model_fields_set
        needed = given - {"network", "bridge", "addresses"}
        if not given or any(getattr(self, key) is None for key in needed):
            raise ValueError("give something to change, not null")
        return self


class Network(Answer):
    id: str
    name: str
    description: str
    kind: str
    network: str | None
    bridge: str | None
    source: str
    model: str
    addresses: str
    allowed: dict[str, list[str] | bool]
    shared: Literal["everybody", "some", "nobody"]
    shared_with: list[str]
    problem: RowProblem | None


class Networks(Answer):
    items: list[Network]


class PoolPath(Answer):
    path: str
    disk_operations: list[str]
    weight: int | float


class PathHost(Answer):
    id: str
    owner: bool
    ok: bool
    message: str


class SeenPath(Answer):
    path: str
    weight: int | float
    owners: list[str]
    state: str
    tone: str | None
    disks: int | float
    proof: Literal["same", "different", "unproved"]
    free_bytes: int | float | None
    size_bytes: int | float | None
    used_percent: float | None
    space: str | None
    hosts: list[PathHost]
    message: str
    remedy: str


class Storage(Answer):
    use: str
    entries: list[SeenPath]


class RemovedPath(Answer):
    path: str
    disks: int | float


class ObservedPool(Answer):
    state: str
    tone: str | None
    reason: str | None
    message: str | None
    waiting: int | float
    removed: list[RemovedPath]
    at: str | None


class Pool(Answer):
    id: str
    name: str
    description: str
    balancer: str
    cpu_mode: str | None
    paths: dict[str, list[PoolPath]]
    storage: list[Storage]
    observed: ObservedPool
    allowed: dict[str, list[str] | bool]
    shared: Literal["everybody", "some", "nobody"]
    shared_with: list[str]
    problem: RowProblem | None


class UsablePool(Answer):
    """What who is no administrator is told."""

    id: str
    name: str
    description: str


class Pools(Answer):
    items: list[Pool | UsablePool]
