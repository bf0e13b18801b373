"""What a domain's disks are made of, and whether that can be used now: a template to build upon, a
desktop to make a template of, a disk image to copy, a task that makes them.

Each `read_…` puts what it found into the `Reading` and gives why it cannot be used now, or None.
Called by engine/reconcilers/domain_facts.py and, where the disks are made, domain_disks.py and
domain_templates.py, which ask again under the lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db import queries
from db.states import TASK_ENDED, TaskKind, is_handled, read_wish
from engine.decisions import needs_room
from engine.errors import Terminal
from engine.reconcilers import Context
from engine.reconcilers.disk_places import find_site, find_site_beside, pool_of, shown_disks_of
from engine.reconcilers.domain_reading import WORK_MARKS, Reading, count_children, read, work_on
from engine.reconcilers.drives import medium_of_origin, path_of, why_not_ready
from engine.reconcilers.owners import pool_refused
from engine.sight import is_wished_away, observed_of, recorded_host
from engine.storage.paths import DiskPlan, derive_disks

ONLY_READ = {TaskKind.VERIFY, TaskKind.DUPLICATE, TaskKind.EXPORT}
"""Work beside which new disks are built upon a template's."""


def facts_for_making(context: Context, reading: Reading) -> dict[str, Any]:
    """Which of its disks are still to be made, and what keeps them from being made now."""
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
    work = work_on(context, source.id)
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


def source_of(row: Mapping[str, Any]) -> str | None:
    """The desktop a template is made from."""
    desktop_id = (row.get("origin") or {}).get("desktop")
    return desktop_id if isinstance(desktop_id, str) and row.get("kind") != "desktop" else None


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


def _is_going(row: Mapping[str, Any]) -> bool:
    """Its deletion waits for what is built upon it, and has not been given up."""
    failure = observed_of(row).get("failure")
    given_up = isinstance(failure, Mapping) and failure.get("terminal") is True
    return is_wished_away(row) and not given_up


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
