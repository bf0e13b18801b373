"""Is the product up? The database answers and can write, an engine is at work, a hypervisor is
online.

Whether an engine is at work is told by the counter in its lease moving between two looks, on this
process's own clock: no two machines' clocks are compared, and a lease left behind by a dead engine
stands still whatever its time says. Used by /healthz and the page Hypervisors.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from db import queries
from db.connection import CANNOT_WRITE, Database, r
from db.errors import DatabaseUnavailable
from db.states import HypervisorState

FRESH_S = 10.0
"""How long a counter that moved is believed to go on moving."""
LOOK_S = 4.0
"""How long the first look waits for the counter to move."""
WRITE_FAILURES = r.db("rethinkdb").table("current_issues").filter({"type": "write_failure"}).count()
"""The embedded server's own; RethinkDB has no such issue and ends instead."""


@dataclass(frozen=True)
class Health:
    missing: tuple[str, ...]
    message: str = ""
    """What a person has to do about it, where that is known."""

    @property
    def is_well(self) -> bool:
        return not self.missing


@dataclass
class LeaseWatch:
    """Remembers the lease's counter and when, on our clock, it last moved."""

    seen: tuple[Any, ...] | None = None
    moved_at_s: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, lease: dict[str, Any] | None, now_s: float) -> bool:
        """True where the counter moved within the last FRESH_S, as far as looks so far tell."""
        if lease is None:
            self.seen = self.moved_at_s = None
            return False
        key = (lease.get("holder"), lease.get("epoch"), lease.get("counter"))
        if self.seen is not None and key != self.seen:
            self.moved_at_s = now_s
        self.seen = key
        return self.moved_at_s is not None and now_s - self.moved_at_s < FRESH_S

    def is_engine_at_work(self, database: Database) -> bool:
        """Looks now; where that tells nothing yet, looks again for up to LOOK_S seconds."""
        with self.lock:
            deadline = time.monotonic() + LOOK_S
            while True:
                lease = queries.read_engine(database)["lease"]
                if self.look(lease, time.monotonic()):
                    return True
                if lease is None or time.monotonic() > deadline:
                    return False
                time.sleep(0.2)


def check(database: Database, watch: LeaseWatch) -> Health:
    """What is missing of database, engine and hypervisor, and what to do. Without a database the
    rest cannot be told and is not named.
    """
    try:
        online = r.row["observed"]["state"].default("").eq(HypervisorState.ONLINE.value)
        hypervisors = database.run(r.table("hypervisors").filter(online).count())
        engine = watch.is_engine_at_work(database)
        can_write = database.run(WRITE_FAILURES) == 0
    except DatabaseUnavailable:
        return Health(("database",))
    found = {"database": can_write, "engine": engine, "hypervisor": hypervisors > 0}
    missing = tuple(name for name, is_there in found.items() if not is_there)
    return Health(missing, "" if can_write else CANNOT_WRITE)
