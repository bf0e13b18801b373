"""Where a domain may start: what keeps it from starting anywhere, what it asks of a host, and the
room that is reserved for it.

The choice itself is pure (engine/placement.py); here is gathered what it rests on. Called by
engine/reconcilers/domain_facts.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from db.rowcheck import PlacementModel, SpecModel
from db.states import Reason
from engine.errors import Terminal
from engine.placement import Placed, Refused, Request
from engine.reconcilers import Context
from engine.reconcilers.disk_places import mark_id, path_removed, pool_of
from engine.reconcilers.domain_networks import refuse_networks
from engine.reconcilers.domain_reading import Reading
from engine.reconcilers.owners import pool_refused
from engine.sight import observed_of, recorded_host
from engine.storage.paths import split_disk_path
from engine.unit import Unit


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
    """Room for it on a host, kept for it from now on, or why there is none."""
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
