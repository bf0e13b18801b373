"""Which hosts a pool names as owners of its storage paths, when one of them is removed.

`paths` of a pool is its administrator's. The one thing the engine takes out of it is the name of a
hypervisor whose row goes: nobody else may be left to do it. A path keeps its only owner, because
one that names nobody is any host's. Used by engine/reconcilers/hypervisor.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db import queries
from db.connection import Database, r

TRIES = 5


def without_owner(paths: object, hypervisor: str) -> dict[str, Any] | None:
    """The same paths without that owner, or None where nothing changes. Odd parts stay as they
    are. Pure.
    """
    if not isinstance(paths, Mapping):
        return None
    changed = {use: _without(entries, hypervisor) for use, entries in paths.items()}
    return changed if changed != paths else None


def drop_owner(database: Database, hypervisor: str) -> None:
    """Out of every pool. A pool that is edited at this moment is read anew."""
    for _ in range(TRIES):
        missed = False
        for pool in queries.list_rows(database, "hypervisors_pools"):
            paths = without_owner(pool.get("paths"), hypervisor)
            if paths is not None:
                missed = not _put(database, pool, paths) or missed
        if not missed:
            return


def _put(database: Database, pool: Mapping[str, Any], paths: dict[str, Any]) -> bool:
    """False where the row is not as it was read any more."""
    answer = database.run(
        r.table("hypervisors_pools")
        .get(pool["id"])
        .update(
            lambda row: r.branch(
                row["paths"].eq(pool["paths"]).default(False), {"paths": r.literal(paths)}, {}
            ),
            durability="hard",
        )
    )
    return bool(answer["replaced"] or answer["skipped"])


def _without(entries: object, hypervisor: str) -> Any:
    if not isinstance(entries, list):
        return entries
    return [_leave(entry, hypervisor) for entry in entries]


def _leave(entry: Any, hypervisor: str) -> Any:
    owners = entry.get("disk_operations") if isinstance(entry, Mapping) else None
    if not isinstance(owners, list) or hypervisor not in owners:
        return entry
    others = [name for name in owners if name != hypervisor]
    return {**entry, "disk_operations": others} if others else entry
