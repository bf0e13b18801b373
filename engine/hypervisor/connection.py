"""One libvirt connection to one hypervisor, over SSH with the pinned key. Every call has a
deadline.

A libvirt call can hang for as long as the host does. So each runs in one of the host's call slots;
past its deadline the connection is ended (its ssh process is killed, which makes all its calls
return) and the caller gets HostLost: from then on nothing is known of that host until it has been
listed afresh. Every method is idempotent and touches only domains that carry this installation's
id. The reconcilers call the methods; `on_event` and `on_close` are called on libvirt's thread and
must only hand on.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from xml.etree import ElementTree

import libvirt

from db.logs import get_logger
from db.states import Reason
from engine.errors import EngineError, HostLost, Terminal, Transient
from engine.hypervisor import events, faults
from engine.hypervisor.capabilities import read_info
from engine.hypervisor.deadline import CallSlots, LateCall
from engine.hypervisor.events import DomainEvent
from engine.hypervisor.host import HostAddress
from engine.hypervisor.login import check_key, read_offered_host_key
from engine.hypervisor.picture import to_png
from engine.hypervisor.seen import DRIVES, SeenDomain, file_in, read_domain
from engine.hypervisor.ssh_program import SshProgram
from engine.hypervisor.stats import HostStats, read_stats
from engine.settings import EngineSettings

log = get_logger(__name__)

T = TypeVar("T")

ONE_CALL_AT_A_TIME = libvirt.getVersion() < 10_004_000
"""Before 10.4 libvirt's client library writes into the stack of a call that has returned, where a
second call or its own keepalive message came in between (CVE-2024-4418): now and then the whole
engine ends. So with such a library each connection has one call at a time, and a dead link is
noticed by ssh (ssh_program.py) as fast as libvirt would.
"""
LIBVIRT_CLOSE_REASONS = {0: "error", 1: "end of file", 2: "keepalive timeout", 3: "closed"}
DISPOSE_TIMEOUT_S = 5.0

_kept: list[_Link] = []
"""Connections with a call that nothing ended: closing one would take its memory from under it."""


@dataclass
class _Link:
    """One open libvirt connection. `ended` is set once, by whoever ends it."""

    connection: Any
    program: SshProgram
    callbacks: list[int] = field(default_factory=list)
    ended: bool = False
    _calls: int = 0
    _free: threading.Condition = field(default_factory=threading.Condition)

    def use(self, function: Callable[[Any], T]) -> T:
        """Counted, because libvirt frees a connection under the calls that still wait in it."""
        with self._free:
            if self.ended:
                raise libvirt.libvirtError("the connection has ended")
            self._calls += 1
        try:
            return function(self.connection)
        finally:
            with self._free:
                self._calls -= 1
                self._free.notify_all()

    def wait_unused(self, timeout_s: float) -> bool:
        with self._free:
            return self._free.wait_for(lambda: self._calls == 0, timeout_s)


class HostConnection:
    """Any thread may call. Lost connections are opened again by calling `open` again."""

    def __init__(
        self,
        address: HostAddress,
        settings: EngineSettings,
        on_event: Callable[[DomainEvent], None],
        on_close: Callable[[str], None],
        *,
        installation: str,
    ) -> None:
        self.address = address
        self._settings = settings
        self._on_event = on_event
        self._on_close = on_close
        self._installation = installation
        slots = 1 if ONE_CALL_AT_A_TIME else settings.call_slots
        self._slots = CallSlots(address.id, slots)
        self._lock = threading.Lock()
        self._link: _Link | None = None

    @property
    def alive(self) -> bool:
        return self._link is not None

    def open(self) -> None:
        """Connects, unless connected. Raises HostLost, HostKeyRefused, or why libvirt does not
        answer.
        """
        if self.alive:
            return
        events.start_event_loop()
        if not self.address.host_key:
            self._refuse_key()
        program = SshProgram(self.address, self._settings)
        try:
            link = self._slots.call(
                self._settings.connect_timeout_s + 2.0, lambda: self._connect(program)
            )
        except LateCall as error:
            program.end()
            raise self._lost(f"libvirt on {self.address} did not answer: {error}.") from None
        except libvirt.libvirtError as error:
            raise self._explain_opening(error) from error
        with self._lock:
            if self._link is None and not link.ended:
                self._link = link
                return
        self._dispose(link)
        if link.ended:
            raise self._lost(f"The connection to {self.address} broke as soon as it was made.")

    def close(self) -> None:
        """Ends the connection; calls under way raise HostLost. `on_close` is not called."""
        with self._lock:
            link, self._link = self._link, None
            if link is not None:
                link.ended = True
        if link is not None:
            self._dispose(link)

    def list_domains(self) -> list[SeenDomain]:
        """Every domain on the host, whoever's: `installation` says whose."""

        def read(connection: Any) -> list[SeenDomain]:
            found = (_see(domain) for domain in connection.listAllDomains(0))
            return [seen for seen in found if seen is not None]

        return self._call("list", read)

    def look(self, uuid: str) -> SeenDomain | None:
        """This domain as it is there now, or None."""

        def read(connection: Any) -> SeenDomain | None:
            domain = _find(connection, uuid)
            return _see(domain) if domain is not None else None

        return self._call("look", read)

    def create(self, xml: str, *, timeout_s: float | None = None) -> SeenDomain:
        """Starts the transient domain, or returns it where it already runs.

        Raises Terminal or Transient with libvirt's own answer; after HostLost it may or may not
        run.
        """
        uuid = (ElementTree.fromstring(xml).findtext("./uuid") or "").strip()  # noqa: S314 (ours)

        def start(connection: Any) -> SeenDomain:
            try:
                seen = _see(connection.createXML(xml, 0))
            except libvirt.libvirtError as error:
                if faults.is_connection_lost(error):
                    raise
                # It may run already: a create that was cut short, or came twice.
                domain = _find(connection, uuid)
                running = _see(domain) if domain is not None else None
                if running is None or not running.is_active:
                    raise
                return self._require_ours(running)
            if seen is None:
                raise Transient(
                    Reason.GUEST_CRASHED,
                    f"The desktop ended on {self.address} right after its start.",
                    step="create",
                )
            return seen

        return self._call(
            "create", start, timeout_s or self._settings.create_timeout_s, faults.CREATING
        )

    def shutdown(self, uuid: str) -> None:
        """Presses the guest's ACPI power button. It may take its time, or not obey at all."""
        button = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
        self._act("shutdown", uuid, lambda domain, _seen: domain.shutdownFlags(button))

    def destroy(self, uuid: str) -> None:
        """Powers it off at once; when this returns its process is gone."""
        self._act("destroy", uuid, lambda domain, _seen: domain.destroyFlags(0))

    def suspend(self, uuid: str) -> None:
        self._act(
            "suspend",
            uuid,
            lambda domain, seen: domain.suspend() if seen.state != "paused" else None,
        )

    def resume(self, uuid: str) -> None:
        self._act(
            "resume", uuid, lambda domain, seen: domain.resume() if seen.state == "paused" else None
        )

    def set_console_password(
        self, uuid: str, password: str, valid_until: datetime | None = None
    ) -> None:
        """From now on the consoles take this password (8 characters at most) and no older one."""

        def change(domain: Any, _seen: SeenDomain) -> None:
            xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)
            for graphics in ElementTree.fromstring(xml).iterfind("./devices/graphics"):  # noqa: S314
                graphics.set("passwd", password)
                graphics.attrib.pop("passwdValidTo", None)
                if valid_until is not None:
                    until = valid_until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
                    graphics.set("passwdValidTo", until)
                domain.updateDeviceFlags(
                    ElementTree.tostring(graphics, encoding="unicode"),
                    libvirt.VIR_DOMAIN_AFFECT_LIVE,
                )

        self._act("console_password", uuid, change)

    def change_media(self, uuid: str, drives: Sequence[str | None]) -> SeenDomain | None:
        """Have these files in its drives for ISO images, by their order. How it is afterwards.

        A guest that keeps a drive locked is asked to open it, and overruled if it does not.
        """

        def change(domain: Any, _seen: SeenDomain) -> None:
            root = ElementTree.fromstring(domain.XMLDesc(0))  # noqa: S314 (libvirt's own answer)
            for drive, wanted in zip(root.iterfind(DRIVES), drives, strict=False):
                if file_in(drive) == wanted:
                    continue
                for name in ("source", "backingStore"):
                    for old in drive.findall(name):
                        drive.remove(old)
                if wanted is not None:
                    ElementTree.SubElement(drive, "source", {"file": wanted})
                xml = ElementTree.tostring(drive, encoding="unicode")
                try:
                    domain.updateDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
                except libvirt.libvirtError as error:
                    if not faults.is_drive_locked(error):
                        raise
                    force = libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE
                    domain.updateDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE | force)

        self._act("media", uuid, change)
        return self.look(uuid)

    def screenshot(self, uuid: str) -> bytes:
        """Its first screen as PNG. Raises Transient(NotRunning) where it does not run."""

        def take(connection: Any) -> bytes:
            domain = _find(connection, uuid)
            seen = _see(domain) if domain is not None else None
            if seen is None or not seen.is_active:
                raise Transient(
                    "NotRunning", "A desktop that does not run has no screen.", step="screenshot"
                )
            self._require_ours(seen)
            return to_png(_receive(connection, domain))

        return self._call("screenshot", take)

    def stats(self, *, with_disks: bool = True) -> HostStats:
        """The host and its active domains in one bulk call; `with_disks` is the dearest part."""
        return self._call("stats", lambda connection: read_stats(connection, with_disks=with_disks))

    def info(self) -> dict[str, Any]:
        """libvirt's part of `hypervisors.observed.info`; engine.hypervisor.profile has the rest."""
        return self._call("info", read_info, self._settings.create_timeout_s)

    def ask(self, step: str, question: Callable[[Any], T]) -> T:
        """Whatever a module of this folder asks of the connection, with this one's deadline."""
        return self._call(step, question)

    def _act(self, step: str, uuid: str, action: Callable[[Any, SeenDomain], object]) -> None:
        """`action` on the domain if it is active; one that is gone, or just goes, is no error."""

        def perform(connection: Any) -> None:
            domain = _find(connection, uuid)
            seen = _see(domain) if domain is not None else None
            if seen is None or not seen.is_active:
                return
            self._require_ours(seen)
            try:
                action(domain, seen)
            except libvirt.libvirtError as error:
                if not (faults.is_no_domain(error) or faults.is_not_active(error)):
                    raise

        self._call(step, perform)

    def _call(
        self,
        step: str,
        function: Callable[[Any], T],
        timeout_s: float | None = None,
        meanings: tuple[faults.Meaning, ...] = (),
    ) -> T:
        link = self._link
        if link is None:
            raise self._lost(f"{self.address} is not connected.", step)
        limit_s = timeout_s or self._settings.call_timeout_s
        try:
            return self._slots.call(limit_s, lambda: link.use(function))
        except LateCall as error:
            self._lose(link, f"libvirt did not answer within {limit_s:g} seconds")
            raise self._lost(f"libvirt on {self.address} hangs: {error}.", step) from None
        except libvirt.libvirtError as error:
            if link.ended or faults.is_connection_lost(error):
                self._lose(link, str(error))
                raise self._lost(
                    f"The connection to {self.address} was lost: {error}.", step
                ) from error
            raise faults.explain(
                error, str(self.address), step, meanings, _FAILURES[step], _SENTENCES[step]
            ) from error

    def _connect(self, program: SshProgram) -> _Link:
        """Runs in a call slot."""
        try:
            connection = libvirt.open(program.uri)
        except libvirt.libvirtError:
            program.end()
            program.forget()
            raise
        link = _Link(connection, program)
        try:
            if not ONE_CALL_AT_A_TIME:
                connection.setKeepAlive(
                    self._settings.keepalive_interval_s, self._settings.keepalive_count
                )
            connection.registerCloseCallback(self._closed_by_libvirt, link)
            for kind, callback in (
                (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle),
                (libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS, self._graphics),
            ):
                link.callbacks.append(connection.domainEventRegisterAny(None, kind, callback, link))
        except libvirt.libvirtError:
            link.ended = True
            self._dispose(link)
            raise
        if program.ended:  # too late: nobody waits for it any more
            link.ended = True
            self._dispose(link)
        return link

    def _lifecycle(
        self, _connection: Any, domain: Any, event: int, detail: int, link: _Link
    ) -> None:
        if not link.ended:
            self._on_event(
                events.describe_lifecycle(self.address.id, domain.UUIDString(), event, detail)
            )

    def _graphics(
        self,
        _connection: Any,
        domain: Any,
        phase: int,
        _local: dict[str, Any],
        remote: dict[str, Any],
        _scheme: str,
        _subject: object,
        link: _Link,
    ) -> None:
        event = events.describe_viewer(self.address.id, domain.UUIDString(), phase, remote)
        if event is not None and not link.ended:
            self._on_event(event)

    def _closed_by_libvirt(self, _connection: Any, reason: int, link: _Link) -> None:
        self._lose(link, LIBVIRT_CLOSE_REASONS.get(reason, f"reason {reason}"))

    def _lose(self, link: _Link, why: str) -> None:
        """Once per link, whoever notices first."""
        with self._lock:
            if link.ended:
                return
            link.ended = True
            mine = self._link is link
            if mine:
                self._link = None
        link.program.end()
        # Never on the noticing thread: it may be libvirt's own, which the closing needs.
        threading.Thread(
            target=self._dispose, args=(link,), name=f"dispose-{self.address.id}", daemon=True
        ).start()
        if mine:
            log.warning("hypervisor_lost", hypervisor=self.address.id, why=why)
            self._on_close(why)

    def _dispose(self, link: _Link) -> None:
        """Closes politely where the host still listens; then the process is ended anyway. Never
        while a call is under way: ending the process makes those return.
        """
        if not link.wait_unused(0.0):
            link.program.end()
        if not link.wait_unused(DISPOSE_TIMEOUT_S):
            log.error("hypervisor_connection_kept", hypervisor=self.address.id)
            _kept.append(link)
            return

        def say_goodbye() -> None:
            with contextlib.suppress(libvirt.libvirtError):
                link.connection.unregisterCloseCallback()
            for callback in link.callbacks:
                with contextlib.suppress(libvirt.libvirtError):
                    link.connection.domainEventDeregisterAny(callback)
            with contextlib.suppress(libvirt.libvirtError):
                link.connection.close()

        with contextlib.suppress(LateCall):
            CallSlots(f"dispose-{self.address.id}", 1).call(DISPOSE_TIMEOUT_S, say_goodbye)
        link.program.end()
        link.program.forget()

    def _require_ours(self, seen: SeenDomain) -> SeenDomain:
        if seen.installation != self._installation:
            raise Terminal(
                Reason.IN_USE,
                f"{self.address} runs a domain {seen.uuid} that is not this installation's. "
                "It was not touched.",
            )
        return seen

    def _explain_opening(self, error: Any) -> EngineError:
        if "host key verification failed" in str(error).lower():
            try:
                self._refuse_key()
            except EngineError as refusal:
                return refusal
        return faults.explain(
            error,
            str(self.address),
            "libvirt",
            faults.OPENING,
            Reason.HOST_UNREACHABLE,
            f"libvirt on {self.address} cannot be reached",
            kind=HostLost,
        )

    def _refuse_key(self) -> None:
        """Raises HostKeyRefused with the key the host shows now, or HostLost."""
        check_key(
            self.address,
            read_offered_host_key(
                self.address.hostname, self.address.port, self._settings.connect_timeout_s
            ),
        )
        raise self._lost(f"{self.address} showed another key a moment ago, now the right one.")

    def _lost(self, message: str, step: str = "libvirt") -> HostLost:
        return HostLost(Reason.HOST_UNREACHABLE, message, step=step)


