"""One hypervisor row: have the right Unit run for it, or none, and in the end remove the row.

What makes a unit is compared as a whole (`UnitRow`), so editing one host ends and begins that unit
and no other; a repeated wish runs its checks again. What is wished of a host changes the `Stance`
of its unit and no more: one in maintenance, or to be deleted, is emptied by the keys of its
desktops, one that is disabled takes no new ones, and neither is lost sight of while a desktop is
placed there. Deleting by force says that a host which cannot be asked is gone for good, so what ran
there may run elsewhere. Called by engine/controller.py.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from datetime import timedelta
from typing import Any

from db import observed as door
from db import queries
from db.errors import DatabaseUnavailable
from db.logs import get_logger
from db.owners import drop_owner
from db.rowcheck import LimitsModel, check_hypervisor
from db.states import HypervisorDesired, HypervisorState, Reason
from engine.errors import EngineError
from engine.executor import Executor, power_lane
from engine.health import Report, UnitDoor, UnitRow
from engine.hypervisor.host import HostAddress
from engine.hypervisor.ssh_program import forget_host
from engine.loops.networks import NetworkWatch
from engine.loops.pulse import Pulse
from engine.loops.sampler import Sampler
from engine.loops.storage import StorageWatch
from engine.reconcilers import Context, Outcome
from engine.reconcilers.departure import Departures
from engine.reconcilers.disk_places import DiskSite, all_paths, mark_id, mark_storage
from engine.reconcilers.measure import is_measuring_wished
from engine.reconcilers.ticket_keys import read_ticket_keys
from engine.sight import Knowledge
from engine.stance import OPEN, Stance, measure_drain
from engine.supervisor import Supervisor
from engine.unit import KEEPER_SILENCE_S, Unit
from engine.workqueue import Key, WorkQueue

log = get_logger(__name__)

UNIT_LOOPS = ("pulse", "networks", "storage", "sampler", "hypervisor")
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
        self._departures = Departures(context)
        self._wishes: dict[str, Any] = {}

    def reconcile(self, key: Key, lane: str) -> Outcome:
        row = queries.get_row(self._c.database, "hypervisors", key.id)
        if row is None:
            self._stop(str(key.id))
            self._executor.drop(str(key.id))
            self._c.units.fence(str(key.id), False)
            return Outcome(gone=True)
        problem, wrong_limits = check_hypervisor(row), None
        if problem is not None and problem.field.partition(".")[0] == "limits":
            # What runs there is watched all the same; nothing new comes until they are mended.
            wrong_limits = (problem.message[:1].lower() + problem.message[1:]).rstrip(".")
            row = {**row, "limits": {}}
            problem = check_hypervisor(row)
        if problem is not None:
            self._stop(str(key.id))
            self._write(row, _at_rest("error", Reason.INVALID_ROW, problem.message))
            return Outcome()
        wish = HypervisorDesired(row["desired"]["state"])
        if wish is HypervisorDesired.DELETED and not self._placed(row):
            return self._remove(row, lane)
        if wish is HypervisorDesired.ENABLED and wrong_limits is not None:
            return self._run(row, Stance(wrong_limits))
        return WISHES[wish](self, row)

    def _enable(self, row: dict[str, Any]) -> Outcome:
        return self._run(row, OPEN)

    def _maintain(self, row: dict[str, Any]) -> Outcome:
        return self._drain(row, "it is in maintenance")

    def _disable(self, row: dict[str, Any]) -> Outcome:
        """What runs there is watched to its end; then there is nothing to be connected for."""
        if self._placed(row):
            return self._run(row, Stance("it is disabled"))
        self._rest(row, "It is disabled.")
        return Outcome()

    def _delete(self, row: dict[str, Any]) -> Outcome:
        hypervisor = str(row["id"])
        forced = _is_forced(row["desired"])
        unit = self._c.units.get(hypervisor)
        lost = unit is not None and unit.knowledge is Knowledge.LOST
        if self._c.units.is_fenced(hypervisor):
            return Outcome(again_s=EMPTYING_S)
        if forced and lost:
            # Gone for good, says who may say so: what ran there is down, and may run elsewhere.
            self._stop(hypervisor)
            self._c.units.fence(hypervisor, True)
            self._announce(hypervisor)
            return Outcome(again_s=EMPTYING_S)
        return self._drain(row, "it is being removed", force=forced)

    def _drain(self, row: dict[str, Any], why: str, *, force: bool = False) -> Outcome:
        """Have the desktops go, each by its own key, and show how far that is."""
        left, at = len(self._placed(row)), row["desired"].get("at")
        drain = measure_drain(row.get("observed"), left, at)
        return self._run(row, Stance(why, drains=True, force=force, drain=drain))

    def _run(self, row: dict[str, Any], stance: Stance) -> Outcome:
        """A unit of just this row, that knows what is wished of it."""
        hypervisor = str(row["id"])
        self._c.units.fence(hypervisor, False)
        wanted = describe_unit(row, self._c.watcher.pools.get)
        unit = self._c.units.get(hypervisor)
        wish = (row["desired"]["state"], row["desired"].get("at"), stance.closed)
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
            unit = self._start(wanted, stance)
        self._wishes[hypervisor] = wish
        if unit.stance != stance:
            unit.stance = stance
            self._announce(hypervisor)
        self._show_drain(row, stance)
        if is_measuring_wished(row) is not None:
            self._queue.add(Key("measure", row["id"]))
        return Outcome(again_s=EMPTYING_S if stance.closed and self._placed(row) else None)

    def _is_being_enrolled(self, hypervisor: str) -> bool:
        """Then nobody but the enrolment connects: a host that sees many connections without a login
        may shut us out. Its end puts our key.
        """
        return queries.get_row(self._c.database, "enrolments", hypervisor) is not None

    def _show_drain(self, row: dict[str, Any], stance: Stance) -> None:
        observed = row.get("observed")
        shown = observed.get("drain") if isinstance(observed, Mapping) else None
        field = stance.drain.as_field() if stance.drain else None
        if shown != field:
            self._c.write_part("hypervisors", row["id"], "drain", field)

    def _rest(self, row: dict[str, Any], message: str) -> None:
        self._stop(str(row["id"]))
        self._show_drain(row, OPEN)
        self._write(row, _at_rest("offline", None, message))

    def _remove(self, row: Mapping[str, Any], lane: str) -> Outcome:
        """It is empty. Taking our key out may wait for the host: in a lane of its own."""
        hypervisor = str(row["id"])
        self._stop(hypervisor)
        if lane != power_lane(hypervisor):
            return Outcome(move_to=power_lane(hypervisor))
        address = describe_unit(row, self._c.watcher.pools.get).address
        given_up = self._c.units.is_fenced(hypervisor)
        if not self._departures.depart(
            address, given_up=given_up, remove_row=lambda: self._drop_row(hypervisor)
        ):
            return Outcome(again_s=0.0)
        door.drop_records(self._c.database, [("hypervisor_stats", hypervisor)])
        door.drop_by_index(self._c.database, "hypervisor_windows", "hypervisor", hypervisor)
        forget_host(self._c.settings, hypervisor)
        self._c.units.fence(hypervisor, False)
        return Outcome(gone=True)

    def _drop_row(self, hypervisor: str) -> bool:
        """False where it was wished otherwise meanwhile."""
        self._c.lease.check()
        epoch = self._c.lease.epoch
        done = door.remove_row(self._c.database, "hypervisors", hypervisor, epoch=epoch)
        if done == "unchanged":
            return False
        drop_owner(self._c.database, hypervisor)
        return True

    def _placed(self, row: Mapping[str, Any]) -> list[Hashable]:
        return self._c.watcher.domains.on_host(str(row["id"]))

    def _start(self, wanted: UnitRow, stance: Stance) -> Unit:
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
            UnitDoor(
                self._handle_event,
                self._announce,
                write,
                self._read_marks,
                self._read_ticket_keys,
                lambda row, path: self._mark(unit, row, path),
                lambda: bool(self._c.watcher.domains.on_host(hypervisor)),
            ),
        )
        unit.stance = stance
        self._c.units.put(unit)
        sampler = Sampler(self._c, unit)
        self._supervisor.start(f"hypervisor-{hypervisor}", unit.keep, silence_s=KEEPER_SILENCE_S)
        self._supervisor.start(f"sampler-{hypervisor}", sampler.sample, silence_s=KEEPER_SILENCE_S)
        storage = StorageWatch(self._c, self._queue, unit)
        self._supervisor.start(f"storage-{hypervisor}", storage.look, silence_s=KEEPER_SILENCE_S)
        networks = NetworkWatch(self._c, self._queue, unit)
        self._supervisor.start(f"networks-{hypervisor}", networks.look, silence_s=KEEPER_SILENCE_S)
        if not wanted.runs_desktops:
            self._supervisor.start(f"pulse-{hypervisor}", Pulse(unit).feel)
        log.info("unit_started", hypervisor=hypervisor, address=str(wanted.address))
        return unit

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
        ids = [mark_id(pool, path) for pool, path in row.paths]
        found = queries.get_rows(self._c.database, "storage_marks", ids)
        marks = {mark["id"]: mark.get("path_id") for mark in found}
        return {path: marks.get(mark_id(pool, path)) for pool, path in row.paths}

    def _read_ticket_keys(self) -> dict[str, str]:
        """None for an engine that is no longer the active one: the checks put them on the host."""
        return read_ticket_keys(self._c.database) if self._c.lease.is_held() else {}

    def _mark(self, unit: Unit, row: UnitRow, path: str) -> None:
        """Where the folder is there: what is not mounted yet is marked at its first use."""
        for pool in [pool for pool, one in row.paths if one == path]:
            try:
                mark_storage(self._c, DiskSite(pool, path, unit))
            except (EngineError, DatabaseUnavailable) as error:
                log.info("storage_not_marked", hypervisor=unit.id, path=path, error=str(error))

    def _write(self, row: Mapping[str, Any], report: Report) -> None:
        self._c.write("hypervisors", row, compose_hypervisor(row, report, self._c))


WISHES: dict[HypervisorDesired, Callable[[HypervisorReconciler, dict[str, Any]], Outcome]] = {
    HypervisorDesired.ENABLED: HypervisorReconciler._enable,
    HypervisorDesired.MAINTENANCE: HypervisorReconciler._maintain,
    HypervisorDesired.DISABLED: HypervisorReconciler._disable,
    HypervisorDesired.DELETED: HypervisorReconciler._delete,
}


def compose_hypervisor(row: Mapping[str, Any], report: Report, context: Context) -> dict[str, Any]:
    now = context.now()
    wish = row.get("desired")
    desired = wish if isinstance(wish, Mapping) else {}
    retry_in_s = report.retry_in_s
    reason, message = report.reason, report.message
    problem = check_hypervisor(dict(row))
    if problem is not None:
        reason, message = Reason.INVALID_ROW, problem.message
    return {
        "state": report.state.value,
        "virtualization": report.virtualization,
        "disk_operations": report.disk_operations,
        "reason": str(reason) if reason else None,
        "message": message,
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
    )


def _is_forced(desired: Mapping[str, Any]) -> bool:
    force = desired.get("force")
    return force is True or (force is not None and force == desired.get("at"))


def _at_rest(word: str, reason: Reason | None, message: str) -> Report:
    return Report(HypervisorState(word), word, word, reason=reason, message=message)
