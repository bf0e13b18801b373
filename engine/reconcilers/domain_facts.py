"""Gathers what a decision about one domain rests on, and no more than this decision needs.

Cheap facts (what the hosts listed, the ledger that came with the row) are always there; a question
to a host, to the database or to the placement is asked only where the wish makes it matter. Asking
a host blocks on it, so it happens in that host's lane: in another one `Elsewhere` says where to go
on. Called by engine/reconcilers/domain.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from db import queries
from db.rowcheck import PlacementModel, SpecModel
from db.states import TASK_ENDED, Reason, TaskKind, is_handled, read_wish
from engine.decisions import needs_room
from engine.errors import Terminal
from engine.executor import power_lane
from engine.placement import Placed, Refused, Request
from engine.reconcilers import Context
from engine.reconcilers.disk_places import (
    DiskSite,
    find_site,
    find_site_beside,
    find_site_of_records,
    mark_id,
    path_removed,
    pool_of,
    shown_disks_of,
)
from engine.reconcilers.domain_networks import refuse_networks
from engine.reconcilers.drives import (
    Drives,
    find_drives,
    medium_of_origin,
    path_of,
    why_not_ready,
)
from engine.reconcilers.owners import pool_refused
from engine.sight import Facts, Knowledge, Making, is_wished_away, observed_of, recorded_host
from engine.storage.paths import DiskPlan, derive_disks, split_disk_path
from engine.unit import Unit

ONLY_READ = {TaskKind.VERIFY, TaskKind.DUPLICATE, TaskKind.EXPORT}
"""Work beside which new disks are built upon a template's."""
WORK_MARKS = {"replacing", "moving", "rebasing", "moved_from"}
"""What a task leaves in a record that it has not finished with."""


class Elsewhere(Exception):
    """This key has to be worked on in another lane."""

    def __init__(self, lane: str) -> None:
        super().__init__(lane)
        self.lane = lane


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
        work=_work_on(context, reading.row["id"]),
        making=_making(reading),
        unsettled=reading.templating is not None,
    )


def _work_on(context: Context, domain_id: Any) -> str | None:
    task = context.watcher.tasks.running_on(domain_id)
    if task is None:
        return None
    return f"Its disks are being worked on ({task.get('kind')}): it goes on when that is done."


def gather(context: Context, reading: Reading, lane: str) -> Facts:
    """All facts about a valid row."""
    facts = look_around(context, reading, lane)
    extra: dict[str, Any] = {}
    if is_wished_away(reading.row) or facts.deletion_begun:
        extra |= _facts_for_deletion(context, reading)
    else:
        extra |= _facts_for_making(context, reading)
        if needs_room(reading.row):
            extra |= _facts_of_media(context, reading, facts)
        if needs_room(reading.row) and not facts.seen and not extra.get("media_problem"):
            reading.placement = refuse_start(context, reading) or reserve(context, reading, lane)
            extra["placement"] = reading.placement
    return replace(facts, **extra)


def _facts_of_media(context: Context, reading: Reading, facts: Facts) -> dict[str, Any]:
    """Before a start: whether all of it is there. While it runs: whether all of it is in."""
    reading.drives = drives = find_drives(context, reading.row)
    if not facts.seen:
        return {"media_problem": drives.problem, "media_topics": drives.topics}
    units = (context.units.get(host) for host, state in facts.seen.items() if state == "running")
    seen = next((unit.last_listed(reading.id) for unit in units if unit is not None), None)
    differ = seen is not None and drives.wanted_in(seen) != seen.drives
    return {"media_differ": differ and drives.problem is None}


def count_children(context: Context, reading: Reading) -> tuple[int, int]:
    """(staying, being deleted)"""
    children = queries.list_children(context.database, reading.id)
    leaving = sum(1 for child in children if is_wished_away(child))
    return len(children) - leaving, leaving


