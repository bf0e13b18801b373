"""What a hypervisor is fit for, found by its checks, and how that is shown in its row.

The two healths of a host (running desktops, working on disks) are separate: each is what the checks
that affect it say, and a host without libvirt may still work on disks. A storage path that fails
takes neither away: the host is degraded, and only what lies on that path is kept from it. Warnings
are shown and change nothing. Used by engine/unit.py, whose keeper loop is the only one to call it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from db.errors import DatabaseUnavailable
from db.hypervisor_documents import HypervisorCheck
from db.states import HypervisorState, Reason
from engine.errors import EngineError, HostKeyRefused, HostLost
from engine.hypervisor.checks import FAILED, STORAGE, path_of, run_checks
from engine.hypervisor.checks.visit import Visit
from engine.hypervisor.host import HostAddress
from engine.settings import EngineSettings


@dataclass(frozen=True)
class UnitRow:
    """What of its row makes a unit: another value is another unit."""

    address: HostAddress
    runs_desktops: bool
    works_on_disks: bool
    pools: frozenset[str]
    limits: tuple[tuple[str, float], ...]
    viewer: tuple[str, int] | None
    """Where its websocket proxy should answer, if not where the host says."""
    paths: tuple[tuple[str, str], ...]
    """(pool, path) of the storage it is to have."""

    def is_same_host(self, other: UnitRow) -> bool:
        """Whether a unit of the one can become the other's without connecting anew."""
        mine = replace(
            self,
            pools=other.pools,
            limits=other.limits,
            paths=other.paths,
        )
        return mine == other


