"""One row of table `enrolments`: get the engine access to that host, once, and forget the password.

The row goes before anything else is said of how it ended, and goes in any case when its time is
over; an engine that is killed in between leaves it to the next, which begins anew. What is being
done is shown in `hypervisors.observed.enrolment`, the one part of a hypervisor's `observed` that is
written here. Where a person must accept the host's key first, the row waits for that. Called by
engine/controller.py.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import Any

from db import enrolments, queries
from db import observed as door
from db.logs import get_logger
from db.rowcheck import check_hypervisor
from db.states import EnrolmentState, Reason
from engine.errors import EngineError, HostKeyRefused, Terminal
from engine.executor import power_lane
from engine.hypervisor.enroll import Enrolled, Purpose, Trusted, enroll, find_trusted_key
from engine.hypervisor.enrolment_key import EnrolmentKey, Order
from engine.hypervisor.login import fingerprint_of
from engine.reconcilers import Context, Outcome
from engine.reconcilers.ticket_keys import read_ticket_keys
from engine.workqueue import Key, WorkQueue

log = get_logger(__name__)

LIFE_S = 110.0
"""No row outlives this since it was first seen, whatever it says itself."""
HOST_ROW_WAIT_S, HOST_ROW_LOOK_S = 10.0, 0.2
"""How long an enrolment may be there before its hypervisor's row is."""


