"""Measures the storage of one hypervisor when that is wished: `measure.at` in its row, newer than
what `observed.speeds` answers.

It takes a while, so it runs under a key and in a lane of its own and holds up neither the host's
checks nor its desktops. The wish stays until it is answered: a killed engine's successor measures
again. Queued by engine/reconcilers/hypervisor.py, called by engine/controller.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from db import queries
from engine.errors import HostLost
from engine.executor import task_lane
from engine.reconcilers import Context, Outcome
from engine.storage.speed import measure
from engine.workqueue import Key

AGAIN_S = 5.0


class MeasureReconciler:
    def __init__(self, context: Context) -> None:
        self._c = context

    def reconcile(self, key: Key, lane: str) -> Outcome:
        row = queries.get_row(self._c.database, "hypervisors", key.id)
        unit = self._c.units.get(str(key.id))
        wished_at = is_measuring_wished(row) if row else None
        if row is None or wished_at is None or unit is None:
            return Outcome(gone=True)
        if lane != task_lane(unit.id):
            return Outcome(move_to=task_lane(unit.id))
        before = _speeds_of(row)
        self._write(key, {**before, "is_measuring": True})
        found = []
        try:
            for path in sorted({path for _pool, path in unit.row.paths}):
                self._c.lease.check()
                found.append(measure(unit.ssh, path, self._c.installation).as_field())
        except HostLost:
            self._write(key, {**before, "is_measuring": False})
            return Outcome(again_s=AGAIN_S)
        answer = {"for": wished_at, "at": self._c.now(), "paths": found, "is_measuring": False}
        self._write(key, answer)
        return Outcome(gone=True)

    def _write(self, key: Key, speeds: dict[str, Any]) -> None:
        self._c.write_part("hypervisors", key.id, "speeds", speeds)


def is_measuring_wished(row: Mapping[str, Any]) -> datetime | None:
    """When it was wished; None where that was answered, or nobody wished it."""
    wish = row.get("measure")
    at = wish.get("at") if isinstance(wish, Mapping) else None
    answered = _speeds_of(row).get("for")
    return at if isinstance(at, datetime) and at != answered else None


def _speeds_of(row: Mapping[str, Any]) -> dict[str, Any]:
    observed = row.get("observed")
    speeds = observed.get("speeds") if isinstance(observed, Mapping) else None
    return dict(speeds) if isinstance(speeds, Mapping) else {}
