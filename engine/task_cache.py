"""What the engine keeps in memory of table `tasks`: which of them work, or are to work, on which
domain.

Written by engine/watcher.py, and by the task reconciler right before it writes `observed`, so that
a desktop whose disks are about to be worked on is not started meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from typing import Any

from db.states import TASK_ENDED, TaskState


class Tasks:
    """Whole rows of table `tasks`, and which of them are still to be done on which domain. Thread
    safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[Hashable, dict[str, Any]] = {}
        self._open: dict[str, set[Hashable]] = {}

    def put(self, row: Mapping[str, Any]) -> None:
        with self._lock:
            self._remove(row["id"])
            self._rows[row["id"]] = dict(row)
            if str(_mapping(row.get("observed")).get("state")) not in TASK_ENDED:
                for domain_id in domains_of_task(row):
                    self._open.setdefault(domain_id, set()).add(row["id"])

    def remove(self, row_id: Hashable) -> None:
        with self._lock:
            self._remove(row_id)

    def get(self, row_id: Hashable) -> dict[str, Any] | None:
        with self._lock:
            return self._rows.get(row_id)

    def open_on(self, domain_id: Hashable) -> list[Hashable]:
        """Ids of the tasks of this domain that have not ended."""
        with self._lock:
            return list(self._open.get(str(domain_id), ()))

    def running_on(self, domain_id: Hashable, but: Hashable = None) -> dict[str, Any] | None:
        """The task that works on this domain's disks, or had begun to when its engine ended."""
        with self._lock:
            for row_id in self._open.get(str(domain_id), ()):
                row = self._rows[row_id]
                state = _mapping(row.get("observed")).get("state")
                if state == TaskState.RUNNING and row_id != but:
                    return row
        return None

    def _remove(self, row_id: Hashable) -> None:
        row = self._rows.pop(row_id, None)
        for domain_id in domains_of_task(row or {}):
            members = self._open.get(domain_id)
            if members is not None:
                members.discard(row_id)
                if not members:
                    del self._open[domain_id]


def domains_of_task(row: Mapping[str, Any]) -> list[str]:
    """What it works on and what it makes."""
    found = (row.get("target"), _mapping(row.get("args")).get("into"))
    return [one for one in found if isinstance(one, str)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
