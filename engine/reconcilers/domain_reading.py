"""One domain as it is in the database: its row, the ledger's records of its disks, who builds upon
it, and whether a task works on it.

What is learnt of it afterwards, on the way to a decision, is kept in the same `Reading`, so that
the step that follows works on what was decided upon. Called by all that work on domains:
engine/reconcilers/domain_facts.py first, and the tasks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from db import queries
from engine.placement import Placed, Refused, Request
from engine.reconcilers import Context
from engine.reconcilers.disk_places import DiskSite
from engine.reconcilers.drives import Drives
from engine.sight import is_wished_away
from engine.storage.paths import DiskPlan

WORK_MARKS = {"replacing", "moving", "rebasing", "moved_from"}
"""What a task leaves in a record that it has not finished with."""


@dataclass
class Reading:
    """A domain as read from the database, and what was learnt about it on the way."""

    row: dict[str, Any]
    records: list[dict[str, Any]]
    last_host: str | None
    plans: list[DiskPlan] = field(default_factory=list)
    parent: Reading | None = None
    source: Reading | None = None
    """The desktop of which a template is to be made."""
    making: dict[str, Any] | None = None
    """The record of a template being made of this desktop."""
    templating: dict[str, Any] | None = None
    """The record of this template being made."""
    site: DiskSite | None = None
    """Where its disks are worked on, where that matters."""
    placement: Placed | Refused | None = None
    image: str | None = None
    """The disk image its first disk is to be a copy of."""
    drives: Drives = field(default_factory=Drives)
    """What is to be in its drives, where that matters."""
    request: Request | None = None
    """What it needs, where it may have to be placed."""

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def kind(self) -> str:
        return str(self.row.get("kind"))

    @property
    def made(self) -> list[dict[str, Any]]:
        return [record for record in self.records if record.get("state") == "made"]


def read(context: Context, domain_id: Any) -> Reading | None:
    found = queries.read_domain(context.database, domain_id)
    if found["row"] is None:
        return None
    records = in_order(found["disks"])
    last_host = found["last_host"]
    return Reading(
        found["row"],
        records,
        last_host if isinstance(last_host, str) else None,
        making=found["making"],
        templating=found["templating"],
    )


def in_order(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(records, key=lambda record: str(record.get("order", record["id"])))


def work_on(context: Context, domain_id: Any) -> str | None:
    """Why its disks are not to be touched now: a task works on them."""
    task = context.watcher.tasks.running_on(domain_id)
    if task is None:
        return None
    return f"Its disks are being worked on ({task.get('kind')}): it goes on when that is done."


def count_children(context: Context, reading: Reading) -> tuple[int, int]:
    """What is built upon its disks: (staying, being deleted)."""
    children = queries.list_children(context.database, reading.id)
    leaving = sum(1 for child in children if is_wished_away(child))
    return len(children) - leaving, leaving
