"""What the doctor looks at, as it was read. Filled by gather, judged by findings. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class KeyFile:
    """A file that must be there, readable by nobody else."""

    title: str
    path: str
    is_there: bool
    is_open: bool
    """Others may read it."""


@dataclass(frozen=True)
class Gathered:
    """`problem`: why the database could not be read; then there are no rows."""

    address: str
    problem: str | None = None
    version: int | None = None
    newest: int = 0
    lease: Row | None = None
    ticks: Row | None = None
    is_moving: bool = False
    """The lease's counter moved while it was looked at: an engine is at work."""
    keys: tuple[KeyFile, ...] = ()
    hypervisors: list[Row] = field(default_factory=list)
    pools: list[Row] = field(default_factory=list)
    domains: list[Row] = field(default_factory=list)
    media: list[Row] = field(default_factory=list)
    tasks: list[Row] = field(default_factory=list)
    orphans: list[Row] = field(default_factory=list)
