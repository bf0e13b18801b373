"""One pool's row: judge it, and report how its storage does.

Nothing is done to any host: what they see at the pool's paths is looked at by a loop of their own
(engine/loops/storage.py), which wakes this key when something changed. Counting the ledger's disks
is dear, so it is done when the paths change and in each turn, not at every look. Called by
engine/controller.py.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from typing import Any

from db import queries
from db.rowcheck import check_pool
from db.states import HypervisorDesired
from engine.pool_report import HostView, describe_invalid, describe_pool
from engine.reconcilers import Context, Outcome
from engine.reconcilers.disk_places import mark_id, pool_paths
from engine.reconcilers.observation import is_news
from engine.workqueue import Key

COUNT_S = 45.0


class PoolReconciler:
    def __init__(self, context: Context) -> None:
        self._c = context
        self._counts: dict[Hashable, tuple[float, frozenset[str], dict[str, int]]] = {}

    def reconcile(self, key: Key, lane: str) -> Outcome:
        row = queries.get_row(self._c.database, "hypervisors_pools", key.id)
        if row is None:
            self._counts.pop(key.id, None)
            return Outcome(gone=True)
        problem = check_pool(row)
        observed = describe_invalid(problem) if problem else self._describe(row)
        if is_news(row, observed, self._c.lease.epoch):
            value = {**observed, "at": self._c.now()}
            self._c.write("hypervisors_pools", row, value)
        return Outcome()

    def _describe(self, row: dict[str, Any]) -> dict[str, Any]:
        pool = str(row["id"])
        paths = [str(entry["path"]) for entry in pool_paths(row)]
        marks = {}
        for path in paths:
            mark = self._c.watcher.marks.get(mark_id(pool, path))
            if mark:
                marks[path] = str(mark.get("path_id"))
        hosts = [
            self._view(host)
            for host in self._c.watcher.hypervisors.all()
            if pool in _pools_of(host) and isinstance(host["id"], str)
        ]
        disks = self._count_disks(pool, frozenset(paths))
        return describe_pool(row, hosts, marks, disks, len(self._c.room.queue_of(pool)))

    def _view(self, host: Mapping[str, Any]) -> HostView:
        capabilities = host.get("capabilities")
        able = capabilities if isinstance(capabilities, Mapping) else {}
        unit = self._c.units.get(str(host["id"]))
        away = None
        if unit is None:
            desired = host.get("desired")
            state = desired.get("state") if isinstance(desired, Mapping) else None
            away = "is disabled" if state == HypervisorDesired.DISABLED else "is not used"
        elif not unit.is_reached and not unit.storage:
            away = "is not connected"
        return HostView(
            id=str(host["id"]),
            runs_desktops=able.get("hypervisor", True) is True,
            works_on_disks=able.get("disk_operations", True) is True,
            away=away,
            facts=dict(unit.storage) if unit else {},
        )

    def _count_disks(self, pool: str, paths: frozenset[str]) -> dict[str, int]:
        counted = self._counts.get(pool)
        now = time.monotonic()
        if counted is None or counted[1] != paths or now - counted[0] > COUNT_S:
            found = queries.count_disks_by_path(self._c.database, pool)
            counted = self._counts[pool] = (now, paths, found)
        return counted[2]


def _pools_of(host: Mapping[str, Any]) -> list[Any]:
    pools = host.get("pools")
    return pools if isinstance(pools, list) and pools else ["default"]
