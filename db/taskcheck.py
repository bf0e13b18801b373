"""Judges orders: what may be asked of which thing, with which arguments.

One model of arguments for each kind of task. webapp judges requests with them and the engine judges
rows (a script may have written anything), so both doors refuse the same orders for the same
reasons. An argument that is not known is refused by name: a misspelt one would else be ignored, and
disks be worked on in another way than was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from db.rowcheck import DISK_ID, PATH, RowProblem, Slug, UuidText
from db.sentences import explain
from db.states import TaskKind

DiskId = Annotated[str, StringConstraints(pattern=DISK_ID)]
StoragePath = Annotated[str, StringConstraints(pattern=PATH, max_length=1024)]


class Args(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class OneOrAllDisks(Args):
    disk: DiskId | None = None
    """None: all of them."""


class ResizeArgs(Args):
    disk: DiskId | None = None
    """None: the first."""
    size_gib: float = Field(gt=0, le=65536)


class MoveArgs(Args):
    path: StoragePath
    """One of the pool's paths for what this is."""


class ConvertArgs(OneOrAllDisks):
    compress: bool = False
    preallocation: Literal["off", "metadata", "falloc", "full"] = "off"

    @model_validator(mode="after")
    def one_of_two(self) -> ConvertArgs:
        if self.compress and self.preallocation != "off":
            raise ValueError("a compressed disk cannot be preallocated: choose one of the two")
        return self


class VerifyArgs(OneOrAllDisks):
    repair: bool = False


class NoArgs(Args):
    """The order says it all."""


class IntoArgs(Args):
    into: UuidText
    """The new domain, whose row says `origin: {"task": <this task's id>}`."""


class ImportArgs(IntoArgs):
    bus: Literal["virtio", "sata"] = "virtio"
    """What its disks are connected to. The system in the image must know it already."""


class ExportArgs(Args):
    disk: DiskId | None = None
    """None: the first; an OVA holds all of them."""
    format: Literal["qcow2", "raw", "vmdk", "vdi", "ova"] = "qcow2"
    medium: UuidText
    """The new medium, whose row says `source: {"task": <this task's id>}`."""


ARGS: dict[TaskKind, type[Args]] = {
    TaskKind.RESIZE: ResizeArgs,
    TaskKind.MOVE: MoveArgs,
    TaskKind.CONVERT: ConvertArgs,
    TaskKind.SPARSIFY: OneOrAllDisks,
    TaskKind.FLATTEN: OneOrAllDisks,
    TaskKind.VERIFY: VerifyArgs,
    TaskKind.DUPLICATE: IntoArgs,
    TaskKind.EXPORT: ExportArgs,
    TaskKind.IMPORT: ImportArgs,
    TaskKind.DELIVER: NoArgs,
}


class _Desired(BaseModel):
    state: Literal["done", "cancelled"]


class TaskModel(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: UuidText
    kind: TaskKind
    target: UuidText
    user: Slug = "script"
    args: dict[str, Any] = Field(default_factory=dict)
    desired: _Desired


@dataclass(frozen=True)
class Order:
    """A task's row, judged."""

    id: str
    kind: TaskKind
    target: str
    args: Args
    is_cancelled: bool = field(default=False)

    @property
    def into(self) -> str | None:
        """The domain it makes, where it makes one."""
        return getattr(self.args, "into", None)


def read_order(row: Mapping[str, Any]) -> Order | RowProblem:
    """The order in a row of `tasks`, or what is wrong with it."""
    try:
        model = TaskModel.model_validate(dict(row))
    except ValidationError as error:
        return _problem_of(error)
    try:
        args = ARGS[model.kind].model_validate(model.args)
    except ValidationError as error:
        return _problem_of(error, "args")
    into = getattr(args, "into", None)
    if into == model.target:
        return RowProblem("args.into", "it is the target itself")
    return Order(model.id, model.kind, model.target, args, model.desired.state == "cancelled")


def read_args(kind: TaskKind, args: Mapping[str, Any]) -> Args:
    """For requests. Raises pydantic's ValidationError."""
    return ARGS[kind].model_validate(dict(args))


def _problem_of(error: ValidationError, prefix: str = "") -> RowProblem:
    first = error.errors(include_url=False)[0]
    field = ".".join([*([prefix] if prefix else []), *(str(part) for part in first["loc"])])
    return RowProblem(field or "row", explain(first))