class EnrolmentReconciler:
    def __init__(self, context: Context, queue: WorkQueue, key: EnrolmentKey) -> None:
        self._c, self._queue, self._key = context, queue, key
        self._first_seen: dict[Hashable, tuple[object, float]] = {}
        self._waiting: dict[Hashable, object] = {}

    def reconcile(self, key: Key, lane: str) -> Outcome:
        row = queries.get_row(self._c.database, "enrolments", key.id)
        if row is None:
            return self._close(key.id)
        left_s = self._left_s(row)
        host = queries.get_row(self._c.database, "hypervisors", key.id)
        if host is None and left_s > 0 and self._age_s(row) < HOST_ROW_WAIT_S:
            return Outcome(again_s=HOST_ROW_LOOK_S)
        if host is None or left_s <= 0:
            return self._end(row, _failed(Reason.ENROLMENT_EXPIRED, EXPIRED))
        if lane != power_lane(str(key.id)):
            return Outcome(move_to=power_lane(str(key.id)))
        if self._waiting.get(key.id) == row.get("sealed") and not host.get("host_key"):
            return Outcome(again_s=left_s)
        try:
            enrolled = self._enroll(row, host)
        except EngineError as error:
            return self._handle_error(row, error, left_s)
        return self._finish(row, host, enrolled)

    def _close(self, row_id: Hashable) -> Outcome:
        """There is no order (any more). What its page still shows as going on has ended."""
        self._first_seen.pop(row_id, None)
        self._waiting.pop(row_id, None)
        host = queries.get_row(self._c.database, "hypervisors", row_id)
        observed = host.get("observed") if host else None
        shown = observed.get("enrolment") if isinstance(observed, Mapping) else None
        if isinstance(shown, Mapping) and str(shown.get("state")) in UNFINISHED:
            self._write({**shown, "id": row_id}, **_failed(Reason.ENROLMENT_EXPIRED, EXPIRED))
        return Outcome(gone=True)

    def _enroll(self, row: Mapping[str, Any], host: Mapping[str, Any]) -> Enrolled:
        order = self._key.open(row.get("sealed"))
        _check_target(order, host)
        accepted = host.get("host_key") or None
        self._say(row, f"Connecting to {order.hostname} port {order.port}.")
        trusted = find_trusted_key(order, accepted, self._c.settings.connect_timeout_s)
        capabilities = host.get("capabilities") or {"hypervisor": True}
        purpose = Purpose(
            capabilities.get("hypervisor") is True, read_ticket_keys(self._c.database)
        )
        self._c.lease.check()
        return enroll(
            order,
            trusted,
            purpose,
            self._c.settings,
            lambda message: self._say(row, message, **_shown(trusted)),
        )

    def _handle_error(self, row: Mapping[str, Any], error: EngineError, left_s: float) -> Outcome:
        log.info("enrolment_refused", hypervisor=row["id"], reason=error.reason, error=str(error))
        if isinstance(error, HostKeyRefused) and error.reason == Reason.HOST_KEY_UNKNOWN:
            self._waiting[row["id"]] = row.get("sealed")
            offered = error.offered or ""
            shown = {"fingerprint": fingerprint_of(offered), "host_key": offered}
            state = EnrolmentState.WAITING
            self._write(row, state, error.message, reason=error.reason, **shown)
            return Outcome(again_s=left_s)
        return self._end(row, _failed(error.reason, error.message))

    def _finish(
        self, row: Mapping[str, Any], host: Mapping[str, Any], enrolled: Enrolled
    ) -> Outcome:
        trusted = enrolled.trusted
        if trusted.why != "accepted":
            port = int(host.get("port") or 22)
            door.pin_host_key(self._c.database, row["id"], host["hostname"], port, trusted.host_key)
        log.info("enrolled", hypervisor=row["id"], trusted=trusted.why)
        fields = {"state": EnrolmentState.DONE, "message": enrolled.message, **_shown(trusted)}
        return self._end(row, fields)

    def _end(self, row: Mapping[str, Any], fields: dict[str, Any]) -> Outcome:
        """Forget the password, then say how it went and have the host looked at."""
        enrolments.drop(self._c.database, row["id"], row.get("sealed"))
        self._waiting.pop(row["id"], None)
        self._first_seen.pop(row["id"], None)
        self._write(row, **fields)
        unit = self._c.units.get(str(row["id"]))
        if unit is not None:
            unit.ask_for_check()
        self._queue.add(Key("hypervisor", row["id"]))
        # Another order may have come in its place meanwhile.
        return Outcome(again_s=0.0)

    def _say(self, row: Mapping[str, Any], message: str, **more: Any) -> None:
        self._write(row, EnrolmentState.WORKING, message, **more)

    def _write(
        self, row: Mapping[str, Any], state: EnrolmentState, message: str, **more: Any
    ) -> None:
        order = row.get("order")
        value = {
            "state": state.value,
            "order": order if isinstance(order, str) else "",
            "reason": None,
            "message": message,
            "fingerprint": None,
            "host_key": None,
            "trusted": None,
            **more,
            "at": self._c.now(),
        }
        self._c.write_part("hypervisors", row["id"], "enrolment", value)

    def _age_s(self, row: Mapping[str, Any]) -> float:
        """Since this engine saw it first, on our own clock."""
        sealed, now_s = row.get("sealed"), time.monotonic()
        known = self._first_seen.get(row["id"])
        if known is None or known[0] != sealed:
            known = self._first_seen[row["id"]] = (sealed, now_s)
        return now_s - known[1]

    def _left_s(self, row: Mapping[str, Any]) -> float:
        """How long it may stay; its own `expires_at` can only shorten that."""
        left_s = LIFE_S - self._age_s(row)
        expires_at = row.get("expires_at")
        if not isinstance(expires_at, datetime) or expires_at.tzinfo is None:
            return left_s
        return min(left_s, (expires_at - self._c.now()).total_seconds())


UNFINISHED = frozenset({EnrolmentState.WORKING.value, EnrolmentState.WAITING.value})
EXPIRED = (
    "The time for it was over before the engine could log in, and the password was forgotten. "
    "Give it again."
)


def _failed(reason: str, message: str) -> dict[str, Any]:
    return {"state": EnrolmentState.FAILED, "reason": str(reason), "message": message}


def _shown(trusted: Trusted) -> dict[str, Any]:
    return {
        "fingerprint": trusted.fingerprint,
        "host_key": trusted.host_key,
        "trusted": trusted.why,
    }


def _check_target(order: Order, host: Mapping[str, Any]) -> None:
    """The box says whom the password is for. A row that says otherwise by now gets none."""
    problem = check_hypervisor(dict(host))
    if problem is not None:
        raise Terminal(Reason.INVALID_ROW, problem.message)
    row = (host["id"], host["hostname"], host.get("port") or 22, host.get("user") or "root")
    if row != (order.hypervisor, order.hostname, order.port, order.user):
        raise Terminal(
            Reason.BAD_ENROLMENT,
            "The password was given for another address or user than this hypervisor has now, so "
            "it was sent nowhere. Give it again.",
        )
