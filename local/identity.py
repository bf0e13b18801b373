"""Pid files that never lie: a process is known by its number, its start time and the machine's
boot.

Numbers are used again by the system, and files outlive crashes and reboots. Here a file counts
only if the very process it was written for is still running; signals go through a descriptor of
that process, so nothing foreign is ever hit, not even between looking and signalling. Used by the
supervisor and by `stop`, `status` and `purge`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
START_TIME_FIELD = 19  # in /proc/<pid>/stat, counted after the name in parentheses


@dataclass(frozen=True)
class Identity:
    """`plan` is a digest of how the process was started."""

    pid: int
    started: int
    boot: str
    plan: str


class ProcessHandle:
    """An open handle on one running process, ours or adopted."""

    def __init__(self, identity: Identity, descriptor: int) -> None:
        self.identity = identity
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Readable once the process has ended."""
        return self._descriptor

    def has_ended(self) -> bool:
        return self.wait(0)

    def wait(self, timeout_s: float) -> bool:
        """True once it has ended; buries it if it is our child."""
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return False
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED | os.WNOHANG)
        return True

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def kill_group(self) -> None:
        """End it and what it started in its own session, which bears its number while it lives."""
        if self.has_ended():
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(self.identity.pid) == self.identity.pid:
                os.killpg(self.identity.pid, signal.SIGKILL)
        self.send(signal.SIGKILL)

    def close(self) -> None:
        os.close(self._descriptor)


def identify(pid: int, plan: str) -> Identity | None:
    """The identity of a process running now."""
    started = start_time(pid)
    return None if started is None else Identity(pid, started, BOOT_ID.read_text().strip(), plan)


def open_process(identity: Identity) -> ProcessHandle | None:
    """A handle, if that very process still runs."""
    if identity.boot != BOOT_ID.read_text().strip():
        return None
    try:
        descriptor = os.pidfd_open(identity.pid)
    except (ProcessLookupError, OSError):
        return None
    if start_time(identity.pid) != identity.started or is_zombie(identity.pid):
        os.close(descriptor)
        return None
    return ProcessHandle(identity, descriptor)


def write(file: Path, identity: Identity) -> None:
    unfinished = file.with_name(f".new-{file.name}")
    unfinished.write_text(json.dumps(asdict(identity)))
    unfinished.replace(file)


def read(file: Path) -> Identity | None:
    """None where there is no file, or not one of ours."""
    try:
        kept = json.loads(file.read_text())
        return Identity(
            int(kept["pid"]), int(kept["started"]), str(kept["boot"]), str(kept["plan"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find(file: Path) -> ProcessHandle | None:
    """The process a file stands for, if it runs."""
    identity = read(file)
    return None if identity is None else open_process(identity)


def start_time(pid: int) -> int | None:
    """Clock ticks after boot, or None where there is no such process."""
    fields = stat_fields(pid)
    return int(fields[START_TIME_FIELD]) if fields else None


def is_zombie(pid: int) -> bool:
    fields = stat_fields(pid)
    return not fields or fields[0] in ("Z", "X")


def stat_fields(pid: int) -> list[str]:
    """The fields after the program's name, which may itself hold spaces and parentheses."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
