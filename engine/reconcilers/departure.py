"""The end of a hypervisor: our key is taken out of the host, then the row goes.

One try, within the deadlines of a login: a host that is dead, or lets us in no more, holds its
removal up no longer than that, and the audit says that the key was left there. It also stays while
another row leads to the same host, and is put back where such a row came up, or the deletion was
called off, in the very moment: the session that took it out is still logged in. Called by
engine/reconcilers/hypervisor.py, in a lane of the host.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from db import observed as door
from db import queries
from db.logs import get_logger
from engine.errors import EngineError
from engine.hypervisor.host import HostAddress, is_same_key
from engine.hypervisor.withdraw import KeyWithdrawal
from engine.reconcilers import Context

log = get_logger(__name__)


@dataclass(frozen=True)
class Parting:
    """What became of the key: removed, absent, kept (another row needs it), or left (and why)."""

    key: str
    message: str


class Departures:
    def __init__(self, context: Context) -> None:
        self._c = context
        self._lock = threading.Lock()
        self._leaving: set[str] = set()

    def depart(
        self, address: HostAddress, *, given_up: bool, remove_row: Callable[[], bool]
    ) -> bool:
        """False where `remove_row` says that it is no longer to go. `given_up`: the host is dead,
        says who may say so, and is not asked.
        """
        twin = self._find_twin(address, is_leaving=True)
        try:
            if given_up or not address.host_key:
                why = "the host was given up" if given_up else "it was never logged in to"
                return self._remove(address, _left(why), remove_row)
            if twin is not None:
                return self._remove(address, _kept(twin), remove_row)
            return self._part(address, remove_row)
        finally:
            with self._lock:
                self._leaving.discard(address.id)

    def _part(self, address: HostAddress, remove_row: Callable[[], bool]) -> bool:
        with contextlib.closing(KeyWithdrawal(address, self._c.settings)) as visit:
            try:
                self._c.lease.check()
                parting = _taken(visit.take_out())
            except EngineError as error:
                return self._remove(address, _left(error.message), remove_row)
            gone = remove_row()
            twin = self._find_twin(address)
            if parting.key == "removed" and (twin is not None or not gone):
                parting = self._put_back(visit, twin or address.id)
        return self._tell(address, parting, gone)

    def _put_back(self, visit: KeyWithdrawal, twin: str) -> Parting:
        try:
            visit.put_back()
        except EngineError as error:
            return _left(f"it could not be put back for {twin}: {error.message}")
        return _kept(twin)

    def _remove(
        self, address: HostAddress, parting: Parting, remove_row: Callable[[], bool]
    ) -> bool:
        return self._tell(address, parting, remove_row())

    def _tell(self, address: HostAddress, parting: Parting, gone: bool) -> bool:
        log.info("hypervisor_left", hypervisor=address.id, key=parting.key, gone=gone)
        if gone:
            event = {
                "id": str(uuid.uuid4()),
                "at": self._c.now(),
                "who": "engine",
                "what": "hypervisor.deleted",
                "target": f"hypervisor/{address.id}",
                "detail": {"key": parting.key, "message": parting.message},
            }
            door.append_events(self._c.database, [event])
        return gone

    def _find_twin(self, address: HostAddress, *, is_leaving: bool = False) -> str | None:
        """Another row that leads to the same user of the same host. Of several that go at once the
        last one finds none: each notes here that it `is_leaving`, and counts no more.
        """
        with self._lock:
            rows = queries.list_rows(self._c.database, "hypervisors")
            twins = [
                str(row["id"])
                for row in rows
                if str(row["id"]) not in self._leaving and _leads_to(row, address)
            ]
            if is_leaving:
                self._leaving.add(address.id)
        return min((twin for twin in twins if twin != address.id), default=None)


def _leads_to(row: Mapping[str, Any], address: HostAddress) -> bool:
    if (row.get("user") or "root") != address.user:
        return False
    host_key = row.get("host_key")
    if isinstance(host_key, str) and host_key and address.host_key:
        return is_same_key(host_key, address.host_key)
    return (row.get("hostname"), row.get("port") or 22) == (address.hostname, address.port)


def _taken(removed: bool) -> Parting:
    if removed:
        return Parting("removed", "The engine's key was taken out of the host.")
    return Parting("absent", "The engine's key is not in ~/.ssh/authorized_keys of the host.")


def _kept(twin: str) -> Parting:
    return Parting("kept", f"The engine's key stays on the host, which is also {twin}.")


def _left(why: str) -> Parting:
    message = f"The engine's key may still be in ~/.ssh/authorized_keys of the host: {why}"
    return Parting("left", message if message.endswith(".") else f"{message}.")