def refuse_start(context: Context, reading: Reading) -> Refused | None:
    """What keeps it from starting on any host, whatever these have."""
    removed = path_removed(context, reading.row, reading.made)
    if removed:
        return Refused(Reason.PATH_REMOVED, removed)
    refused = pool_refused(context, reading.row, pool_of(reading.row))
    if refused:
        return Refused(Reason.POOL_REFUSED, refused)
    return refuse_networks(context, reading.row)


def reserve(context: Context, reading: Reading, lane: str) -> Placed | Refused:
    spec = SpecModel.model_validate(reading.row.get("spec") or {})
    placement = PlacementModel.model_validate(reading.row.get("placement") or {})
    observed = observed_of(reading.row)
    kind, _, lane_host = lane.partition("/")
    recorded = recorded_host(observed, reading.last_host)
    failure = observed.get("failure")
    avoid = failure.get("hypervisor") if isinstance(failure, Mapping) else None
    request = Request(
        pool=placement.pool,
        memory_mib=spec.memory_mib,
        vcpus=spec.vcpus,
        forced=placement.forced_hypervisor,
        favourite=placement.favourite_hypervisor,
        # Where the key has moved to already it stays, or it could be sent round in circles.
        current=recorded or (lane_host if kind == "power" else None),
        avoid=avoid if isinstance(avoid, str) else None,
        hardware=hardware_of(spec),
        networks=tuple(interface.id for interface in spec.interfaces),
    )
    reading.request = request
    networks, paths = context.watcher.interfaces.all(), paths_needed(reading)
    hosts = [
        unit.room(networks, unseen_by(context, unit, placement.pool, paths))
        for unit in context.units.all()
        if unit.row.runs_desktops
    ]
    since = waiting_since(reading.row, context.now())
    return context.room.reserve(reading.row["id"], request, hosts, since)


def hardware_of(spec: SpecModel) -> frozenset[str]:
    """What of it not every host has (engine/capacity.py)."""
    asked = {
        "uefi": spec.firmware == "uefi",
        "secure-boot": spec.secure_boot,
        "tpm": spec.tpm,
    }
    return frozenset(name for name, is_asked in asked.items() if is_asked)


def waiting_since(row: Mapping[str, Any], now: datetime) -> datetime:
    """Its place in the queue: when it was wished, or where a script did not say, when it began to
    wait.
    """
    desired, queue = row.get("desired"), observed_of(row).get("queue")
    wished_at = desired.get("at") if isinstance(desired, Mapping) else None
    shown = queue.get("since") if isinstance(queue, Mapping) else None
    return next((at for at in (wished_at, shown) if isinstance(at, datetime)), now)


def paths_needed(reading: Reading) -> frozenset[str]:
    """The storage that its host has to see: where its disks lie, and what they are built upon."""
    found = set()
    for record in reading.records:
        for file in filter(None, (record.get("path"), record.get("backing"))):
            with contextlib.suppress(Terminal):
                found.add(split_disk_path(str(file)).pool_path)
    return frozenset(found)


def unseen_by(context: Context, unit: Unit, pool: str, paths: frozenset[str]) -> list[str]:
    """Which of these the host does not see as it should: by what it saw a moment ago, or by its
    checks where nobody has looked since.
    """
    unseen = []
    for path in sorted(paths):
        facts, mark = unit.storage.get(path), context.watcher.marks.get(mark_id(pool, path))
        recorded = str(mark["path_id"]) if mark else None
        if facts.problem(recorded) if facts else path in unit.health.blind:
            unseen.append(path)
    return unseen


def _candidates(context: Context, domain_id: Any, recorded: str | None) -> list[Unit]:
    """Listed hosts that may have it; the one on record first."""
    unit = context.units.get(recorded)
    first = [unit] if unit and unit.knowledge is Knowledge.LISTED else []
    others = [other for other in context.units.seen(domain_id) if other is not unit]
    return [*first, *sorted(others, key=lambda other: other.id)]


