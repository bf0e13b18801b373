"""One hypervisor: its connection, what was last seen there, and the loop that keeps both true.

The keeper loop connects, lists the host's domains, runs the checks and writes
`hypervisors.observed`; when the connection is lost it says so at once and tries again, soon at
first. libvirt's events are only remembered (why a guest stopped) and put the domain's key on the
queue. A host that hangs holds up this loop and nobody else. Made by
engine/reconcilers/hypervisor.py, run under the supervisor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Hashable, Mapping
from typing import Any

from db.logs import get_logger
from db.states import Reason
from engine.errors import EngineError, HostLost
from engine.health import Health, UnitDoor, UnitRow
from engine.hypervisor.connection import HostConnection
from engine.hypervisor.events import DomainEvent
from engine.hypervisor.profile import UNREAD, HostProfile, read_profile
from engine.hypervisor.seen import SeenDomain
from engine.hypervisor.ssh import SshSession
from engine.networks import lacks_of
from engine.placement import HostRoom
from engine.settings import EngineSettings
from engine.sight import Knowledge
from engine.stance import OPEN, Stance
from engine.storage.disks import DiskHost
from engine.storage.downloads import MediaHost
from engine.storage.path_facts import PathFacts
from engine.supervisor import Beat

log = get_logger(__name__)

LIST_S = 30.0
"""Events keep what was seen true; the listing finds what an event did not tell."""
CHECK_S = 300.0
ANSWER_S = 4.0
"""A host that is well runs a command that does nothing within this time."""
RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0)
RETRY_WITH_DESKTOPS_S = 2.0
"""The longest pause while somebody waits to see a desktop again."""
EXPLAIN_S = 30.0
"""A host that stays away for the same reason is not looked into at every try."""
STOP_EVENT_WAIT_S = 1.0
"""A guest that is gone has an event on its way that says why."""
KEEPER_SILENCE_S = 90.0
"""The keeper may be waiting for a host that does not answer."""


class Contact:
    """The host was reached, and is, until it is lost. `silence`: what told another thread than the
    keeper's that it is lost.
    """

    silence: EngineError | None = None


class Unit:
    """Any thread may ask; only the keeper connects."""

    def __init__(
        self, row: UnitRow, settings: EngineSettings, installation: str, door: UnitDoor
    ) -> None:
        self.row = row
        self.id = row.address.id
        self.ssh = SshSession(row.address, settings)
        self.connection = HostConnection(
            row.address, settings, self._handle_event, self._handle_close, installation=installation
        )
        self.disks = DiskHost(self.ssh, installation)
        self.media = MediaHost(self.ssh, installation)
        self.knowledge = Knowledge.PENDING
        self.profile: HostProfile = UNREAD
        self.info: dict[str, Any] = {}
        self.storage: dict[str, PathFacts] = {}
        """Path -> what was last seen there (engine/loops/storage.py)."""
        self.networks: frozenset[str] | None = None
        self.bridges: frozenset[str] | None = None
        """What guests can be plugged into; None until looked at (engine/loops/networks.py)."""
        self.addresses: dict[str, str] = {}
        """Of guests' cards here: hardware address -> address."""
        self.cpu_percent: float | None = None
        """As last measured (engine/loops/sampler.py)."""
        self.stance: Stance = OPEN
        self.contact: Contact | None = None
        """While the keeper has the host; another object each time."""
        self.health = Health(row, settings, installation, door)
        self._installation, self._door = installation, door
        self._lock = threading.Condition()
        self._seen: dict[Hashable, SeenDomain | None] = {}
        self._stops: dict[Hashable, str] = {}
        self._proved: set[str] = set()
        self._explained: tuple[tuple[str, ...], float] | None = None
        self._wake = threading.Event()
        self._check_wanted = threading.Event()
        self._closing = False

    @property
    def works_on_disks(self) -> bool:
        return self.health.works_on_disks and self.stance.closed is None

    @property
    def is_reached(self) -> bool:
        """It lets us in, or did at its last checks, whatever else is wrong with it."""
        return self.ssh.connected or self.works_on_disks

    @property
    def boot(self) -> str:
        """What tells one start of the machine from the next."""
        return self.profile.boot

    def keep(self, beat: Beat) -> None:
        """The keeper loop."""
        failures = 0
        while not beat.stopping():
            try:
                self._connect(beat)
                self.contact = Contact()
                self._check(beat)
                failures, self._explained = 0, None
                self._serve(beat)
            except EngineError as error:
                if self._closing:
                    return
                pause_s = self._choose_pause(failures)
                failures += 1
                if not self._say_lost(beat, error, pause_s):
                    self._pause(beat, pause_s)

    def close(self) -> None:
        """End the connections; calls under way raise HostLost."""
        self._closing = True
        self._wake.set()
        self.connection.close()
        self.ssh.close()

    def adopt(self, row: UnitRow) -> None:
        """Another row of the same host: pools, paths and limits change while guests run."""
        changed_paths = row.paths != self.row.paths
        self.row = row
        self.health.adopt(row)
        if changed_paths:
            self.ask_for_check()
        self._door.on_change(self.id)

    def ask_for_check(self) -> None:
        self._check_wanted.set()
        self._wake.set()

    def note_silence(self, contact: Contact, error: EngineError) -> None:
        """At once, as libvirt does for a host that runs desktops: the keeper may be waiting for
        this very host. Nothing where that contact is over already.
        """
        if self._closing or contact is not self.contact:
            return
        contact.silence = error
        self.health.lose()
        self.ssh.drop()
        self._set_knowledge(Knowledge.LOST)
        self._wake.set()

    def look(self, domain_id: str) -> SeenDomain | None:
        """The domain as the host has it now, if active. Raises HostLost."""
        with self._lock:
            was_there = domain_id in self._seen
        seen = self.connection.look(domain_id)
        with self._lock:
            if seen is not None and seen.is_active:
                self._seen[domain_id] = seen
                return seen
            self._seen.pop(domain_id, None)
            if was_there:
                self._lock.wait_for(lambda: domain_id in self._stops, STOP_EVENT_WAIT_S)
        return None

    def may_have(self, domain_id: Hashable) -> bool:
        """It was there when last listed, or an event has named it since."""
        with self._lock:
            return domain_id in self._seen

    def listed(self) -> list[SeenDomain]:
        with self._lock:
            return [seen for seen in self._seen.values() if seen is not None]

    def last_listed(self, domain_id: Hashable) -> SeenDomain | None:
        with self._lock:
            return self._seen.get(domain_id)

    def note_started(self, seen: SeenDomain) -> None:
        with self._lock:
            self._seen[seen.uuid] = seen

    def has_proved(self, path: str) -> bool:
        """Its storage marker was looked at since this unit connected last."""
        with self._lock:
            return path in self._proved

    def note_proved(self, path: str) -> None:
        with self._lock:
            self._proved.add(path)

    def stop_cause(self, domain_id: Hashable) -> str | None:
        with self._lock:
            return self._stops.get(domain_id)

    def forget_stop(self, domain_id: Hashable) -> None:
        """It is about to be started: an older end explains nothing any more."""
        with self._lock:
            self._stops.pop(domain_id, None)

    def is_foreign(self, seen: SeenDomain) -> bool:
        return seen.installation != self._installation

    def room(
        self, networks: Collection[Mapping[str, Any]] = (), unseen: Collection[str] = ()
    ) -> HostRoom:
        """What it offers, of these rows of `interfaces` too; who fills it in knows what is used.
        `unseen`: storage that a desktop would need there, and that this host does not see.
        """
        limits = dict(self.row.limits)
        return HostRoom(
            id=self.id,
            pools=self.row.pools,
            problem=self._problem(unseen),
            memory_mib=int(self.info.get("memory_mib") or 0),
            used_memory_mib=0,
            cpus=int(self.info.get("cpus") or 0),
            max_memory_mib=limits.get("memory_mib"),
            max_vcpus=limits.get("vcpus"),
            max_domains=limits.get("domains"),
            memory_ratio=limits.get("memory_ratio", 1.0),
            cpu_ratio=limits.get("cpu_ratio"),
            weight=limits.get("weight", 100),
            cpu_percent=self.cpu_percent,
            offers=frozenset(
                name
                for name, has in (
                    ("uefi", "uefi" in (self.info.get("firmwares") or ())),
                    ("secure-boot", self.info.get("secure_boot") is True),
                    ("tpm", self.info.get("tpm") is True),
                )
                if has
            ),
            lacks=lacks_of(networks, self.networks, self.bridges),
        )

    def _problem(self, unseen: Collection[str]) -> str | None:
        if self.stance.closed is not None:
            return self.stance.closed
        if self.knowledge is not Knowledge.LISTED:
            return "it is not connected"
        if not self.health.runs_desktops:
            return "its checks have not passed"
        return f"it does not see the storage {', '.join(unseen)}" if unseen else None

    def _connect(self, beat: Beat) -> None:
        """Have what runs there listed. Raises why not."""
        beat.beat()
        with self._lock:
            self._proved.clear()
        self.profile = read_profile(self.ssh)
        if not self.row.runs_desktops:
            return
        beat.beat()
        self.connection.open()
        self._list()
        if not self.info:
            self.info = {**self.profile.as_info(), **self.connection.info()}
        self._set_knowledge(Knowledge.LISTED)

    def _list(self) -> None:
        found = self.connection.list_domains()
        with self._lock:
            before = set(self._seen)
            self._seen = {seen.uuid: seen for seen in found if seen.is_active}
            changed = before ^ set(self._seen)
        for domain_id in changed:
            self._door.on_event(str(domain_id))

    def _serve(self, beat: Beat) -> None:
        """Until the connection is lost (raises) or the loop is to stop."""
        list_at = time.monotonic() + LIST_S
        check_at = time.monotonic() + (CHECK_S if self.health.is_well() else LIST_S)
        while not beat.stopping():
            beat.beat()
            self._wake.wait(0.5)
            self._wake.clear()
            loss = self._noticed_loss()
            if loss is not None:
                raise loss
            now = time.monotonic()
            if now >= list_at and self.row.runs_desktops:
                self._list()
                list_at = time.monotonic() + LIST_S
            if self._check_wanted.is_set() or now >= check_at:
                self._check(beat)
                check_at = time.monotonic() + (CHECK_S if self.health.is_well() else LIST_S)
            self.health.write_again()

    def _check(self, beat: Beat) -> None:
        live = self._check_wanted.is_set() or not self.health.is_known
        self._check_wanted.clear()
        try:
            self.health.check(beat.beat, self.info, live=live)
        finally:
            loss = self._noticed_loss()
            if loss is not None:
                # It says more than checks whose connections were closed under them.
                self.health.lose()
                raise loss

    def _noticed_loss(self) -> EngineError | None:
        """By another thread, of the host that this one has."""
        if self.row.runs_desktops and not self.connection.alive:
            return HostLost(Reason.HOST_UNREACHABLE, "The connection was lost.", step="libvirt")
        return self.contact.silence if self.contact is not None else None

    def _say_lost(self, beat: Beat, error: EngineError, pause_s: float) -> bool:
        """Nothing is known of what runs there any more; the checks find out why. Not at every try:
        they take the time in which a host that is back is found. True where it is back already.
        """
        log.warning("hypervisor_down", hypervisor=self.id, reason=error.reason, error=str(error))
        was_reached, self.contact = self.contact is not None, None
        if was_reached:
            self.health.tell_loss(self.info, error, pause_s)
        if self._runs_commands():
            self.health.runs_desktops = False
            self.health.keep_disks()
        else:
            self.health.lose()
            self.ssh.drop()
        self._set_knowledge(Knowledge.LOST)
        wanted = self._check_wanted.is_set() or not self._is_explained(error)
        self._check_wanted.clear()
        is_back = self.health.explain_loss(beat.beat, self.info, error, pause_s, look=wanted)
        if wanted:
            self._explained = _gist(error), time.monotonic()
        return is_back

    def _runs_commands(self) -> bool:
        try:
            self.ssh.run(["true"], timeout_s=ANSWER_S)
        except EngineError:
            return False
        return True

    def _is_explained(self, error: EngineError) -> bool:
        if self._explained is None:
            return False
        gist, at = self._explained
        return gist == _gist(error) and time.monotonic() - at < EXPLAIN_S

    def _choose_pause(self, failures: int) -> float:
        pause_s = RETRY_S[min(failures, len(RETRY_S) - 1)]
        return min(pause_s, RETRY_WITH_DESKTOPS_S) if self._door.has_desktops() else pause_s

    def _pause(self, beat: Beat, pause_s: float) -> None:
        """Before the next try; a wish to check again cuts it short."""
        deadline = time.monotonic() + pause_s
        while time.monotonic() < deadline and not beat.stopping():
            beat.beat()
            self.health.write_again()
            if self._check_wanted.wait(min(0.5, max(0.0, deadline - time.monotonic()))):
                return

    def _set_knowledge(self, knowledge: Knowledge) -> None:
        with self._lock:
            if self.knowledge is knowledge:
                return
            self.knowledge = knowledge
        self._door.on_change(self.id)

    def _handle_event(self, event: DomainEvent) -> None:
        """On libvirt's thread."""
        if event.kind not in ("started", "stopped", "suspended", "resumed", "pmsuspended"):
            return
        with self._lock:
            if event.kind == "stopped":
                self._seen.pop(event.uuid, None)
                self._stops[event.uuid] = event.detail
            else:
                self._seen.setdefault(event.uuid, None)
            self._lock.notify_all()
        self._door.on_event(event.uuid)

    def _handle_close(self, why: str) -> None:
        """On whatever thread noticed, and at once: the keeper may be waiting for this very host."""
        if not self._closing:
            self.health.lose()
            self._set_knowledge(Knowledge.LOST)
        self._wake.set()


def _gist(error: EngineError) -> tuple[str, ...]:
    """What makes two failures to connect the same one."""
    return type(error).__name__, error.reason, error.step
