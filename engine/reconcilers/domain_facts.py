"""Gathers what a decision about one domain rests on, and no more than this decision needs.

Cheap facts (what the hosts listed, the ledger that came with the row) are always there; a question
to a host, to the database or to the placement is asked only where the wish makes it matter. Asking
a host blocks on it, so it happens in that host's lane: in another one `Elsewhere` says where to go
on. What its disks are to be made of is in domain_origins.py, where it may start in domain_room.py.
Called by engine/reconcilers/domain.py.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from engine.decisions import needs_room
from engine.executor import power_lane
from engine.reconcilers import Context, Elsewhere
from engine.reconcilers.disk_places import find_site_of_records, shown_disks_of
from engine.reconcilers.domain_origins import facts_for_making
from engine.reconcilers.domain_reading import Reading, count_children, work_on
from engine.reconcilers.domain_room import refuse_start, reserve
from engine.reconcilers.drives import find_drives
from engine.sight import Facts, Knowledge, Making, is_wished_away, observed_of, recorded_host
from engine.unit import Unit


def gather(context: Context, reading: Reading, lane: str) -> Facts:
    """All facts about a valid row."""
    facts = look_around(context, reading, lane)
    extra: dict[str, Any] = {}
    if is_wished_away(reading.row) or facts.deletion_begun:
        extra |= _facts_for_deletion(context, reading)
    else:
        extra |= facts_for_making(context, reading)
        if needs_room(reading.row):
            extra |= _facts_of_media(context, reading, facts)
        if needs_room(reading.row) and not facts.seen and not extra.get("media_problem"):
            reading.placement = refuse_start(context, reading) or reserve(context, reading, lane)
            extra["placement"] = reading.placement
    return replace(facts, **extra)


def look_around(context: Context, reading: Reading, lane: str) -> Facts:
    """What any row has: where it is seen, and what the ledger says. Raises Elsewhere, HostLost."""
    observed = observed_of(reading.row)
    recorded = recorded_host(observed, reading.last_host)
    seen: dict[str, str] = {}
    foreign: set[str] = set()
    candidates = _candidates(context, reading.row["id"], recorded)
    for unit in candidates:
        if unit is candidates[0]:
            if lane.partition("/")[2] != unit.id:
                raise Elsewhere(power_lane(unit.id))
            found = unit.look(reading.id)
        else:
            found = unit.last_listed(reading.row["id"])
        if found is not None and unit.is_foreign(found):
            foreign.add(unit.id)
        elif found is not None:
            seen[unit.id] = found.state
    states = {record.get("state") for record in reading.records}
    return Facts(
        hosts=context.units.knowledge(),
        seen=seen,
        foreign=frozenset(foreign),
        stops={
            unit.id: cause
            for unit in candidates
            if (cause := unit.stop_cause(reading.row["id"])) is not None
        },
        boots={unit.id: unit.boot for unit in candidates if unit.boot},
        draining={unit.id: unit.stance.force for unit in candidates if unit.stance.drains},
        last_host=reading.last_host,
        has_disks=bool(states & {"made", "deleting"} or shown_disks_of(reading.row)),
        has_ledger=bool(reading.records),
        deletion_begun="deleting" in states,
        work=work_on(context, reading.row["id"]),
        making=_making(reading),
        unsettled=reading.templating is not None,
    )


def _candidates(context: Context, domain_id: Any, recorded: str | None) -> list[Unit]:
    """Listed hosts that may have it; the one on record first."""
    unit = context.units.get(recorded)
    first = [unit] if unit and unit.knowledge is Knowledge.LISTED else []
    others = [other for other in context.units.seen(domain_id) if other is not unit]
    return [*first, *sorted(others, key=lambda other: other.id)]


def _making(reading: Reading) -> Making | None:
    record = reading.making
    if record is None:
        return None
    deadline = record.get("deadline")
    return Making(deadline) if isinstance(deadline, datetime) else None


def _facts_of_media(context: Context, reading: Reading, facts: Facts) -> dict[str, Any]:
    """Before a start: whether all of it is there. While it runs: whether all of it is in."""
    reading.drives = drives = find_drives(context, reading.row)
    if not facts.seen:
        return {"media_problem": drives.problem, "media_topics": drives.topics}
    units = (context.units.get(host) for host, state in facts.seen.items() if state == "running")
    seen = next((unit.last_listed(reading.id) for unit in units if unit is not None), None)
    differ = seen is not None and drives.wanted_in(seen) != seen.drives
    return {"media_differ": differ and drives.problem is None}


def _facts_for_deletion(context: Context, reading: Reading) -> dict[str, Any]:
    staying, leaving = count_children(context, reading)
    reading.site, problem = find_site_of_records(context, reading.row, reading.records)
    return {
        "children": staying,
        "leaving_children": leaving,
        "disk_host_problem": problem,
    }