def _facts_for_deletion(context: Context, reading: Reading) -> dict[str, Any]:
    staying, leaving = count_children(context, reading)
    reading.site, problem = find_site_of_records(context, reading.row, reading.records)
    return {
        "children": staying,
        "leaving_children": leaving,
        "disk_host_problem": problem,
    }


def _facts_for_making(context: Context, reading: Reading) -> dict[str, Any]:
    unfinished = not reading.records or len(reading.made) < len(reading.records)
    facts = _facts_of_unmade(context, reading, unfinished)
    if facts.get("unmade_disks"):
        facts["pool_refused"] = pool_refused(context, reading.row, pool_of(reading.row))
    return facts


def _facts_of_unmade(context: Context, reading: Reading, unfinished: bool) -> dict[str, Any]:
    if source_of(reading.row):
        return _facts_for_templating(context, reading) if unfinished else {}
    parent_problem = _image_problem(context, reading) if unfinished else None
    if unfinished and _template_of(reading.row):
        parent_problem = read_parent(context, reading)
    if unfinished and _task_of(reading.row):
        parent_problem = read_maker(context, reading)
    reading.plans = plan_disks(reading)
    known = {record.get("disk") for record in reading.made}
    if not reading.records:
        # The ledger was emptied, but disks had been made: nothing is made anew.
        known |= set(shown_disks_of(reading.row))
    unmade = tuple(plan.id for plan in reading.plans if plan.id not in known)
    if not unmade:
        return {}
    reading.site, problem = find_site(
        context, reading.row, reading.parent.made if reading.parent else ()
    )
    return {
        "unmade_disks": unmade,
        "parent_problem": parent_problem,
        "disk_host_problem": problem,
    }


def _facts_for_templating(context: Context, reading: Reading) -> dict[str, Any]:
    if not reading.records and shown_disks_of(reading.row):
        return {}  # the ledger was emptied, but disks had been made: nothing is made anew
    problem = read_source(context, reading)
    if problem is not None or reading.source is None:
        return {"unmade_disks": ("disk0",), "parent_problem": problem}
    reading.plans = [_plan_of(record) for record in reading.source.made]
    reading.site, problem = find_site_beside(context, reading.row, reading.source.made)
    unmade = tuple(plan.id for plan in reading.plans)
    return {"unmade_disks": unmade, "disk_host_problem": problem}


def read_source(context: Context, reading: Reading) -> str | None:
    """Read the desktop into `reading.source`; why no template can be made of it now, or None."""
    desktop_id = source_of(reading.row)
    reading.source = read(context, desktop_id)
    source = reading.source
    if source is None:
        return f"There is no desktop {desktop_id}."
    row = source.row
    name = row.get("name") or desktop_id
    if source.kind != "desktop":
        return f"{name!r} is a {source.kind}, not a desktop."
    if source.making and source.making["template"] != reading.id:
        return f"Another template is being made of {name!r}."
    work = _work_on(context, source.id)
    if work is not None or any(WORK_MARKS & set(record) for record in source.records):
        return work or f"The disks of the desktop {name!r} are being worked on."
    states = {record.get("state") for record in source.records}
    if is_wished_away(row) or "deleting" in states:
        return f"The desktop {name!r} is being deleted."
    if states != {"made"}:
        return f"The disks of the desktop {name!r} are not ready."
    observed = observed_of(row)
    is_placed = recorded_host(observed, source.last_host) is not None
    if observed.get("state") != "stopped" or is_placed or context.units.seen(source.id):
        return f"The desktop {name!r} is not stopped. Shut it down: the template is made then."
    if needs_room(row) and not is_handled(read_wish(row["desired"]), observed):
        return f"The desktop {name!r} is about to be started."
    if any(count_children(context, source)):
        return f"Other disks are built upon those of the desktop {name!r}."
    return None


