"""All hypervisors the engine knows, each with its own Unit, and what is known of each.

A Unit exists while its row is valid and enabled, or while anything is placed on it. Editing one row
ends and begins that unit alone. What is known of a host outlives its unit. Filled by
engine/reconcilers/hypervisor.py, read by the domain reconcilers and the loops.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable

from engine.sight import Knowledge
from engine.unit import Unit


class Units:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._units: dict[str, Unit] = {}
        self._fenced: set[str] = set()

    def get(self, hypervisor: str | None) -> Unit | None:
        with self._lock:
            return self._units.get(hypervisor) if hypervisor else None

    def all(self) -> list[Unit]:
        with self._lock:
            return list(self._units.values())

    def put(self, unit: Unit) -> None:
        with self._lock:
            self._units[unit.id] = unit

    def remove(self, hypervisor: str) -> Unit | None:
        with self._lock:
            return self._units.pop(hypervisor, None)

    def fence(self, hypervisor: str, fenced: bool) -> None:
        """Somebody who may say so says that this host is gone for good (or takes it back)."""
        with self._lock:
            (self._fenced.add if fenced else self._fenced.discard)(hypervisor)

    def is_fenced(self, hypervisor: str) -> bool:
        with self._lock:
            return hypervisor in self._fenced

    def knowledge(self) -> dict[str, Knowledge]:
        """Hosts that are not in it cannot be asked."""
        with self._lock:
            known = {name: unit.knowledge for name, unit in self._units.items()}
            return known | dict.fromkeys(self._fenced, Knowledge.FENCED)

    def seen(self, domain_id: Hashable) -> list[Unit]:
        """The listed hosts that had this domain when last seen."""
        return [
            unit
            for unit in self.all()
            if unit.knowledge is Knowledge.LISTED and unit.may_have(domain_id)
        ]