_SENTENCES = {
    "list": "The domains could not be listed",
    "look": "The domain could not be looked at",
    "create": "The desktop could not be started",
    "shutdown": "The guest could not be asked to shut down",
    "destroy": "The desktop could not be powered off",
    "suspend": "The desktop could not be paused",
    "resume": "The desktop could not be resumed",
    "console_password": "The console's password could not be changed",
    "media": "What is in its drives could not be changed",
    "screenshot": "The screen could not be read",
    "stats": "The host's numbers could not be read",
    "info": "The host's properties could not be read",
    "networks": "The host's networks could not be read",
    "network": "The desktop's network could not be made",
}

_FAILURES: dict[str, Reason] = {
    **dict.fromkeys(_SENTENCES, Reason.HOST_UNREACHABLE),
    "create": Reason.START_FAILED,
    "media": Reason.MEDIA_FAILED,
    "network": Reason.START_FAILED,
    "resume": Reason.START_FAILED,
    "shutdown": Reason.STOP_FAILED,
    "destroy": Reason.STOP_FAILED,
    "suspend": Reason.STOP_FAILED,
}


def _find(connection: Any, uuid: str) -> Any | None:
    try:
        return connection.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if faults.is_no_domain(error):
            return None
        raise


def _see(domain: Any) -> SeenDomain | None:
    """None when it went between finding and looking."""
    try:
        state, _reason = domain.state()
        return read_domain(domain.XMLDesc(0), state)
    except libvirt.libvirtError as error:
        if faults.is_no_domain(error):
            return None
        raise


def _receive(connection: Any, domain: Any) -> bytes:
    """The picture a domain sends through a stream."""
    stream = connection.newStream(0)
    try:
        domain.screenshot(stream, 0)
        chunks = []
        while chunk := stream.recv(256 * 1024):
            chunks.append(chunk)
        stream.finish()
    except libvirt.libvirtError:
        with contextlib.suppress(libvirt.libvirtError):
            stream.abort()
        raise
    return b"".join(chunks)