@dataclass(frozen=True)
class Report:
    """What `hypervisors.observed` shows; see db/hypervisor_documents.ObservedHypervisor."""

    state: HypervisorState
    virtualization: str
    disk_operations: str
    reason: str | None = None
    message: str | None = None
    host_key_offered: str | None = None
    checks: tuple[HypervisorCheck, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    retry_in_s: float | None = None


@dataclass(frozen=True)
class UnitDoor:
    """What a unit tells and asks the rest of the engine. All may be called on any thread."""

    on_event: Callable[[str], None]
    """A domain to look at."""
    on_change: Callable[[str], None]
    """What can be known of this host, or done there, has changed."""
    write: Callable[[str, Report], None]
    """Into the row. Raises DatabaseUnavailable."""
    read_marks: Callable[[UnitRow], dict[str, str | None]]
    """Storage path -> the id its marker was recorded with."""
    read_ticket_keys: Callable[[], Mapping[str, str]]
    """Key id -> public key, of viewer tickets: what the host should have."""
    mark: Callable[[UnitRow, str], None]
    """Mark and record a storage path that this disk host is the first to look at."""
    has_desktops: Callable[[], bool]
    """Whether any is placed there."""


class Health:
    def __init__(
        self, row: UnitRow, settings: EngineSettings, installation: str, door: UnitDoor
    ) -> None:
        self._row, self._settings = row, settings
        self._installation, self._door = installation, door
        self._checks: tuple[HypervisorCheck, ...] = ()
        self._unwritten: Report | None = None
        self._state = HypervisorState.CONNECTING
        self._marks: dict[str, str | None] = {}
        self._visit: Visit | None = None
        self.runs_desktops = False
        """The checks say so; until then nothing is placed there."""
        self.works_on_disks = False
        self.blind = frozenset[str]()
        """Storage paths it does not see as it should."""

    def adopt(self, row: UnitRow) -> None:
        """From the next checks on, another row's paths."""
        self._row = row

    @property
    def is_known(self) -> bool:
        return bool(self._checks)

    def is_well(self) -> bool:
        """It does all that its row wants of it."""
        return self._does_its_tasks() and not self.blind

    def _does_its_tasks(self) -> bool:
        """Perhaps not with all its storage."""
        return (self.runs_desktops, self.works_on_disks) == (
            self._row.runs_desktops,
            self._row.works_on_disks,
        )

    def check(self, beat: Callable[[], None], info: Mapping[str, Any], *, live: bool) -> None:
        """Run the checks of a connected host and report. `live`: shown one by one. Raises HostLost
        where it falls silent meanwhile.
        """
        if self._state is HypervisorState.OFFLINE:
            self._state = HypervisorState.CONNECTING
        if live:
            self._report(self._compose(self._state, (), info))
        self._run(beat, info, live=live)
        self._judge(connected=True)
        self._mark_storage()
        first = next((check for check in self._checks if check["level"] == FAILED), None)
        self._state = HypervisorState.ONLINE if self._does_its_tasks() else HypervisorState.ERROR
        self._report(
            self._compose(
                self._state,
                self._checks,
                info,
                reason=Reason.CHECK_FAILED if first else None,
                message=f"{first['message']} {first['remedy']}".strip() if first else None,
            )
        )

    def lose(self) -> None:
        """It cannot be asked. On any thread, at once: checks that are being made end."""
        self.runs_desktops = self.works_on_disks = False
        visit = self._visit
        if visit is not None:
            # libvirt's own thread, which may call this, must not wait for a connection to close.
            name = f"end-visit-{self._row.address.id}"
            threading.Thread(target=visit.end, name=name, daemon=True).start()

    def keep_disks(self) -> None:
        """libvirt cannot be asked, but commands can be run: what the last checks said of its disks
        still holds.
        """
        works = self._row.works_on_disks and self._passes("disk_operations")
        if works and not self.works_on_disks:
            self.works_on_disks = True
            self._door.on_change(self._row.address.id)

    def tell_loss(self, info: Mapping[str, Any], error: EngineError, retry_in_s: float) -> None:
        """At once: to look into it may take as long as the host stays silent."""
        self._report_loss(info, error, retry_in_s)

    def explain_loss(
        self,
        beat: Callable[[], None],
        info: Mapping[str, Any],
        error: EngineError,
        retry_in_s: float,
        *,
        look: bool,
    ) -> bool:
        """Report it; with `look`, after having found out by the checks what is wrong. True where
        they find nothing: then it was a short one.
        """
        if not look:
            self._report_loss(info, error, retry_in_s)
            return False
        try:
            self._run(beat, info, live=False)
        except HostLost as again:
            self.lose()
            self._report_loss(info, again, retry_in_s)
            return False
        self._judge(connected=False)
        self._report_loss(info, error, retry_in_s)
        return self.is_known and all(check["level"] != FAILED for check in self._checks)

    def _report_loss(self, info: Mapping[str, Any], error: EngineError, retry_in_s: float) -> None:
        lost = isinstance(error, HostLost)
        self._state = HypervisorState.OFFLINE if lost else HypervisorState.ERROR
        self._report(
            self._compose(
                self._state,
                self._checks,
                info,
                broken="offline" if lost else "error",
                reason=error.reason,
                message=error.message,
                host_key_offered=error.offered if isinstance(error, HostKeyRefused) else None,
                retry_in_s=retry_in_s,
            )
        )

    def write_again(self) -> None:
        """What could not be written while the database was away."""
        if self._unwritten is not None:
            self._report(self._unwritten)

    def _run(self, beat: Callable[[], None], info: Mapping[str, Any], *, live: bool) -> None:
        done: list[HypervisorCheck] = []

        def show(check: HypervisorCheck) -> None:
            beat()
            done.append(check)
            if live:
                self._report(self._compose(self._state, tuple(done), info))

        try:
            self._marks = self._door.read_marks(self._row)
            ticket_keys = self._door.read_ticket_keys()
        except DatabaseUnavailable:
            return
        self._visit = Visit.begin(
            self._row.address,
            self._settings,
            {
                "hypervisor": self._row.runs_desktops,
                "disk_operations": self._row.works_on_disks,
            },
            installation=self._installation,
            viewer=self._row.viewer,
            ticket_keys=ticket_keys,
        )
        try:
            self._checks = tuple(run_checks(self._visit, self._marks, on_check=show))
        finally:
            self._visit = None

    def _judge(self, *, connected: bool) -> None:
        before = (self.runs_desktops, self.works_on_disks, self.blind)
        self.runs_desktops = (
            connected and self._row.runs_desktops and self._passes("virtualization")
        )
        self.works_on_disks = self._row.works_on_disks and self._passes("disk_operations")
        self.blind = frozenset(
            path_of(check)
            for check in self._checks
            if check["affects"] == STORAGE and check["level"] == FAILED
        )
        if before != (self.runs_desktops, self.works_on_disks, self.blind):
            self._door.on_change(self._row.address.id)

    def _passes(self, health: str) -> bool:
        mine = [check for check in self._checks if check["affects"] in (health, "both")]
        return bool(mine) and all(check["level"] != FAILED for check in mine)

    def _mark_storage(self) -> None:
        """The first disk host to look at a storage marks it, so that the others can be told from
        those that see another one.
        """
        for path, recorded in self._marks.items():
            # One that is lost meanwhile is not waited for once for each path.
            if self.works_on_disks and recorded is None and path not in self.blind:
                self._door.mark(self._row, path)

    def _compose(
        self,
        state: HypervisorState,
        checks: tuple[HypervisorCheck, ...],
        info: Mapping[str, Any],
        *,
        broken: str = "error",
        **more: Any,
    ) -> Report:
        def word(wanted: bool, works: bool) -> str:
            well = "degraded" if self.blind else "online"
            return (well if works else broken) if wanted else "off"

        return Report(
            state,
            word(self._row.runs_desktops, self.runs_desktops),
            word(self._row.works_on_disks, self.works_on_disks),
            checks=checks,
            info=info,
            **more,
        )

    def _report(self, report: Report) -> None:
        self._unwritten = None
        try:
            self._door.write(self._row.address.id, report)
        except DatabaseUnavailable:
            self._unwritten = report
