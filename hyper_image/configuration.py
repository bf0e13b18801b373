"""The configuration files of a hypervisor host, written anew at every start from what is told and
what is kept.

Kept for ever in `/etc/isard` (which lies in the data folder on a local host, in a volume in a
container): the host's SSH key, its libvirt identity and its ticket keys. Everything else is
derived; certificates are taken before (`spice_certificates.py`). Called by `services.py` before it
starts anything, with the ordinary paths of a Linux host: on a local host `private_world.py` has put
private folders there.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import subprocess
import uuid
from pathlib import Path

from hyper_image import accounts, guest_network
from hyper_image.settings import HostSettings

ISARD = Path("/etc/isard")
LIBVIRT = Path("/etc/libvirt")
SPICE_CERTIFICATES = Path("/etc/pki/libvirt-spice")
SSHD_CONFIG = ISARD / "ssh" / "sshd_config"
HOST_KEY = ISARD / "ssh" / "ssh_host_ed25519_key"
AUTHORIZED_KEYS = ISARD / "ssh" / "authorized_keys"
ROOT_PASSWORD = ISARD / "ssh" / "root_password"
"""The hash of a password given to this host's root (`root_password.py`); normally there is none."""
TICKET_KEYS = ISARD / "tickets"
HYPERVISOR_ID = ISARD / "hypervisor_id"
"""Under what name the product knows this host, once its engine has been here."""
RUN = Path("/run/isard")
SSHD = "/usr/sbin/sshd"
CERTIFICATE_FILES = ("ca-cert.pem", "server-cert.pem", "server-key.pem")
KEYGEN_TIMEOUT_S = 30.0

LIBVIRTD_CONF = """\
host_uuid = "{host_uuid}"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
listen_tls = 0
listen_tcp = 0
max_clients = 500
max_queued_clients = 500
max_anonymous_clients = 100
min_workers = 5
max_workers = 40
prio_workers = 8
max_client_requests = 50
keepalive_interval = 5
keepalive_count = 5
log_outputs = "3:stderr"
"""

QEMU_CONF = """\
user = "{user}"
group = "{group}"
dynamic_ownership = 1
remember_owner = 0
security_driver = "none"
{cgroups}stdio_handler = "logd"
vnc_listen = "127.0.0.1"
spice_listen = "127.0.0.1"
{spice}max_processes = 0
"""

SPICE_TLS = f"""\
spice_tls = 1
spice_tls_x509_cert_dir = "{SPICE_CERTIFICATES}"
"""

SSHD_CONF = """\
Port {port}
ListenAddress {host}
HostKey {host_key}
PidFile {pid_file}
AuthorizedKeysFile {authorized_keys} .ssh/authorized_keys
PermitRootLogin {root_login}
PubkeyAuthentication yes
PasswordAuthentication {passwords}
KbdInteractiveAuthentication no
AllowUsers root
UsePAM no
UseDNS no
PermitUserEnvironment no
PermitUserRC no
PrintMotd no
AllowAgentForwarding no
X11Forwarding no
MaxStartups 200:30:400
MaxSessions 200
LoginGraceTime 20
ClientAliveInterval 15
ClientAliveCountMax 4
Subsystem sftp internal-sftp
{penalties}"""


def write_all(settings: HostSettings) -> None:
    """Everything the services read. Idempotent; keys and identities are made once."""
    for folder in (ISARD / "ssh", TICKET_KEYS, LIBVIRT, RUN):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_libvirt()
    write_network()
    write_ssh(settings)


def write_libvirt() -> None:
    group = pwd.getpwnam(accounts.QEMU_USER).pw_gid
    write(LIBVIRT / "libvirtd.conf", LIBVIRTD_CONF.format(host_uuid=kept_uuid("host_uuid")))
    write(
        LIBVIRT / "qemu.conf",
        QEMU_CONF.format(
            user=accounts.QEMU_USER,
            group=f"+{group}",
            cgroups="" if has_cgroups() else "cgroup_controllers = [ ]\n",
            spice=SPICE_TLS if has_certificates() else "",
        ),
    )


def write_network() -> None:
    networks = LIBVIRT / "qemu" / "networks"
    (networks / "autostart").mkdir(parents=True, exist_ok=True)
    write(networks / "default.xml", guest_network.network_xml(kept_uuid("network_uuid")))
    link = networks / "autostart" / "default.xml"
    if not link.is_symlink():
        link.symlink_to(networks / "default.xml")


def write_ssh(settings: HostSettings) -> None:
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    if not HOST_KEY.exists():
        make_key(HOST_KEY, settings.id)
    key = settings.engine_key.read_text() if settings.engine_key.exists() else ""
    write(AUTHORIZED_KEYS, key, mode=0o600)
    # Newer servers shut out an address from which connections come that do not log in. Behind one
    # address here stand the engine and whoever looks whether the port answers; where a password is
    # taken from outside, that protection stays.
    is_safe = not ROOT_PASSWORD.exists() or ipaddress.ip_address(settings.ssh_host).is_loopback
    without_penalties = is_safe and knows_option("PerSourcePenalties=no")
    write(
        SSHD_CONFIG,
        SSHD_CONF.format(
            port=settings.ssh_port,
            host=settings.ssh_host,
            host_key=HOST_KEY,
            authorized_keys=AUTHORIZED_KEYS,
            pid_file=RUN / "sshd.pid",
            root_login="yes" if ROOT_PASSWORD.exists() else "prohibit-password",
            passwords="yes" if ROOT_PASSWORD.exists() else "no",
            penalties="PerSourcePenalties no\n" if without_penalties else "",
        ),
        mode=0o600,
    )


def knows_option(assignment: str) -> bool:
    """Whether this machine's sshd has an option: an unknown one in its file would keep it from
    starting.
    """
    trial = [SSHD, "-t", "-f", "/dev/null", "-h", str(HOST_KEY), "-o", assignment]
    return subprocess.run(trial, capture_output=True, timeout=KEYGEN_TIMEOUT_S).returncode == 0


def make_key(path: Path, comment: str) -> None:
    """An ed25519 key pair, put in place whole: a key half written is never used."""
    unfinished = path.with_name(f".new-{path.name}")
    for leftover in (unfinished, unfinished.with_name(unfinished.name + ".pub")):
        leftover.unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(unfinished)],
        check=True,
        timeout=KEYGEN_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
    unfinished.with_name(unfinished.name + ".pub").replace(path.with_name(path.name + ".pub"))
    unfinished.replace(path)


def has_certificates() -> bool:
    """Whether there are any for QEMU (`spice_certificates.py` puts them there)."""
    return all((SPICE_CERTIFICATES / name).exists() for name in CERTIFICATE_FILES)


def kept_uuid(name: str) -> str:
    """An identity made once and kept in /etc/isard."""
    file = ISARD / name
    if not file.exists() or not file.read_text().strip():
        write(file, str(uuid.uuid4()))
    return file.read_text().strip()


def has_cgroups() -> bool:
    """libvirt may make groups: the tree is mounted and can be written."""
    mounted = any(line.split()[2].startswith("cgroup") for line in open_mounts())
    return mounted and os.access("/sys/fs/cgroup", os.W_OK)


def open_mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file whole, so that a crash leaves the old one. One that is so already is left
    alone: a host comes up again on a full disk.
    """
    if holds(path, text, mode):
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = path.with_name(f".new-{path.name}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
    unfinished.replace(path)


def holds(path: Path, text: str, mode: int) -> bool:
    try:
        return path.stat().st_mode & 0o777 == mode and path.read_text() == text
    except (OSError, UnicodeDecodeError):
        return False
