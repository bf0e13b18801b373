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

import threading
from collections.abc import Callable, Sequence
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
from engine.hypervisor.link import ONE_CALL_AT_A_TIME, Link
from engine.hypervisor.login import check_key, read_offered_host_key
from engine.hypervisor.lookup import find_domain, receive_picture, see_domain
from engine.hypervisor.picture import to_png
from engine.hypervisor.seen import DRIVES, SeenDomain, file_in
from engine.hypervisor.ssh_program import SshProgram
from engine.hypervisor.stats import HostStats, read_stats
from engine.settings import EngineSettings

log = get_logger(__name__)

T = TypeVar("T")

LIBVIRT_CLOSE_REASONS = {0: "error", 1: "end of file", 2: "keepalive timeout", 3: "closed"}


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
        self._link: Link | None = None

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
        link.dispose()
        if link.ended:
            raise self._lost(f"The connection to {self.address} broke as soon as it was made.")

    def close(self) -> None:
        """Ends the connection; calls under way raise HostLost. `on_close` is not called."""
        with self._lock:
            link, self._link = self._link, None
            if link is not None:
                link.ended = True
        if link is not None:
            link.dispose()

    def list_domains(self) -> list[SeenDomain]:
        """Every domain on the host, whoever's: `installation` says whose."""

        def read(connection: Any) -> list[SeenDomain]:
            found = (see_domain(domain) for domain in connection.listAllDomains(0))
            return [seen for seen in found if seen is not None]

        return self._call("list", read)

    def look(self, uuid: str) -> SeenDomain | None:
        """This domain as it is there now, or None."""

        def read(connection: Any) -> SeenDomain | None:
            domain = find_domain(connection, uuid)
            return see_domain(domain) if domain is not None else None

        return self._call("look", read)

    def create(self, xml: str, *, timeout_s: float | None = None) -> SeenDomain:
        """Starts the transient domain, or returns it where it already runs.

        Raises Terminal or Transient with libvirt's own answer; after HostLost it may or may not
        run.
        """
        uuid = (ElementTree.fromstring(xml).findtext("./uuid") or "").strip()  # noqa: S314 (ours)

        def start(connection: Any) -> SeenDomain:
            try:
                seen = see_domain(connection.createXML(xml, 0))
            except libvirt.libvirtError as error:
                if faults.is_connection_lost(error):
                    raise
                # It may run already: a create that was cut short, or came twice.
                domain = find_domain(connection, uuid)
                running = see_domain(domain) if domain is not None else None
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
            domain = find_domain(connection, uuid)
            seen = see_domain(domain) if domain is not None else None
            if seen is None or not seen.is_active:
                raise Transient(
                    "NotRunning", "A desktop that does not run has no screen.", step="screenshot"
                )
            self._require_ours(seen)
            return to_png(receive_picture(connection, domain))

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
            domain = find_domain(connection, uuid)
            seen = see_domain(domain) if domain is not None else None
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
            raise faults.explain_step(error, str(self.address), step, meanings) from error

    def _connect(self, program: SshProgram) -> Link:
        """Runs in a call slot."""
        try:
            connection = libvirt.open(program.uri)
        except libvirt.libvirtError:
            program.end()
            program.forget()
            raise
        link = Link(self.address.id, connection, program)
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
            link.dispose()
            raise
        if program.ended:  # too late: nobody waits for it any more
            link.ended = True
            link.dispose()
        return link

    def _lifecycle(
        self, _connection: Any, domain: Any, event: int, detail: int, link: Link
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
        link: Link,
    ) -> None:
        event = events.describe_viewer(self.address.id, domain.UUIDString(), phase, remote)
        if event is not None and not link.ended:
            self._on_event(event)

    def _closed_by_libvirt(self, _connection: Any, reason: int, link: Link) -> None:
        self._lose(link, LIBVIRT_CLOSE_REASONS.get(reason, f"reason {reason}"))

    def _lose(self, link: Link, why: str) -> None:
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
            target=link.dispose, name=f"dispose-{self.address.id}", daemon=True
        ).start()
        if mine:
            log.warning("hypervisor_lost", hypervisor=self.address.id, why=why)
            self._on_close(why)

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
