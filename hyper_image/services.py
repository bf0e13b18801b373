"""The supervisor of one host's services; process 1 of the namespaces or of the container.

A table names the services; each that ends is started again after a growing pause. Being process 1
it also buries every orphan (QEMU and dnsmasq detach from libvirtd, which may itself be restarted
at any time without a guest noticing). On SIGTERM or SIGINT guests are asked to shut down, then
everything ends in the reverse order. No thread, no busy loop: signals wake it through a pipe.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hyper_image import configuration, guest_network, guests, kvm_probe, spice_certificates
from hyper_image.namespaces import in_machine_network_argv, inherited_fds
from hyper_image.settings import HostSettings

SHORTEST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 15.0
CALM_AFTER_S = 30.0
TERM_TIMEOUT_S = 5.0
READY_TIMEOUT_S = 30.0
AGAIN = "Where this is a container, it is started again by itself."
LIBVIRTD = "libvirtd"
LIBVIRT_SOCKET = Path("/run/libvirt/libvirt-sock")


@dataclass(frozen=True)
class Service:
    """One program kept running. `fds`: it is handed the machine's network to enter."""

    name: str
    argv: list[str]
    fds: bool = False
    log: Path | None = None


@dataclass
class Running:
    """A service's process, or when it is to be started again."""

    service: Service
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause_s: float = SHORTEST_PAUSE_S
    start_at: float = 0.0


def table(settings: HostSettings) -> list[Service]:
    """What a host consists of, in the order of starting."""
    us = [sys.executable, "-m", "hyper_image"]
    return [
        Service("virtlogd", ["virtlogd"]),
        Service(LIBVIRTD, [LIBVIRTD]),
        Service("network-guard", [*us, "network-guard"], fds=True),
        Service(
            "sshd",
            in_machine_network_argv(
                [configuration.SSHD, "-D", "-e", "-f", str(configuration.SSHD_CONFIG)]
            ),
            fds=True,
        ),
        Service(
            "viewer",
            [
                *us,
                "viewer-proxy",
                *("--hypervisor", settings.id),
                *("--host", settings.viewer_host),
                *("--port", str(settings.viewer_port)),
            ],
            fds=True,
            log=settings.data / "logs" / "viewer.log",
        ),
    ]


def serve(settings: HostSettings, say: Callable[[str], None], ready: Callable[[], None]) -> int:
    """Configure, start and keep everything until told to stop; returns the exit code."""
    certificates = spice_certificates.Watch(settings.certificates, say)
    try:
        certificates.begin()
        configuration.write_all(settings)
        kvm_probe.describe(settings, say)
    except OSError as error:
        what = error.filename or f"A file below {configuration.ISARD}"
        say(f"{what} cannot be written ({error.strerror}): mend or free that disk. {AGAIN}")
        return 1
    supervisor = Supervisor(table(settings), say, certificates)
    return supervisor.run(ready, settings.stop_timeout_s)