def _making(reading: Reading) -> Making | None:
    record = reading.making
    if record is None:
        return None
    deadline = record.get("deadline")
    return Making(deadline) if isinstance(deadline, datetime) else None


def source_of(row: Mapping[str, Any]) -> str | None:
    """The desktop a template is made from."""
    desktop_id = (row.get("origin") or {}).get("desktop")
    return desktop_id if isinstance(desktop_id, str) and row.get("kind") != "desktop" else None


def _image_problem(context: Context, reading: Reading) -> str | None:
    """Why the disk image it is to be a copy of cannot be copied now."""
    origin = medium_of_origin(context, reading.row)
    if origin is None:
        return None
    media_id, medium = origin
    if medium is not None and medium.get("kind") != "disk":
        return None  # installed from: its disk is empty at first
    problem = why_not_ready(medium, media_id)
    if problem is None and medium is not None:
        try:
            reading.image = path_of(context, medium)[1]
        except Terminal as error:
            return error.message
    return problem


def read_parent(context: Context, reading: Reading) -> str | None:
    """Read the template into `reading.parent`; why it cannot be built upon now, or None."""
    template = _template_of(reading.row)
    reading.parent = read(context, template)
    parent = reading.parent
    if parent is None:
        return f"There is no template {template}."
    name = parent.row.get("name") or template
    if parent.kind not in ("template", "base"):
        return f"{name!r} is a {parent.kind}, not a template."
    if any(record.get("state") == "deleting" for record in parent.records) or _is_going(parent.row):
        return f"The template {name!r} is being deleted."
    if not parent.records or len(parent.made) < len(parent.records):
        return f"The template {name!r} is not ready yet."
    task = context.watcher.tasks.running_on(parent.id)
    if task is not None and task.get("kind") not in ONLY_READ:
        return f"The disks of the template {name!r} are being worked on ({task.get('kind')})."
    return None


def read_maker(context: Context, reading: Reading) -> str:
    """Why the disks that a task makes are not there."""
    task = queries.get_row(context.database, "tasks", _task_of(reading.row))
    if task is None:
        return "The task that is to make its disks is not there."
    observed = task.get("observed")
    seen = observed if isinstance(observed, Mapping) else {}
    if str(seen.get("state")) in TASK_ENDED:
        why = seen.get("message") or seen.get("state")
        return f"The task that was to make its disks has ended without them ({why})."
    return f"Its disks are being made ({task.get('kind')})."


def _is_going(row: Mapping[str, Any]) -> bool:
    """Its deletion waits for what is built upon it, and has not been given up."""
    failure = observed_of(row).get("failure")
    given_up = isinstance(failure, Mapping) and failure.get("terminal") is True
    return is_wished_away(row) and not given_up


def plan_disks(reading: Reading) -> list[DiskPlan]:
    """The disks it should have. A row that names none has as many as its template."""
    named = (reading.row.get("spec") or {}).get("disks")
    if source_of(reading.row):
        return [_plan_of(record) for record in reading.made]
    parent = reading.parent
    if named or parent is None or len(parent.records) < 2:
        several = len(reading.made) > 1 or bool(reading.made and _task_of(reading.row))
        if not named and several and len(reading.made) == len(reading.records):
            return [_plan_of(record) for record in reading.made]
        return derive_disks(reading.row)
    return [DiskPlan(str(record["disk"]), _bus_of(record), None) for record in parent.records]


def _plan_of(record: Mapping[str, Any]) -> DiskPlan:
    return DiskPlan(str(record["disk"]), _bus_of(record), None)


def _bus_of(record: Mapping[str, Any]) -> str:
    return str(record.get("bus") or "virtio")


def _template_of(row: Mapping[str, Any]) -> str | None:
    template = (row.get("origin") or {}).get("template")
    return template if isinstance(template, str) else None


def _task_of(row: Mapping[str, Any]) -> str | None:
    task = (row.get("origin") or {}).get("task")
    return task if isinstance(task, str) else None
