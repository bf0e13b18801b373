"""What a hypervisor's wish makes of its unit: may it take new desktops, and is it being emptied?
Pure.

A unit goes on watching what runs on its host whatever the wish, as long as something is placed
there: disabling must not lose sight of a running desktop. Made by engine/reconcilers/hypervisor.py
at every look, asked by placement (why not here?) and by the domain reconciler (shall it go?).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Drain:
    """How far a host is emptied: `left` of the `of` desktops it had when that was wished `at`."""

    left: int
    of: int
    at: datetime | None

    def as_field(self) -> dict[str, Any]:
        """As `hypervisors.observed.drain`."""
        return {"left": self.left, "of": self.of, "at": self.at}


@dataclass(frozen=True)
class Stance:
    """`closed`: why it takes no new desktops and no disk operations, as placement says it."""

    closed: str | None = None
    drains: bool = False
    force: bool = False
    """Its desktops are powered off at once, not asked to shut down."""
    drain: Drain | None = None


OPEN = Stance()


def measure_drain(observed: object, left: int, at: datetime | None) -> Drain:
    """How far it is, with what the row remembers of the beginning: an engine may start midway."""
    before = observed.get("drain") if isinstance(observed, Mapping) else None
    of = before.get("of") if isinstance(before, Mapping) and before.get("at") == at else 0
    return Drain(left, max(left, of if isinstance(of, int) else 0), at)
