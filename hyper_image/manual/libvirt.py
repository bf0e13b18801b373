"""libvirtd, its settings and QEMU's, the TCP port that the guide opens, and the guests' network.

The engine reaches libvirt over SSH, so no port of libvirt's is wanted: one that is open lets
whoever reaches it own the host. It is told, never opened, and closed only when asked
(`--close-tcp`), because others may use it. Consoles stay on the loopback, where the guide lets them
listen everywhere: the viewer proxy reaches them there, with a ticket each.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hyper_image.asking import ask
from hyper_image.configuration import LIBVIRT, SPICE_CERTIFICATES
from hyper_image.manual import certificates, files
from hyper_image.manual.finding import (
    RESTART_TIMEOUT_S,
    Change,
    Finding,
    Options,
    do,
    has_systemd,
    missing,
    ok,
    restart_if_running,
    warning,
)
from hyper_image.manual.programs import find

LIBVIRTD_CONF = LIBVIRT / "libvirtd.conf"
QEMU_CONF = LIBVIRT / "qemu.conf"
VIRSH = ("virsh", "-c", "qemu:///system", "-q")
TCP_PORT = 16509
TCP_UNITS = ("libvirtd-tcp.socket", "virtproxyd-tcp.socket")
LISTENING = "0A"
SERVICE_SETTINGS = {"listen_tls": "0"}
CONSOLE_SETTINGS = {"vnc_listen": '"127.0.0.1"', "spice_listen": '"127.0.0.1"'}
TLS_SETTINGS = {"spice_tls": "1", "spice_tls_x509_cert_dir": f'"{SPICE_CERTIFICATES}"'}


def look_at_service(_: Options) -> list[Finding]:
    done = ask(*VIRSH, "uri")
    if done.returncode == 0:
        return [ok("libvirt answers")]
    start = "systemctl enable --now libvirtd"
    can = has_systemd() and find("libvirtd") is not None
    change = Change(start, lambda: do(*start.split(), timeout_s=RESTART_TIMEOUT_S)) if can else None
    todo = f"{start} (the service is in the package libvirt-daemon-system)"
    return [missing("libvirt does not answer", todo, change)]


def look_at_settings(_: Options) -> list[Finding]:
    if not LIBVIRT.is_dir():
        return [missing(f"{LIBVIRT}", "install libvirt first")]
    findings = [
        look_at_file(LIBVIRTD_CONF, SERVICE_SETTINGS),
        look_at_file(QEMU_CONF, CONSOLE_SETTINGS),
    ]
    if certificates.are_in_place():
        return [*findings, look_at_file(QEMU_CONF, TLS_SETTINGS)]
    # Without certificates no guest with SPICE would start.
    todo = "bring the certificates first, then run this again"
    return [*findings, missing(f"{QEMU_CONF}: spice_tls = 1", todo)]


def look_at_file(path: Path, settings: Mapping[str, str]) -> Finding:
    text = files.read(path)
    wrong = {key: value for key, value in settings.items() if files.value_of(text, key) != value}
    if files.with_settings(text, settings) == text:
        return ok(f"{path}: {named(settings)}")
    wrong = wrong or dict(settings)
    lines = named(wrong)
    return missing(
        f"{path}: {lines}",
        "write that into it, and restart libvirtd (guests go on)",
        Change(f"{path}: {lines}; libvirtd is restarted", lambda: change_file(path, settings)),
    )


def named(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in settings.items())


def change_file(path: Path, settings: Mapping[str, str]) -> None:
    files.change_settings(path, settings)
    restart_if_running("libvirtd.service", "virtqemud.service")


def look_at_tcp_port(options: Options) -> list[Finding]:
    reasons = reasons_for_tcp()
    if not reasons:
        return [ok("libvirt has no open TCP port")]
    change = None
    if options.close_tcp:
        change = Change("listen_tcp = 0, and the sockets of systemd for it are disabled", close_tcp)
    return [
        warning(
            f"libvirt's TCP port is open or will be: {'; '.join(reasons)}",
            "IsardVDI does not need it: whoever reaches it owns this host. Nothing of it is "
            "changed here unless --apply is given --close-tcp",
            change,
        )
    ]


def reasons_for_tcp() -> list[str]:
    reasons = []
    value = files.value_of(files.read(LIBVIRTD_CONF), "listen_tcp")
    if value not in (None, "0"):
        reasons.append(f"listen_tcp = {value} in {LIBVIRTD_CONF}")
    reasons += [f"{unit} is enabled" for unit in TCP_UNITS if is_unit(unit, "is-enabled")]
    if is_listening(TCP_PORT):
        reasons.append(f"something listens at port {TCP_PORT}")
    return reasons


def is_unit(unit: str, question: str) -> bool:
    return ask("systemctl", "--quiet", question, unit).returncode == 0


def is_listening(port: int) -> bool:
    """As the kernel says, for both families."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in files.read(Path(table)).splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                return True
    return False


def close_tcp() -> None:
    if files.value_of(files.read(LIBVIRTD_CONF), "listen_tcp") not in (None, "0"):
        files.change_settings(LIBVIRTD_CONF, {"listen_tcp": "0"})
    for unit in TCP_UNITS:
        if is_unit(unit, "is-enabled") or is_unit(unit, "is-active"):
            do("systemctl", "disable", *(("--now",) if has_systemd() else ()), unit)
    restart_if_running("libvirtd.service")


def look_at_network(_: Options) -> list[Finding]:
    """`default`, libvirt's own NAT network, which desktops have unless told otherwise."""
    told = ask(*VIRSH, "net-info", "default")
    if told.returncode != 0:
        return [missing("the guests' network default", "virsh net-define, see docs/networks.md")]
    facts = dict(line.partition(":")[::2] for line in told.stdout.splitlines())
    findings = []
    for fact, verb in (("Active", "net-start"), ("Autostart", "net-autostart")):
        if facts.get(fact, "").strip() != "yes":
            todo = f"virsh {verb} default"
            change = Change(todo, lambda verb=verb: do(*VIRSH, verb, "default"))  # type: ignore[misc]
            findings.append(missing(f"the guests' network default: {fact.lower()}", todo, change))
    return findings or [ok("the guests' network default is active")]
