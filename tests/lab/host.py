"""Real hypervisor hosts for tests: as many as wanted on one machine, each up in well under a
second.

`Lab` starts hosts of the same services as the product's local host (`python -m hyper_image
local`), each with its own data folder, ports and namespaces, and ends them with the test, or with
the test's process if that is killed. QEMU's capabilities are probed once per machine and kept in
the temporary folder: the probe costs seconds, everything else does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from hyper_image import root_password
from hyper_image import settings as host_settings
from hyper_image.settings import HostSettings

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
COMMAND_TIMEOUT_S = 60.0
LINKS = "sshd(-session|-auth)?|libvirtd"
"""What a connection to a host ends in; newer sshd are several programs."""
ENTER_ALL = ("-m", "-n", "-u", "-p", "-i", "--root", "--wd=/")


@dataclass
class LabHost:
    """One running host. `host_key` is the line a known_hosts file wants after the host's name."""

    settings: HostSettings
    key_path: Path
    log: Path
    process: subprocess.Popen[bytes]
    init_pid: int = 0

    @property
    def id(self) -> str:
        return self.settings.id

    @property
    def ssh_port(self) -> int:
        return self.settings.ssh_port

    @property
    def viewer_port(self) -> int:
        return self.settings.viewer_port

    @property
    def storage_root(self) -> Path:
        """The pool's root; the same path inside and outside."""
        return self.settings.storage

    @property
    def host_key(self) -> str:
        file = self.settings.trees / "etc/isard/ssh/ssh_host_ed25519_key.pub"
        kind, key = file.read_text().split()[:2]
        return f"{kind} {key}"

    @property
    def known_hosts_line(self) -> str:
        return f"[127.0.0.1]:{self.ssh_port} {self.host_key}"

    @property
    def ticket_keys(self) -> Path:
        """Where the public keys of viewer tickets are looked for, as `<kid>.pem`."""
        return self.settings.trees / "etc/isard/tickets"

    @property
    def libvirt_uri(self) -> str:
        """For libvirt.open; checks the host's key, gives up on a silent host after five seconds."""
        known_hosts = self.settings.data / "known_hosts"
        known_hosts.write_text(self.known_hosts_line + "\n")
        wrapper = self.settings.data / "ssh-wrapper"
        wrapper.write_text(
            "#!/bin/sh\nexec ssh -F none -o ConnectTimeout=5 -o BatchMode=yes"
            f' -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known_hosts} "$@"\n'
        )
        wrapper.chmod(0o755)
        return (
            f"qemu+ssh://root@127.0.0.1:{self.ssh_port}/system"
            f"?keyfile={self.key_path}&no_tty=1&command={wrapper}"
        )

    def exec(
        self, argv: Sequence[str], *, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the host (in the guests' network), without SSH."""
        enter = ["nsenter", "-t", str(self.init_pid), *ENTER_ALL]
        return subprocess.run(
            [*enter, *argv],
            check=check,
            input=input,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    def let_root_in(self) -> None:
        """Give root the password kept beside the host's keys, as a container's start does; /etc is
        a view here, so its file of passwords is covered by one of our own.
        """
        kept = (self.settings.trees / "etc/isard/ssh/root_password").read_text().strip()
        shadow = self.settings.trees / "etc/isard/shadow"
        shadow.write_text(f"root:{kept}:19000:0:99999:7:::\n")
        shadow.chmod(0o600)
        self.exec(["mount", "--bind", "/etc/isard/shadow", "/etc/shadow"])

    def make_disk(self, backing: Path, name: str) -> Path:
        """An overlay in the host's groups folder."""
        disk = self.storage_root / "groups" / f"{name}.qcow2"
        self.exec(
            [
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                "-b",
                str(backing),
                "-F",
                "qcow2",
                str(disk),
            ]
        )
        return disk

    def restart_libvirtd(self) -> None:
        """Kill libvirtd; its supervisor starts it again. Guests go on."""
        before = self.exec(["pgrep", "-x", "libvirtd"]).stdout.split()[0]
        self.exec(["kill", "-KILL", before])
        wait_until(lambda: self._libvirtd_answers_as_other_than(before), START_TIMEOUT_S)

    def freeze(self) -> None:
        """Every process of the host stands still: a dead link, but nothing is closed."""
        self.exec(["pkill", "-STOP", "-x", LINKS])

    def thaw(self) -> None:
        self.exec(["pkill", "-CONT", "-x", LINKS])

    def crash(self) -> None:
        """Pull the plug: everything in the host dies at once, guests included."""
        os.kill(self.init_pid, signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """As the product does it: guests are asked, then everything ends."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_TIMEOUT_S)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def _libvirtd_answers_as_other_than(self, pid: str) -> bool:
        found = self.exec(["pgrep", "-x", "libvirtd"], check=False).stdout.split()
        if not found or found[0] == pid:
            return False
        return self.exec(["virsh", "-q", "uri"], check=False).returncode == 0


@dataclass
class Lab:
    """A context that starts hosts below one folder and ends them all."""

    folder: Path
    hosts: list[LabHost] = field(default_factory=list)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for host in self.hosts:
            if host.process.poll() is None:
                host.process.terminate()
        for host in self.hosts:
            try:
                host.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                host.process.kill()
                host.process.wait()

    @property
    def key_path(self) -> Path:
        """The engine's key, which all hosts of this lab let in."""
        key = self.folder / "id_ed25519"
        if not key.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(key)]
            subprocess.run(generate, check=True, timeout=COMMAND_TIMEOUT_S)
        return key

    def start(
        self,
        id: str = "h1",
        *,
        data: Path | None = None,
        uplink: bool = False,
        stop_timeout_s: float = 3.0,
        ssh_port: int | None = None,
        viewer_port: int | None = None,
        probe: tuple[Path, Path] | None = None,
        prefix: Sequence[str] = (),
        password: str | None = None,
    ) -> LabHost:
        """Start a host and wait until SSH and libvirt answer. The same id again continues that
        host's data.

        With a `password` it is a host that nobody has added yet: root may log in by it, and the
        engine's key is not known there.
        """
        data = data or self.folder / id
        ports = free_ports(2)
        kernel, initramfs = probe or (None, None)
        settings = HostSettings(
            id=id,
            data=data,
            ssh_host="127.0.0.1",
            ssh_port=ssh_port or ports[0],
            viewer_host="127.0.0.1",
            viewer_port=viewer_port or ports[1],
            probe_kernel=kernel,
            probe_initramfs=initramfs,
            uplink=uplink,
            stop_timeout_s=stop_timeout_s,
        )
        (data / "ssh").mkdir(parents=True, exist_ok=True)
        (data / "logs").mkdir(exist_ok=True)
        for name in ("id_ed25519", "id_ed25519.pub"):
            shutil.copy(self.key_path.with_name(name), data / "ssh" / name)
        if password is not None:
            (data / "ssh" / "id_ed25519.pub").unlink()
            kept = settings.trees / "etc/isard/ssh/root_password"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(root_password.hash_of(password) + "\n")
        bring_capabilities(settings)
        host = launch(settings, self.key_path, data / "logs" / "host.log", prefix)
        self.hosts.append(host)
        wait_until_up(host, look_at_ports=not prefix)
        if password is not None:
            host.let_root_in()
        keep_capabilities(host)
        return host

    def restart(self, host: LabHost) -> LabHost:
        """The same host again, on the same ports, after a stop or a crash."""
        self.hosts.remove(host)
        return self.start(
            host.id,
            data=host.settings.data,
            uplink=host.settings.uplink,
            stop_timeout_s=host.settings.stop_timeout_s,
            ssh_port=host.ssh_port,
            viewer_port=host.viewer_port,
        )


def launch(
    settings: HostSettings, key_path: Path, log: Path, prefix: Sequence[str] = ()
) -> LabHost:
    """`prefix` is a command that runs the rest elsewhere, such as in another network."""
    settings.state_file.unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                *prefix,
                *(sys.executable, "-m", "hyper_image", "local", "--until-eof"),
                *host_settings.as_arguments(settings),
            ],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return LabHost(settings, key_path, log, process)


def wait_until_up(host: LabHost, look_at_ports: bool) -> None:
    state = host.settings.state_file

    def is_up() -> bool:
        if host.process.poll() is not None:
            raise AssertionError(f"the host ended at its start:\n{host.log_text()[-3000:]}")
        if not state.exists():
            return False
        return not look_at_ports or (accepts(host.ssh_port) and accepts(host.viewer_port))

    wait_until(is_up, START_TIMEOUT_S)
    host.init_pid = int(json.loads(state.read_text())["init_pid"])


def accepts(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def capability_cache() -> Path:
    """Once per machine, QEMU and libvirt: the folder's name says which."""
    parts = [f"{os.path.realpath(p)}:{Path(p).stat().st_mtime_ns}" for p in programs()]
    digest = hashlib.sha256(" ".join([*parts, os.uname().release]).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"isard-lab-capabilities-{os.getuid()}-{digest}")


def programs() -> list[str]:
    return [p for p in (shutil.which("qemu-system-x86_64"), shutil.which("libvirtd")) if p]


def bring_capabilities(settings: HostSettings) -> None:
    kept, own = capability_cache(), settings.trees / "var/cache/libvirt/qemu/capabilities"
    if kept.is_dir() and not own.exists():
        own.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(kept, own)


def keep_capabilities(host: LabHost) -> None:
    kept = capability_cache()
    if kept.is_dir():
        return
    host.exec(["virsh", "-q", "domcapabilities", "--virttype", "qemu"])
    unfinished = Path(tempfile.mkdtemp(prefix="isard-lab-"))
    own = host.settings.trees / "var/cache/libvirt/qemu/capabilities"
    shutil.copytree(own, unfinished, dirs_exist_ok=True)
    try:
        unfinished.rename(kept)
    except OSError:  # another test was first
        shutil.rmtree(unfinished)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now; all held at once so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_until(predicate: object, timeout_s: float, every_s: float = 0.02) -> None:
    """Look again and again until true; AssertionError after the time."""
    assert callable(predicate)
    deadline = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline, f"not true within {timeout_s:.0f} s: {predicate}"
        time.sleep(every_s)
