"""Rows and facts that decisions about domains are tested with, the ordinary ones unless told
otherwise.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from db.states import Desired, Kind, Observed
from engine.decisions import Decision, decide
from engine.placement import Placed
from engine.sight import Facts, Knowledge

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
AT = NOW - timedelta(minutes=1)
HOST = "hyper-1"
ID = "11111111-1111-4111-8111-111111111111"

FACTS_OF: dict[Observed, Facts] = {
    Observed.ABSENT: Facts(unmade_disks=("disk",)),
    Observed.STOPPED: Facts(has_disks=True, has_ledger=True),
    Observed.STARTED: Facts(seen={HOST: "running"}, has_disks=True, has_ledger=True),
    Observed.PAUSED: Facts(seen={HOST: "paused"}, has_disks=True, has_ledger=True),
    Observed.UNKNOWN: Facts(hosts={HOST: Knowledge.LOST}, has_disks=True, has_ledger=True),
}
ON_A_HOST = (Observed.STARTED, Observed.PAUSED, Observed.UNKNOWN)
FAILURES: dict[str, dict[str, Any] | None] = {
    "none": None,
    "waits": {"reason": "StartFailed", "retry_at": NOW + timedelta(seconds=5)},
    "due": {"reason": "StartFailed", "retry_at": NOW - timedelta(seconds=1)},
    "terminal": {"reason": "StartFailed", "terminal": True},
    "nonsense": {"reason": 5, "terminal": "yes", "retry_at": "tomorrow"},
}


def make_row(
    desired: Desired,
    seen: Observed,
    *,
    kind: Kind = Kind.DESKTOP,
    handled: bool = False,
    force: bool = False,
    failure: dict[str, Any] | None = None,
    **observed: Any,
) -> dict[str, Any]:
    wish = {"state": desired.value, "at": AT, "force": force}
    return {
        "id": ID,
        "kind": kind.value,
        "origin": {"template": "22222222-2222-4222-8222-222222222222"},
        "desired": wish,
        "observed": {
            "state": seen.value,
            "epoch": 1,
            "hypervisor": HOST if seen in ON_A_HOST else None,
            "for": {"state": desired.value, "at": AT} if handled else None,
            "failure": {**failure, "wish": wish} if failure else None,
            **observed,
        },
    }


def decide_for(
    desired: Desired, seen: Observed, facts: Facts | None = None, **row: Any
) -> Decision:
    facts = facts or FACTS_OF[seen]
    if facts.placement is None:
        facts = dataclasses.replace(facts, placement=Placed(HOST))
    return decide(make_row(desired, seen, **row), facts, NOW)
