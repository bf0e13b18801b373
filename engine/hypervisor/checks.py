"""The checks of a hypervisor, in the order a person would make them, each with what was found and
what to do.

A table says what is checked, what must have passed before, and which of the host's two healths it
affects; a check whose condition failed is left out, so the list ends with the cause and not with
its consequences. Everything is tried the way the engine will do it: the same SSH, the same libvirt
connection. Called by the hypervisor unit when a host is enabled, and by the button on its page;
`on_check` lets the page show them one by one.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from db.documents import HypervisorCheck
from db.states import Reason
from engine.errors import CommandFailed, EngineError, Transient
from engine.hypervisor.connection import HostConnection
from engine.hypervisor.host import HostAddress, is_same_key
from engine.hypervisor.login import (
    authorized_keys_line,
    connect,
    describe_fingerprint,
    read_offered_host_key,
    resolve,
)
from engine.hypervisor.profile import DESCRIPTION, UNREAD, HostProfile, read_profile
from engine.hypervisor.ssh import SshSession
from engine.settings import EngineSettings

CLOCK_TOLERANCE_S = 5.0
FREE_MIN_GIB = 1.0
MEMORY_MIN_MIB = 512
LIBVIRT_MIN = (6, 1, 0)
GIB_KIB = 1024 * 1024

PROGRAMS = "qemu-img flock timeout find readlink stat sync"
HAS_PROGRAMS = f"""
for name in {PROGRAMS}; do command -v "$name" >/dev/null || printf '%s ' "$name"; done
echo
qemu-img --version 2>/dev/null | head -n 1
"""
STORAGE = """
path=$1
[ -d "$path" ] && echo there || echo missing
[ -w "$path" ] && echo writable || echo read-only
while [ ! -d "$path" ]; do path=${path%/*}; [ -n "$path" ] || path=/; done
df -Pk -- "$path" | awk 'NR == 2 {print $4}'
cat -- "$1/.isard-storage.json" 2>/dev/null || exit 0
"""


@dataclass(frozen=True)
class Finding:
    ok: bool
    message: str
    remedy: str = ""


@dataclass
class _Visit:
    """What the checks of one run share: each adds what the later ones need."""

    address: HostAddress
    settings: EngineSettings
    capabilities: Mapping[str, bool]
    installation: str
    viewer: tuple[str, int] | None
    ssh: SshSession
    connection: HostConnection
    profile: HostProfile = UNREAD
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    name: str
    title: str
    affects: str
    needs: tuple[str, ...]
    look: Callable[[_Visit], Finding]


def run_checks(
    address: HostAddress,
    settings: EngineSettings,
    capabilities: Mapping[str, bool],
    pool_paths: Mapping[str, str | None],
    *,
    on_check: Callable[[HypervisorCheck], None],
    installation: str = "",
    viewer: tuple[str, int] | None = None,
) -> list[HypervisorCheck]:
    """All checks that can be made, in order. Never raises for what is wrong with the host: that is
    the result.

    `pool_paths`: storage path -> the id recorded for it (None: never used). `viewer`: where its
    websocket proxy should answer; by default the host's own name and the port it publishes.
    """
    visit = _Visit(
        address,
        settings,
        capabilities,
        installation,
        viewer,
        SshSession(address, settings),
        HostConnection(
            address, settings, lambda _event: None, lambda _why: None, installation=installation
        ),
    )
    done: list[HypervisorCheck] = []
    try:
        for check in _choose(capabilities, pool_paths):
            passed = {entry["name"] for entry in done if entry["ok"]}
            if not passed.issuperset(check.needs):
                continue
            result = _make(check, visit)
            done.append(result)
            on_check(result)
    finally:
        visit.connection.close()
        visit.ssh.close()
    return done


def _choose(
    capabilities: Mapping[str, bool], pool_paths: Mapping[str, str | None]
) -> Iterator[Check]:
    runs_guests = capabilities.get("hypervisor", False)
    works_on_disks = capabilities.get("disk_operations", False)
    yield from REACHING
    if runs_guests:
        yield from VIRTUALIZATION
    if works_on_disks:
        yield from DISKS
    affects = "both" if works_on_disks else "virtualization"
    for path, recorded in pool_paths.items():
        yield Check(
            f"storage {path}",
            f"Storage {path}",
            affects,
            ("login",),
            lambda visit, path=path, recorded=recorded: check_storage(visit, path, recorded),  # type: ignore[misc]
        )
    if runs_guests:
        yield VIEWER


def _make(check: Check, visit: _Visit) -> HypervisorCheck:
    started = time.monotonic()
    try:
        found = check.look(visit)
    except EngineError as error:
        found = Finding(False, error.message, REMEDIES.get(check.name, ""))
        if error.answer and error.answer not in error.message:
            found = Finding(False, f"{error.message} ({error.answer})", found.remedy)
    return HypervisorCheck(
        name=check.name,
        title=check.title,
        ok=found.ok,
        message=found.message,
        remedy="" if found.ok else found.remedy,
        duration_ms=round((time.monotonic() - started) * 1000, 1),
        affects=check.affects,
    )


def check_resolves(visit: _Visit) -> Finding:
    address = visit.address
    found = resolve(address.hostname, address.port, visit.settings.connect_timeout_s)
    return Finding(True, f"{address.hostname} is {', '.join(found)}.")


def check_port(visit: _Visit) -> Finding:
    address = visit.address
    connect(address.hostname, address.port, visit.settings.connect_timeout_s).close()
    return Finding(True, f"Something answers at port {address.port}.")


def check_host_key(visit: _Visit) -> Finding:
    address = visit.address
    offered = read_offered_host_key(
        address.hostname, address.port, visit.settings.connect_timeout_s
    )
    fingerprint = describe_fingerprint(offered)
    if not address.host_key:
        return Finding(
            False,
            f"Its key has not been accepted yet: {fingerprint}.",
            "Compare the fingerprint with the one on the host's own screen "
            "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and accept it.",
        )
    if not is_same_key(address.host_key, offered):
        # It may have keys of several types: login asks for the accepted one's and decides.
        try:
            visit.ssh.run(["true"], timeout_s=visit.settings.connect_timeout_s)
        except EngineError as error:
            return Finding(False, f"{error.message} It is now {fingerprint}.", REMEDIES["host_key"])
    return Finding(True, "It shows the accepted key.")


def check_login(visit: _Visit) -> Finding:
    try:
        visit.profile = read_profile(visit.ssh)
    except Transient as error:
        if error.reason != Reason.LOGIN_REFUSED:
            raise
        line = authorized_keys_line(visit.settings.ssh_key)
        return Finding(
            False,
            error.message,
            "Enrol it with a password, or add this line to ~/.ssh/authorized_keys of "
            f"{visit.address.user} on the host: {line}",
        )
    return Finding(True, f"The engine can log in as {visit.address.user}.")


def check_libvirt(visit: _Visit) -> Finding:
    visit.connection.open()
    visit.info = visit.connection.info()
    version = visit.info["libvirt_version"]
    message = f"libvirt {version} with QEMU {visit.info['qemu_version']}."
    if tuple(int(part) for part in version.split(".")) < LIBVIRT_MIN:
        wanted = ".".join(str(part) for part in LIBVIRT_MIN)
        return Finding(
            False, message, f"Upgrade the host: libvirt {wanted} is the oldest that works."
        )
    return Finding(True, message)


def check_acceleration(visit: _Visit) -> Finding:
    """Emulation is slower, not wrong."""
    return Finding(True, visit.profile.kvm_reason)


def check_resources(visit: _Visit) -> Finding:
    cpus, memory_mib = visit.info["cpus"], visit.info["memory_mib"]
    message = f"{cpus} CPUs and {memory_mib} MiB of memory."
    if memory_mib < MEMORY_MIN_MIB:
        return Finding(False, message, f"Give the host at least {MEMORY_MIN_MIB} MiB of memory.")
    return Finding(True, message)


def check_clock(visit: _Visit) -> Finding:
    off_s = visit.profile.clock_ahead_s
    if abs(off_s) > CLOCK_TOLERANCE_S:
        return Finding(
            False,
            f"Its clock is {abs(off_s):.0f} seconds {'ahead' if off_s > 0 else 'behind'}.",
            "Set the clocks of the host and of this machine by NTP (timedatectl set-ntp true): "
            "viewer tickets are valid for seconds.",
        )
    return Finding(True, f"Its clock agrees within {CLOCK_TOLERANCE_S:g} seconds.")


def check_qemu_img(visit: _Visit) -> Finding:
    done = visit.ssh.run(
        ["sh", "-c", HAS_PROGRAMS, "isard"],
        timeout_s=visit.settings.call_timeout_s,
        label="command -v",
    )
    missing, _, version = done.text.partition("\n")
    if missing.strip():
        return Finding(
            False,
            f"The host lacks: {missing.strip()}.",
            "Install qemu-utils, util-linux, coreutils and findutils on it.",
        )
    return Finding(True, f"{version.strip()}.")


def check_storage(visit: _Visit, path: str, recorded: str | None) -> Finding:
    try:
        done = visit.ssh.run(
            ["sh", "-c", STORAGE, "isard", path],
            timeout_s=visit.settings.call_timeout_s,
            label=f"df {path}",
        )
    except CommandFailed as error:
        return Finding(False, error.message, f"Look at {path} on the host.")
    there, writable, free_kib, *marker = [*done.text.split("\n"), "", "", ""]
    free_gib = int(free_kib) / GIB_KIB if free_kib.isdigit() else 0.0
    free = f"{free_gib:.1f} GiB are free"
    if recorded is not None and not "".join(marker).strip():
        return Finding(
            False,
            f"{path} does not hold this installation's storage: its marker is not there.",
            f"Mount the storage at {path}. Nothing is made there until it is back.",
        )
    if not _is_ours("".join(marker), visit.installation, recorded):
        return Finding(
            False,
            f"{path} holds the storage of another installation, or another one than before.",
            f"Mount the right storage at {path}, or give the pool another path.",
        )
    if there != "there":
        return Finding(True, f"{path} will be made at first use; {free}.")
    if visit.capabilities.get("disk_operations") and writable != "writable":
        return Finding(
            False,
            f"{visit.address.user} cannot write in {path}.",
            f"Mount it read-write, and let {visit.address.user} own it "
            f"(chown {visit.address.user} {path}).",
        )
    if free_gib < FREE_MIN_GIB:
        return Finding(False, f"Only {free} in {path}.", "Free some space or add a path.")
    return Finding(True, f"{path} is there; {free}.")


def check_viewer(visit: _Visit) -> Finding:
    where = visit.viewer or (
        (visit.address.hostname, visit.profile.viewer_port) if visit.profile.viewer_port else None
    )
    if where is None:
        return Finding(
            False,
            "It is not known where its websocket proxy listens.",
            f"Set the viewer port of this hypervisor, or let the host publish it in {DESCRIPTION}.",
        )
    host, port = where
    greeting = _ask_proxy(host, port, visit.settings.connect_timeout_s)
    # Plain HTTP, or a TLS alert because it expects TLS: either is a proxy that lives.
    if not greeting.startswith((b"HTTP/1.", b"\x15\x03")):
        return Finding(
            False,
            f"What answers at {host} port {port} is not the websocket proxy.",
            REMEDIES["viewer"],
        )
    return Finding(True, f"The websocket proxy answers at {host} port {port}.")


def _ask_proxy(host: str, port: int, timeout_s: float) -> bytes:
    with connect(host, port, timeout_s) as client, contextlib.suppress(OSError):
        client.settimeout(timeout_s)
        request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        client.sendall(request.encode("ascii", errors="replace"))
        return client.recv(64, socket.MSG_WAITALL)
    return b""


def _is_ours(marker: str, installation: str, recorded: str | None) -> bool:
    """True also where there is no marker yet, and where we do not know our own id."""
    if not marker.strip() or not installation:
        return True
    named = f'"installation": "{installation}"' in marker
    return named and (recorded is None or f'"path_id": "{recorded}"' in marker)


REMEDIES = {
    "resolves": "Correct the host's name, or give its address instead.",
    "port": "Start sshd on the host, open the port in its firewall, and check the port number.",
    "host_key": "If the host was made anew, compare the fingerprint on its own screen and accept "
    "the new key. If not, find out who answers in its place.",
    "login": "See that sshd on the host runs well, and that the user's shell is an ordinary one.",
    "libvirt": "Install and start libvirt on the host (systemctl enable --now libvirtd), and let "
    "the user use it (group libvirt).",
    "qemu_img": "Install qemu-utils on the host.",
    "viewer": "Start the websocket proxy on the host and open its port.",
}
"""For checks that end with an error instead of a finding."""

REACHING = (
    Check("resolves", "Name", "both", (), check_resolves),
    Check("port", "SSH port", "both", ("resolves",), check_port),
    Check("host_key", "Host key", "both", ("port",), check_host_key),
    Check("login", "Login", "both", ("host_key",), check_login),
)
VIRTUALIZATION = (
    Check("libvirt", "libvirt and QEMU", "virtualization", ("login",), check_libvirt),
    Check("acceleration", "Acceleration", "virtualization", ("login",), check_acceleration),
    Check("resources", "CPU and memory", "virtualization", ("libvirt",), check_resources),
    Check("clock", "Clock", "virtualization", ("login",), check_clock),
)
DISKS = (Check("qemu_img", "Disk tools", "disk_operations", ("login",), check_qemu_img),)
VIEWER = Check("viewer", "Viewer proxy", "virtualization", ("login",), check_viewer)
