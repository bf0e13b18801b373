"""Makes a template from a stopped desktop, and settles what was left of making one.

Runs under the template's key, in the lane of a host that works on both paths, and holds the disks
of both. The steps and their record are engine/reconcilers/template_steps.py's; here is who does
them when, and what the template's row shows meanwhile. The desktop's own key sees the record and
waits (engine/decisions.py). Called by engine/reconcilers/domain.py and domain_disks.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from db.logs import get_logger
from db.states import Activity, Observed, Reason
from engine.decisions import Decision
from engine.errors import EngineError, Terminal, Transient
from engine.executor import task_lane
from engine.reconcilers import Context, Elsewhere
from engine.reconcilers.disk_places import DiskSite, find_hosts_for, prove_storage
from engine.reconcilers.domain_origins import read_source
from engine.reconcilers.domain_reading import Reading
from engine.reconcilers.observation import Changes, activity, compose
from engine.reconcilers.template_steps import Ledger, Record, Show, TemplateSteps, making_id
from engine.sight import Sight, observed_of
from engine.storage.paths import check_disk_path, split_disk_path
from engine.storage.templates import TemplateFiles
from engine.unit import Unit
from engine.workqueue import Key

log = get_logger(__name__)

PROGRESS_S = 1.0


class Templates:
    def __init__(self, context: Context) -> None:
        self._c = context

    def make(self, reading: Reading, decision: Decision, site: DiskSite, lane: str) -> None:
        """From its desktop, whole or not at all. Afterwards the row is decided anew."""
        if reading.source is None:
            raise Transient(Reason.PARENT_NOT_READY, "Its desktop is not there.", step="check")
        show = self.show_on(reading, decision.sight)
        show("check", None)
        _require_lane(site.unit, lane)
        desktop_id = reading.source.id
        with self._c.disk_locks.hold(reading.id), self._c.disk_locks.hold(desktop_id):
            problem = read_source(self._c, reading)
            if problem is not None:
                raise Transient(Reason.PARENT_NOT_READY, problem, step="check")
            self._c.lease.check()
            record = self._describe(reading, site)
            self._prove(record, site)
            steps = self._steps(site.unit)
            record = steps.check(record, show)
            self._refuse_files(record, steps, site)
            record = steps.begin(record)
            self._c.topics.wake(Key("domain", desktop_id))
            try:
                record = steps.commit(steps.prepare(record, show))
            except EngineError:
                self._take_back(steps, record)
                raise
            self._finish(steps, record, show)

    def settle(self, record: Record, lane: str, show: Show | None = None) -> None:
        """Back or forward, as the record says; the rows need not be there any more. Raises
        EngineErrors that are worth another try.
        """
        paths = [path for disk in record["disks"] for path in (disk["source"], disk["path"])]
        places = {split_disk_path(path).pool_path for path in paths}
        hosts, problem = find_hosts_for(self._c, record["pool"], places)
        if problem is not None:
            raise Transient(Reason.NO_DISK_HOST, problem, step="settle")
        unit = hosts[min(hosts)]
        _require_lane(unit, lane)
        holds = self._c.disk_locks
        with holds.hold(record["template"]), holds.hold(record["desktop"]):
            self._c.lease.check()
            self._prove(record, DiskSite(record["pool"], "", unit), make=False)
            steps = self._steps(unit)
            log.info("template_settled", template=record["template"], state=record["state"])
            if record["state"] == "committed":
                self._finish(steps, record, show or _say_nothing)
            else:
                steps.roll_back(record)
                self._c.topics.fire(making_id(record["desktop"]))

    def _finish(self, steps: TemplateSteps, record: Record, show: Show) -> None:
        """Past the point of no return there is only forward: every failure is worth another try."""
        try:
            steps.finish(record, show)
        except Terminal as error:
            raise Transient(
                error.reason,
                error.message,
                step=error.step,
                command=error.command,
                answer=error.answer,
            ) from error
        self._c.topics.fire(making_id(record["desktop"]))
        self._c.topics.fire(f"parent/{record['template']}")

    def _take_back(self, steps: TemplateSteps, record: Record) -> None:
        """So that the desktop is free again. Where that fails too it is done at the next visit."""
        try:
            steps.roll_back(record)
        except EngineError as error:
            log.warning("template_not_rolled_back", id=record["id"], error=str(error))
            return
        self._c.topics.fire(making_id(record["desktop"]))

    def _describe(self, reading: Reading, site: DiskSite) -> Record:
        source = reading.source
        assert source is not None  # noqa: S101 (the caller has read it)
        disks = []
        for at, record in enumerate(source.made):
            place = split_disk_path(str(record["path"]))
            path = check_disk_path(place.path, source.id, {place.pool_path}).path
            disks.append(
                {
                    "id": str(record["disk"]),
                    "bus": str(record.get("bus") or "virtio"),
                    "order": f"{at:03d}",
                    "source": path,
                    "path": site.disk(reading.id, str(record["disk"])),
                    "backing": record.get("backing"),
                }
            )
        return {
            "id": making_id(source.id),
            "template": reading.id,
            "desktop": source.id,
            "pool": site.pool,
            "disks": disks,
            "deadline": self._deadline(),
        }

    def _prove(self, record: Record, site: DiskSite, *, make: bool = True) -> None:
        """The right storage is mounted at both ends. Only the template's may be a new one."""
        ends = {split_disk_path(disk["source"]).pool_path: False for disk in record["disks"]}
        ends |= {split_disk_path(disk["path"]).pool_path: make for disk in record["disks"]}
        for path, may_make in ends.items():
            prove_storage(self._c, DiskSite(site.pool, path, site.unit), make=may_make)

    def _refuse_files(self, record: Record, steps: TemplateSteps, site: DiskSite) -> None:
        """What is in the template's place later was put there by this making, and may go again."""
        for disk in record["disks"]:
            if site.unit.disks.look(disk["path"]) is not None:
                raise Terminal(
                    Reason.DISK_FAILED,
                    f"There is a file {disk['path']} already, and nobody knows of whom. "
                    "It was not touched: look at it, move it away, and try again.",
                    step="check",
                )

    def _steps(self, unit: Unit) -> TemplateSteps:
        ledger = Ledger(self._c.database, self._c.lease.epoch, self._c.lease.check)
        return TemplateSteps(ledger, TemplateFiles(unit.disks))

    def show_on(self, reading: Reading, sight: Sight) -> Show:
        """Shows each new step in the template's row, and a copy's percentage each second."""
        deadline = self._deadline()
        shown: tuple[str, float] = ("", 0.0)

        def show(step: str, percent: float | None) -> None:
            nonlocal shown
            if step == shown[0] and time.monotonic() - shown[1] < PROGRESS_S:
                return
            shown = (step, time.monotonic())
            field = activity(Activity.CREATING, step, deadline, percent)
            absent = Sight(Observed.ABSENT, None, sight.reason, sight.message)
            failed = observed_of(reading.row).get("failure")
            # One that is tried again by itself stays: it counts the attempts.
            kept = isinstance(failed, Mapping) and failed.get("terminal") is False
            changes = Changes(activity=field, failure=... if kept else None)
            observed = compose(reading.row, absent, changes, self._c.now())
            self._c.write_domain(reading.row, observed)
            reading.row["observed"] = {**observed, "epoch": self._c.lease.epoch}

        return show

    def _deadline(self) -> Any:
        return self._c.now() + timedelta(seconds=self._c.settings.convert_timeout_s)


def _require_lane(unit: Unit, lane: str) -> None:
    """A copy may take long: desktops are made in another lane meanwhile."""
    if lane != task_lane(unit.id):
        raise Elsewhere(task_lane(unit.id))


def _say_nothing(step: str, percent: float | None) -> None:
    pass
