"""The outside of a local hypervisor host: opens its namespaces, joins its network to the world,
waits, stops it.

    python -m hyper_image local --id local --data DIR --ssh-port 2022 --viewer-port 6080

A small process that stays: it owns the namespaces (if it dies, they and their guests die with it,
as by a power cut), runs slirp4netns beside them, and tells the inside about changes of the
machine's resolver. SIGTERM shuts the guests down and ends with code 0. Needs root. Started by the
launcher (`local/`) and by the tests (`tests/lab`).
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hyper_image import guest_network
from hyper_image.namespaces import MACHINE_NETWORK_FD
from hyper_image.services import ended, signal_if_there, wake_on_signals
from hyper_image.settings import HostSettings, as_arguments

REPORT_FD = "ISARD_REPORT_FD"
NETWORK_READY = "network"
HOST_READY = "ready"
SAYING = "say "
LONGEST_REPORT = 4096
CREDENTIALS = struct.Struct("3i")
LOOK_EVERY_S = 10.0
END_EXTRA_S = 20.0
UPLINK_PAUSE_S = 5.0
RESOLVER = Path("/etc/resolv.conf")
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Report:
    """One message of the inside; `pid` is its sender as seen from here."""

    text: str
    pid: int


class LocalHost:
    """One host in namespaces of its own, from start to end."""

    def __init__(self, settings: HostSettings, until_eof: bool) -> None:
        self._settings = settings
        self._until_eof = until_eof
        self._stop_asked_at: float | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._init_pid: int | None = None
        self._uplink: subprocess.Popen[bytes] | None = None
        self._uplink_due: float | None = None

    def run(self) -> int:
        """Until the host ends; returns the exit code of its first process."""
        prepare_folders(self._settings)
        copy_resolver(self._settings)
        self._settings.state_file.unlink(missing_ok=True)
        wakeup = wake_on_signals((signal.SIGTERM, signal.SIGINT, signal.SIGCHLD), self._note)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._child = open_namespaces(self._settings, theirs)
        theirs.close()
        with selectors.DefaultSelector() as waiting:
            waiting.register(wakeup, selectors.EVENT_READ, "signal")
            waiting.register(ours, selectors.EVENT_READ, "report")
            if self._until_eof:
                waiting.register(sys.stdin, selectors.EVENT_READ, "input")
            try:
                while self._child.poll() is None:
                    for key, _ in waiting.select(self._pause()):
                        if key.data == "signal":
                            wakeup.recv(4096)
                        elif key.data == "input" and not os.read(0, 4096):
                            waiting.unregister(sys.stdin)
                            self._note(signal.SIGTERM, None)
                        elif key.data == "report":
                            self._hear(ours, waiting)
                    self._tend()
            finally:
                self._clear_up()
        return self._child.returncode

    def _note(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD and self._stop_asked_at is None:
            self._stop_asked_at = time.monotonic()
            if self._init_pid is not None:
                signal_if_there(self._init_pid, signal.SIGTERM)

    def _pause(self) -> float:
        return 0.5 if self._stop_asked_at or self._uplink_due else LOOK_EVERY_S

    def _hear(self, reports: socket.socket, waiting: selectors.BaseSelector) -> None:
        report = receive(reports)
        if report is None:
            waiting.unregister(reports)
        elif report.text == NETWORK_READY:
            self._init_pid = report.pid
            self._start_uplink()
        elif report.text == HOST_READY:
            self._init_pid = report.pid
            write_state(self._settings, report.pid)
            say(self._settings, "The host is up.")
        elif report.text.startswith(SAYING):
            self._init_pid = report.pid
            say(self._settings, report.text.removeprefix(SAYING))

    def _tend(self) -> None:
        """What is looked at whenever something happened, and every few seconds."""
        copy_resolver(self._settings)
        if self._stop_asked_at is None and self._uplink and self._uplink.poll() is not None:
            say(self._settings, "slirp4netns ended; it is started again.")
            self._uplink, self._uplink_due = None, time.monotonic() + UPLINK_PAUSE_S
        if self._uplink_due is not None and time.monotonic() > self._uplink_due:
            self._uplink_due = None
            self._start_uplink()
        if self._stop_asked_at is None:
            return
        waited_s = time.monotonic() - self._stop_asked_at
        if self._init_pid is None or waited_s > self._settings.stop_timeout_s + END_EXTRA_S:
            self._kill_child()

    def _kill_child(self) -> None:
        """With it goes the first process inside, and with that everything."""
        if self._child is not None:
            self._child.kill()

    def _start_uplink(self) -> None:
        if not self._settings.uplink or self._init_pid is None:
            return
        if shutil.which("slirp4netns") is None:
            say(self._settings, "slirp4netns is not installed: guests reach nothing outside.")
            return
        self._uplink = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "slirp4netns"),
                *("--configure", "--mtu=1500", "--disable-host-loopback"),
                *("--enable-sandbox", "--enable-seccomp"),
                *("--netns-type=path", f"/proc/{self._init_pid}/ns/net", guest_network.UPLINK),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _clear_up(self) -> None:
        for process in (self._uplink, self._child):
            if process is not None and process.poll() is None:
                process.kill()
                ended(process.pid, END_EXTRA_S)
        self._settings.state_file.unlink(missing_ok=True)


def open_namespaces(settings: HostSettings, reports: socket.socket) -> subprocess.Popen[bytes]:
    """Start the inside. It dies with us, and everything in it dies with its first process."""
    machine_network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL"),
                *("unshare", "--mount", "--net", "--uts", "--pid", "--ipc"),
                *("--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-m", "hyper_image", "inside", *as_arguments(settings)),
            ],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(machine_network, reports.fileno()),
            cwd=REPOSITORY,
            env={
                **os.environ,
                MACHINE_NETWORK_FD: str(machine_network),
                REPORT_FD: str(reports.fileno()),
                "PYTHONPATH": str(REPOSITORY),
            },
        )
    finally:
        os.close(machine_network)


def receive(reports: socket.socket) -> Report | None:
    """The next message with its sender's process number; None when the inside has closed."""
    data, ancillary, _flags, _address = reports.recvmsg(
        LONGEST_REPORT, socket.CMSG_SPACE(CREDENTIALS.size)
    )
    if not data:
        return None
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return Report(data.decode(), CREDENTIALS.unpack(payload)[0])
    return None


def prepare_folders(settings: HostSettings) -> None:
    """Folders of the contract; QEMU's user must be able to walk through to the disks."""
    settings.data.mkdir(mode=0o711, parents=True, exist_ok=True)
    settings.data.chmod(0o711)
    for name in ("bases", "templates", "groups", "media"):
        (settings.storage / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    for folder in (settings.trees / "etc/isard", settings.data / "run", settings.data / "logs"):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)


def copy_resolver(settings: HostSettings) -> None:
    """The machine's resolver for what runs in its network (SSH sessions); it changes with the
    network.
    """
    copy = settings.trees / "etc" / "isard" / "resolv.conf"
    text = RESOLVER.read_text() if RESOLVER.exists() else ""
    if not copy.exists() or copy.read_text() != text:
        copy.write_text(text)


def write_state(settings: HostSettings, init_pid: int) -> None:
    unfinished = settings.state_file.with_suffix(".new")
    unfinished.write_text(json.dumps({"pid": os.getpid(), "init_pid": init_pid}))
    unfinished.replace(settings.state_file)


def say(settings: HostSettings, sentence: str) -> None:
    print(f"host {settings.id}: {sentence}", flush=True)
