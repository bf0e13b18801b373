"""One hypervisor row: have the right Unit run for it, or none, and in the end remove the row.

What makes a unit is compared as a whole (`UnitRow`), so editing one host ends and begins that unit
and no other; a repeated wish runs its checks again. A host that is to be deleted goes when nothing
is placed on it any more; deleting it by force says that a host which cannot be asked is gone for
good, so what ran there may run elsewhere. Called by engine/controller.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from db import observed as door
from db import queries
from db.logs import get_logger
from db.rowcheck import LimitsModel, check_hypervisor
from db.states import HypervisorDesired, HypervisorState, Reason
from engine.decisions import Knowledge
from engine.executor import Executor
from engine.health import Report, UnitDoor, UnitRow
from engine.hypervisor.host import HostAddress
from engine.loops.networks import NetworkWatch
from engine.loops.sampler import Sampler
from engine.loops.storage import StorageWatch
from engine.reconcilers import Context, Outcome
from engine.reconcilers.disk_places import all_paths
from engine.supervisor import Supervisor
from engine.unit import KEEPER_SILENCE_S, Unit
from engine.workqueue import Key, WorkQueue

log = get_logger(__name__)

UNIT_LOOPS = ("networks", "storage", "sampler", "hypervisor")
STOP_S = 3.0
"""How long a unit may take to end before it is left to its deadlines."""
EMPTYING_S = 2.0
HELD_S = 10.0


class HypervisorReconciler:
    def __init__(
        self, context: Context, queue: WorkQueue, supervisor: Supervisor, executor: Executor
    ) -> None:
        self._c, self._queue = context, queue
        self._supervisor, self._executor = supervisor, executor
        self._wishes: dict[str, Any] = {}

    def reconcile(self, key: Key, lane: str) -> Outcome:
        row = queries.get_row(self._c.database, "hypervisors", key.id)
        if row is None:
            self._stop(str(key.id))
            self._c.units.fence(str(key.id), False)
            return Outcome(gone=True)
        problem = check_hypervisor(row)
        if problem is not None:
            self._stop(str(key.id))
            self._write(row, _at_rest("error", Reason.INVALID_ROW, problem.message))
            return Outcome()
        wish = HypervisorDesired(row["desired"]["state"])
        return WISHES[wish](self, row)

    def _run(self, row: dict[str, Any]) -> Outcome:
        """A unit of just this row."""
        hypervisor = str(row["id"])
        self._c.units.fence(hypervisor, False)
        wanted = describe_unit(row, self._c.watcher.pools.get)
        unit = self._c.units.get(hypervisor)
        wish = (row["desired"]["state"], row["desired"].get("at"))
        if unit is None and self._is_being_enrolled(hypervisor):
            self._write(row, _at_rest("connecting", None, "The engine's access is being set up."))
            return Outcome(again_s=HELD_S)
        if unit is not None and unit.row == wanted:
            if self._wishes.get(hypervisor) != wish:
                unit.ask_for_check()
        elif unit is not None and unit.row.is_same_host(wanted):
            unit.adopt(wanted)
            if self._wishes.get(hypervisor) != wish:
                unit.ask_for_check()
        else:
            self._stop(hypervisor)
            self._start(wanted)
        self._wishes[hypervisor] = wish
        return Outcome()

    def _is_being_enrolled(self, hypervisor: str) -> bool:
        """Then nobody but the enrolment connects: a host that sees many connections without a login
        may shut us out. Its end puts our key.
        """
        return queries.get_row(self._c.database, "enrolments", hypervisor) is not None

    def _rest(self, row: dict[str, Any]) -> Outcome:
        self._stop(str(row["id"]))
        self._write(row, _at_rest("offline", None, "It is disabled."))
        return Outcome()

    def _delete(self, row: dict[str, Any]) -> Outcome:
        hypervisor = str(row["id"])
        desired = row["desired"]
        forced = desired.get("force") is True or (
            desired.get("force") is not None and desired.get("force") == desired.get("at")
        )
        unit = self._c.units.get(hypervisor)
        reachable = unit is not None and unit.knowledge is Knowledge.LISTED
        placed = self._c.watcher.domains.on_host(hypervisor)
        if placed and (reachable or not forced):
            message = (
                f"{len(placed)} desktops are on it: stop them first, or delete it by force if it "
                "is gone for good."
            )
            report = _at_rest("offline", Reason.IN_USE, message)
            self._write(row, report)
            return Outcome(again_s=EMPTYING_S)
        self._stop(hypervisor)
        if placed:
            self._c.units.fence(hypervisor, True)
            self._announce(hypervisor)
            return Outcome(again_s=EMPTYING_S)
        self._c.lease.check()
        epoch = self._c.lease.epoch
        if door.remove_row(self._c.database, "hypervisors", hypervisor, epoch=epoch) == "unchanged":
            return Outcome(again_s=0.0)
        door.drop_records(self._c.database, [("hypervisor_stats", hypervisor)])
        door.drop_by_index(self._c.database, "hypervisor_windows", "hypervisor", hypervisor)
        self._c.units.fence(hypervisor, False)
        return Outcome(gone=True)

    def _start(self, wanted: UnitRow) -> None:
        hypervisor = wanted.address.id

        def write(_hypervisor: str, report: Report) -> None:
            row = self._c.watcher.hypervisors.get(hypervisor)
            # A unit that was replaced may still be waiting for its host: it has no say any more.
            if row is not None and self._c.units.get(hypervisor) is unit:
                self._write(row, report)

        unit = Unit(
            wanted,
            self._c.settings,
            self._c.installation,
            UnitDoor(self._handle_event, self._announce, write, self._read_marks),
        )
        self._c.units.put(unit)
        sampler = Sampler(self._c, unit)
        self._supervisor.start(f"hypervisor-{hypervisor}", unit.keep, silence_s=KEEPER_SILENCE_S)
        self._supervisor.start(f"sampler-{hypervisor}", sampler.sample, silence_s=KEEPER_SILENCE_S)
        storage = StorageWatch(self._c, self._queue, unit)
        self._supervisor.start(f"storage-{hypervisor}", storage.look, silence_s=KEEPER_SILENCE_S)
        networks = NetworkWatch(self._c, self._queue, unit)
        self._supervisor.start(f"networks-{hypervisor}", networks.look, silence_s=KEEPER_SILENCE_S)
        log.info("unit_started", hypervisor=hypervisor, address=str(wanted.address))

    def _stop(self, hypervisor: str) -> None:
        unit = self._c.units.remove(hypervisor)
        if unit is None:
            return
        names = [f"{kind}-{hypervisor}" for kind in UNIT_LOOPS]
        for name in names:
            self._supervisor.tell_to_stop(name)
        unit.close()
        late = self._supervisor.stop(names, STOP_S)
        self._executor.drop(hypervisor)
        self._wishes.pop(hypervisor, None)
        self._announce(hypervisor)
        log.info("unit_stopped", hypervisor=hypervisor, late=late)

    def _handle_event(self, domain_id: str) -> None:
        if self._c.watcher.domains.get(domain_id) is not None:
            self._queue.add(Key("domain", domain_id))

    def _announce(self, hypervisor: str) -> None:
        """What is known of a host, or what it can do, has changed."""
        for domain_id in self._c.watcher.domains.on_host(hypervisor):
            self._queue.add(Key("domain", domain_id))
        for topic in (f"host/{hypervisor}", "room", "disk-host"):
            self._c.topics.fire(topic)
        for pool in self._c.watcher.pools.all():
            self._queue.add(Key("pool", pool["id"]))

    def _read_marks(self, row: UnitRow) -> dict[str, str | None]:
        ids = [f"{pool}:{path}" for pool, path in row.paths]
        found = queries.get_rows(self._c.database, "storage_marks", ids)
        marks = {mark["id"]: mark.get("path_id") for mark in found}
        return {path: marks.get(f"{pool}:{path}") for pool, path in row.paths}

    def _write(self, row: Mapping[str, Any], report: Report) -> None:
        self._c.write("hypervisors", row, compose_hypervisor(row, report, self._c))


WISHES: dict[HypervisorDesired, Callable[[HypervisorReconciler, dict[str, Any]], Outcome]] = {
    HypervisorDesired.ENABLED: HypervisorReconciler._run,
    HypervisorDesired.MAINTENANCE: HypervisorReconciler._run,
    HypervisorDesired.DISABLED: HypervisorReconciler._rest,
    HypervisorDesired.DELETED: HypervisorReconciler._delete,
}


def compose_hypervisor(row: Mapping[str, Any], report: Report, context: Context) -> dict[str, Any]:
    now = context.now()
    desired = row.get("desired") or {}
    retry_in_s = report.retry_in_s
    return {
        "state": report.state.value,
        "virtualization": report.virtualization,
        "disk_operations": report.disk_operations,
        "reason": str(report.reason) if report.reason else None,
        "message": report.message,
        "host_key_offered": report.host_key_offered,
        "checks": [dict(check) for check in report.checks],
        "info": dict(report.info),
        "retry_at": None if retry_in_s is None else now + timedelta(seconds=retry_in_s),
        "for": {"state": desired.get("state"), "at": desired.get("at")},
        "at": now,
    }


def describe_unit(
    row: Mapping[str, Any], find_pool: Callable[[str], Mapping[str, Any] | None]
) -> UnitRow:
    """From a row that was judged valid."""
    capabilities = row.get("capabilities") or {"hypervisor": True, "disk_operations": True}
    pools = [str(pool) for pool in row.get("pools") or ["default"]]
    viewer = row.get("viewer") if isinstance(row.get("viewer"), Mapping) else {}
    port = viewer.get("port") if viewer else None
    name = (viewer.get("hostname") if viewer else None) or row["hostname"]
    limits = LimitsModel.model_validate(row.get("limits") or {}).model_dump(exclude_none=True)
    return UnitRow(
        address=HostAddress(
            id=str(row["id"]),
            hostname=str(row["hostname"]),
            port=int(row.get("port") or 22),
            user=str(row.get("user") or "root"),
            host_key=row.get("host_key") or None,
        ),
        runs_desktops=capabilities.get("hypervisor") is True,
        works_on_disks=capabilities.get("disk_operations") is True,
        pools=frozenset(pools),
        limits=tuple(sorted(limits.items())),
        viewer=(str(name), port) if isinstance(port, int) else None,
        paths=tuple((pool, path) for pool in pools for path in sorted(all_paths(find_pool(pool)))),
        takes_new=row["desired"]["state"] == HypervisorDesired.ENABLED,
    )


def _at_rest(word: str, reason: Reason | None, message: str) -> Report:
    return Report(HypervisorState(word), word, word, reason=reason, message=message)
