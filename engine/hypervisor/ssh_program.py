"""The `ssh` that libvirt starts for qemu+ssh: one small script per host, made from its row.

libvirt runs a program of its own for the transport, and that must obey the same rules as our
commands: the accepted key and no other, our key and no other, no questions, a limit on every wait.
libvirt's URI cannot say this, but it can name the program. Each connection starts it under a name
of its own, beside which the script leaves its process id: ending that process is the one sure way
to end a connection whose calls hang. Called by engine.hypervisor.connection.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import signal
from pathlib import Path
from urllib.parse import quote, urlencode

from engine.hypervisor.host import HostAddress
from engine.settings import EngineSettings

SCRIPT = "ssh"
KNOWN_HOSTS = "known_hosts"
KEY = "key"


class SshProgram:
    """One start of the transport program for one host."""

    def __init__(self, address: HostAddress, settings: EngineSettings) -> None:
        folder = settings.ssh_state / address.id
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _clean(folder)
        alias = f"isard-{address.id}"
        _write(folder / KNOWN_HOSTS, f"{alias} {address.host_key or ''}\n", mode=0o600)
        _point(folder / KEY, settings.ssh_key)
        _write(folder / SCRIPT, _script(settings, alias), mode=0o700)
        self._path = folder / f"{SCRIPT}-{secrets.token_hex(8)}"
        self._pid_file = Path(f"{self._path}.pid")
        self._path.symlink_to(SCRIPT)
        host = f"[{address.hostname}]" if ":" in address.hostname else address.hostname
        options = urlencode({"command": self._path, "no_tty": "1"}, quote_via=quote)
        self.ended = False
        self.uri = f"qemu+ssh://{quote(address.user)}@{host}:{address.port}/system?{options}"

    def end(self) -> None:
        """Ends the process, so every call over it returns with an error. Harmless when it has
        ended.
        """
        self.ended = True
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pid_file.read_text())
            # Our own child, not yet waited for by libvirt: its number cannot have been given away.
            if pid > 1 and _is_child(pid):
                os.kill(pid, signal.SIGKILL)

    def forget(self) -> None:
        """Removes what this start left in the folder."""
        for path in (self._path, self._pid_file):
            path.unlink(missing_ok=True)


def forget_host(settings: EngineSettings, hypervisor: str) -> None:
    """Its row is gone: so is what its connections left here, its accepted key among it."""
    shutil.rmtree(settings.ssh_state / hypervisor, ignore_errors=True)


def _script(settings: EngineSettings, alias: str) -> str:
    """It works in its own folder: ssh gives %, $ and quotes in a path meanings of its own."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": KNOWN_HOSTS,
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": alias,
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ConnectTimeout": str(max(1, round(settings.connect_timeout_s))),
        "ConnectionAttempts": "1",
        "ServerAliveInterval": str(settings.keepalive_interval_s),
        "ServerAliveCountMax": str(settings.keepalive_count),
        "ControlMaster": "no",
        "ControlPath": "none",
        "ClearAllForwardings": "yes",
        "LogLevel": "ERROR",
    }
    argv = ["ssh", "-F", "none", "-i", KEY]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    return f'#!/bin/sh\necho "$$" >"$0.pid"\ncd "${{0%/*}}" || exit\nexec {shlex.join(argv)} "$@"\n'


def _write(path: Path, text: str, *, mode: int) -> None:
    """Only when it differs: a script being run must not be open for writing, and is replaced, not
    rewritten.
    """
    with contextlib.suppress(OSError):
        if path.read_text() == text:
            return
    new = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)


def _point(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    new = link.with_name(f".{link.name}-{secrets.token_hex(8)}")
    new.symlink_to(target)
    new.replace(link)


def _clean(folder: Path) -> None:
    """What starts of an engine that was killed left here: their process is gone."""
    for pid_file in folder.glob(f"{SCRIPT}-*.pid"):
        with contextlib.suppress(OSError, ValueError):
            if not Path(f"/proc/{int(pid_file.read_text())}").exists():
                pid_file.unlink(missing_ok=True)
                pid_file.with_suffix("").unlink(missing_ok=True)


def _is_child(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat").read_text()
    return int(status.rpartition(")")[2].split()[1]) == os.getpid()