class Supervisor:
    def __init__(
        self,
        services: list[Service],
        say: Callable[[str], None],
        certificates: spice_certificates.Watch,
    ) -> None:
        self._running = [Running(service) for service in services]
        self._say = say
        self._certificates = certificates
        self._stopping = False
        self._wakeup = wake_on_signals((signal.SIGTERM, signal.SIGINT, signal.SIGCHLD), self._note)

    def run(self, ready: Callable[[], None], stop_timeout_s: float) -> int:
        started_at = time.monotonic()
        is_ready = False
        while not self._stopping:
            self._start_due()
            self._bury()
            is_late = time.monotonic() - started_at > READY_TIMEOUT_S
            if not is_ready and is_answering() and (has_guest_network() or is_late):
                is_ready = True
                if not has_guest_network():
                    self._say("The guests' network does not come up; guests have none.")
                ready()
            elif not is_ready and is_late:
                self._say("The services of this host do not come up; see the lines above.")
                started_at = time.monotonic()
            elif is_ready and self._certificates.look():
                configuration.write_libvirt()
                self._end(LIBVIRTD)
            self._wait(0.02 if not is_ready else self._pause())
        self._say("Stopping: asking the guests to shut down.")
        self._shut_down_guests(stop_timeout_s)
        self._end_all()
        return 0

    def _shut_down_guests(self, timeout_s: float) -> None:
        """By a program of its own, while this one goes on burying: libvirt waits until a guest's
        process is gone.
        """
        argv = [sys.executable, "-m", "hyper_image", "stop-guests", "--timeout", str(timeout_s)]
        program = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + timeout_s + guests.END_TIMEOUT_S
        while time.monotonic() < deadline and not self._bury(program.pid):
            self._wait(0.1)

    def _note(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._stopping = True

    def _wait(self, timeout_s: float) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._wakeup, selectors.EVENT_READ)
            if waiting.select(timeout_s):
                self._wakeup.recv(4096)

    def _pause(self) -> float:
        due = [r.start_at for r in self._running if r.process is None]
        longest = spice_certificates.LOOK_EVERY_S
        return min(longest, max(0.0, min(due) - time.monotonic())) if due else longest

    def _end(self, name: str) -> None:
        """A service that is to read its files anew: it is started again by itself. Guests go on."""
        for running in self._running:
            if running.service.name == name and running.process is not None:
                signal_if_there(running.process.pid, signal.SIGTERM)

    def _start_due(self) -> None:
        now = time.monotonic()
        for running in self._running:
            if running.process is None and running.start_at <= now:
                running.process = start(running.service)
                running.started_at = now

    def _bury(self, awaited: int = 0) -> bool:
        """Collect whatever has ended; a service among it is planned again. True if the awaited
        one was there.
        """
        was_there = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return was_there
            if pid == 0:
                return was_there
            was_there = was_there or pid == awaited
            for running in self._running:
                if running.process is not None and running.process.pid == pid:
                    self._plan(running, os.waitstatus_to_exitcode(status))

    def _plan(self, running: Running, code: int) -> None:
        now = time.monotonic()
        running.process = None
        if now - running.started_at > CALM_AFTER_S:
            running.pause_s = SHORTEST_PAUSE_S
        running.start_at = now + running.pause_s
        running.pause_s = min(LONGEST_PAUSE_S, running.pause_s * 2)
        self._say(f"{running.service.name} ended ({code}); it is started again.")

    def _end_all(self) -> None:
        for running in reversed(self._running):
            process = running.process
            if process is None:
                continue
            signal_if_there(process.pid, signal.SIGTERM)
            if not ended(process.pid, TERM_TIMEOUT_S):
                signal_if_there(process.pid, signal.SIGKILL)
                ended(process.pid, TERM_TIMEOUT_S)


def start(service: Service) -> subprocess.Popen[bytes]:
    """In a session of its own, so that no terminal's signal reaches it."""
    log = open_log(service.log) if service.log is not None else None
    try:
        return subprocess.Popen(
            service.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=inherited_fds() if service.fds else (),
            start_new_session=True,
        )
    finally:
        if log is not None:
            log.close()


def open_log(path: Path) -> IO[bytes] | None:
    """On a read-only disk its lines go where ours go: the guests need the service all the same."""
    try:
        return path.open("ab")
    except OSError:
        return None


def is_answering() -> bool:
    """libvirtd accepts connections and sshd listens (it writes its pid file after binding)."""
    if not (configuration.RUN / "sshd.pid").exists():
        return False
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(LIBVIRT_SOCKET)) == 0


def has_guest_network() -> bool:
    """libvirt starts it by itself, a moment after it accepts connections."""
    return Path("/sys/class/net", guest_network.BRIDGE).exists()


def signal_if_there(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def ended(pid: int, timeout_s: float) -> bool:
    """True once our child is gone; False after the time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return True
        except ChildProcessError:
            return True
        time.sleep(0.02)
    return False


def wake_on_signals(
    numbers: tuple[signal.Signals, ...], handler: Callable[[int, object], None]
) -> socket.socket:
    """The returned socket becomes readable whenever one of the signals comes."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    writer.set_inheritable(False)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, handler)
    return reader
