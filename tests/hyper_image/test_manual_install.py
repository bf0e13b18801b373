"""An ordinary host made a hypervisor by `manual-install.sh`: on a lab host whose /etc, /usr and
/opt are views of its own, with the host's real libvirt, a real sshd and the real viewer proxy.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hyper_image import certificates
from hyper_image.manual import description, files, viewer
from tests.lab import Lab, LabHost, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60

# A view of /usr may lie over another; one of /etc, which is a view in a lab host already, may not.
FURNISH = """
set -e
mount --make-rprivate /
mkdir -p /run/bare && mount -t tmpfs tmpfs /run/bare
mkdir /run/bare/etc /run/bare/opt /run/bare/upper /run/bare/work
cp -a /etc/. /run/bare/etc
mount --bind /run/bare/etc /etc
rm -rf /etc/isard /etc/pki/libvirt-spice /etc/libvirt/*.conf /etc/systemd/system/isard-*
mount --bind /run/bare/opt /opt
mount -t overlay -o lowerdir=/usr,upperdir=/run/bare/upper,workdir=/run/bare/work overlay /usr
rm -rf /usr/bin/qemu-kvm /usr/bin/curl /usr/local/lib/isardvdi
mkdir -p /etc/ssh /etc/systemd/system
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/bare_key
cat > /etc/ssh/sshd_config <<END
HostKey /etc/ssh/bare_key
Port 22
PermitRootLogin prohibit-password
END
sed -i '/^isard-viewer:/d' /etc/passwd /etc/group /etc/shadow
echo furnished
exec cat
"""


@dataclass
class BareHost:
    """A host on which nothing of ours was set up. `root` is its / as seen from here."""

    host: LabHost
    holder: subprocess.Popen[str]
    started: list[tuple[str, subprocess.Popen[str]]] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self.holder.pid}/root")

    @property
    def enter(self) -> list[str]:
        own, lab = f"/proc/{self.holder.pid}", f"/proc/{self.host.init_pid}"
        spaces = [f"--pid={lab}/ns/pid", f"--net={lab}/ns/net", f"--uts={lab}/ns/uts"]
        return ["nsenter", f"--mount={own}/ns/mnt", *spaces, f"--root={own}/root", "--wd=/"]

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.enter, *argv], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )

    def start(self, *argv: str) -> None:
        """A program that runs until the end; kept with its number as the host counts."""
        process = subprocess.Popen(
            [*self.enter, "sh", "-c", 'echo $$; exec "$@" >/dev/null 2>&1', "sh", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        self.started.append((process.stdout.readline().strip(), process))

    def install(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The script, from a copy of its folder, as a person would have it."""
        return self.run("sh", "/opt/copied/hyper_image/manual-install.sh", *arguments)

    def apply(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.install("--apply", "--no-packages", *arguments)

    def state(self) -> dict[str, tuple[int, bytes]]:
        """Every file that a change could have touched, by its mode and content."""
        paths = [*(self.root / "run/bare").rglob("*")]
        return {
            str(path): (path.lstat().st_mode, b"" if path.is_symlink() else path.read_bytes())
            for path in paths
            if path.is_file() or path.is_symlink()
        }

    def end(self) -> None:
        for number, process in self.started:
            self.run("kill", number)
            process.communicate(timeout=TIMEOUT_S)
        self.holder.communicate(timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def lab_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    with Lab(tmp_path_factory.mktemp("manual")) as lab:
        yield lab.start("h1")


@pytest.fixture
def bare(lab_one: LabHost) -> Iterator[BareHost]:
    spaces = ("-m", "-n", "-u", "-i", "--root", "--wd=/")
    holder = subprocess.Popen(
        ["nsenter", "-t", str(lab_one.init_pid), *spaces, "unshare", "-m", "sh", "-c", FURNISH],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "furnished\n"
    host = BareHost(lab_one, holder)
    skipped = shutil.ignore_patterns("__pycache__", "demo_guest")
    shutil.copytree(
        REPOSITORY / "hyper_image", host.root / "opt/copied/hyper_image", ignore=skipped
    )
    try:
        yield host
    finally:
        host.end()


def bring_certificates(bare: BareHost) -> None:
    certificates.ensure(bare.root / "opt/isard/certs/default", ["h1"])


def bring_packages(bare: BareHost) -> None:
    """What apt-get and pip would have brought."""
    shutil.copy2("/usr/bin/curl", bare.root / "usr/bin/curl")
    environment = bare.root / "usr/local/lib/isardvdi/venv"
    environment.parent.mkdir(parents=True)
    environment.symlink_to((REPOSITORY / ".venv").resolve())


def test_a_bare_host_is_told_what_it_lacks_and_nothing_is_touched(bare: BareHost) -> None:
    before = bare.state()
    checked = bare.install("--check")
    assert checked.returncode == 1
    for lacking in (
        "missing: curl, which downloads media — apt-get install curl",
        "missing: /usr/bin/qemu-kvm — ln -s /usr/bin/qemu-system-x86_64 /usr/bin/qemu-kvm",
        "missing: /opt/isard/groups — ",
        "missing: certificates in /opt/isard/certs/default: no ca-cert.pem",
        "missing: /etc/libvirt/qemu.conf: vnc_listen",
        "missing: /etc/libvirt/qemu.conf: spice_tls = 1 — bring the certificates first",
        "missing: sshd does not answer at port 22",
        "missing: the viewer proxy in /usr/local/lib/isardvdi",
        "missing: the user isard-viewer",
        "missing: isard-viewer.service",
        "missing: /etc/isard/hypervisor.json",
        "ok: libvirt answers",
        "ok: libvirt has no open TCP port",
        "ok: the guests' network default is active",
    ):
        assert f"\n{lacking}" in f"\n{checked.stdout}", checked.stdout + checked.stderr
    assert bare.state() == before


def test_apply_mends_all_once_and_the_proxy_it_installed_answers(bare: BareHost) -> None:
    bring_certificates(bare)
    bring_packages(bare)
    Path(bare.root / "run/sshd").mkdir(exist_ok=True)
    bare.start("/usr/sbin/sshd", "-D", "-f", "/etc/ssh/sshd_config")

    first = bare.apply()
    assert "failed:" not in first.stdout, first.stdout
    assert first.stdout.index("change: mkdir -p /opt/isard/bases") < first.stdout.index(
        "ok: /opt/isard/bases"
    )
    assert (bare.root / "usr/bin/qemu-kvm").readlink() == Path("/usr/bin/qemu-system-x86_64")
    key = bare.root / "etc/pki/libvirt-spice/server-key.pem"
    assert key.stat().st_mode & 0o777 == 0o640
    assert "spice_tls = 1\n" in (bare.root / "etc/libvirt/qemu.conf").read_text()

    unit = (bare.root / "etc/systemd/system/isard-viewer.service").read_text()
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    argv = command.removeprefix("ExecStart=").replace("%H", "h1").split()
    bare.start("env", "PYTHONPATH=/usr/local/lib/isardvdi", *argv)
    wait_until(lambda: bare.install("--check").returncode == 0, TIMEOUT_S, every_s=0.2)

    before = bare.state()
    second = bare.apply()
    assert second.returncode == 0, second.stdout
    assert "change:" not in second.stdout
    assert "Nothing was changed." in second.stdout
    assert bare.state() == before


def test_the_open_tcp_port_is_told_never_opened_and_closed_only_when_asked(bare: BareHost) -> None:
    conf = bare.root / "etc/libvirt/libvirtd.conf"
    assert "listen_tcp" not in bare.apply().stdout
    assert "listen_tcp" not in conf.read_text()

    conf.write_text("listen_tls = 0\n listen_tcp=1 # the guide\n")
    warned = bare.apply()
    assert "warning: libvirt's TCP port is open or will be: listen_tcp = 1" in warned.stdout
    assert conf.read_text() == "listen_tls = 0\n listen_tcp=1 # the guide\n"

    closed = bare.apply("--close-tcp")
    assert "change: listen_tcp = 0" in closed.stdout
    assert "ok: libvirt has no open TCP port" in closed.stdout
    assert conf.read_text() == "listen_tls = 0\n listen_tcp=0 # the guide\n"


def test_whoever_listens_at_libvirts_port_is_noticed(bare: BareHost) -> None:
    listen = "import socket; s = socket.create_server(('0.0.0.0', 16509)); s.accept()"
    bare.start("python3", "-c", listen)
    wait_until(
        lambda: "something listens at port 16509" in bare.install("--check").stdout, TIMEOUT_S
    )


def test_lines_of_others_stay_and_the_first_version_is_kept(bare: BareHost) -> None:
    conf = bare.root / "etc/libvirt/qemu.conf"
    theirs = (
        b"# spice_listen = \"9.9.9.9\"\r\nmax_files = 9999\nspice_listen = '0.0.0.0' # \xff\n"
        b'cgroup_device_acl = [\n  "/dev/null",\n]\nspice_listen = "10.0.0.1"\nno_newline = 1'
    )
    conf.write_bytes(theirs)
    conf.chmod(0o640)
    bare.apply()
    loopback = b'spice_listen = "127.0.0.1"'
    assert conf.read_bytes() == (
        theirs.replace(b"spice_listen = '0.0.0.0'", loopback).replace(
            b'spice_listen = "10.0.0.1"', loopback
        )
        + b'\nvnc_listen = "127.0.0.1"\n'
    )
    assert conf.stat().st_mode & 0o777 == 0o640
    backup = conf.with_name("qemu.conf.isard-backup")
    conf.write_bytes(b"")
    bare.apply()
    assert backup.read_bytes() == theirs
    assert backup.stat().st_mode & 0o777 == 0o640


def test_certificates_that_are_wrong_are_not_copied(bare: BareHost) -> None:
    bring_certificates(bare)
    folder = bare.root / "opt/isard/certs/default"
    other = bare.root / "opt/other/certs"
    certificates.ensure(other, ["h2"])
    shutil.copy(other / "server-key.pem", folder / "server-key.pem")
    told = bare.apply().stdout
    assert "server-key.pem does not belong to server-cert.pem" in told
    shutil.copy(other / "server-cert.pem", folder / "server-cert.pem")
    assert "server-cert.pem was not issued by ca-cert.pem" in bare.apply().stdout
    assert not (bare.root / "etc/pki/libvirt-spice/server-key.pem").exists()
    assert "spice_tls" not in (bare.root / "etc/libvirt/qemu.conf").read_text()


def test_hostile_values_are_text(bare: BareHost) -> None:
    bring_certificates(bare)
    (bare.root / "etc/libvirt/qemu.conf").write_text('user = "$(touch /opt/owned)"\nspice_tls\n')
    (bare.root / "etc/libvirt/libvirtd.conf").write_text("listen_tcp = \x1b]0;`touch/opt/owned`\n")
    (bare.root / "etc/isard").mkdir()
    (bare.root / "etc/isard/hypervisor.json").write_text('["viewer_port"]')
    (bare.root / "opt/isard/bases").symlink_to("/opt/nowhere")
    told = bare.apply()
    assert "Traceback" not in told.stderr
    assert "missing: QEMU's user is not known" in told.stdout
    assert "missing: /opt/isard/bases is no folder" in told.stdout
    assert "\x1b" not in told.stdout
    assert not (bare.root / "opt/owned").exists()
    assert not (bare.root / "opt/nowhere").exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["--check", "--apply"], ["--check", "--close-tcp"], ["--apply", "--viewer-port", "0"]],
)
def test_called_wrongly_it_says_how_and_does_nothing(arguments: list[str]) -> None:
    script = REPOSITORY / "hyper_image/manual-install.sh"
    done = subprocess.run(
        ["sh", str(script), *arguments], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 2
    assert "usage: manual-install.sh" in done.stderr


def test_the_program_that_kvm_is_tried_with_writes_its_marker(tmp_path: Path) -> None:
    program = tmp_path / "init"
    program.write_bytes(description.make_init())
    program.chmod(0o755)
    with subprocess.Popen([str(program)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ISARD-USERLAND-REACHED\n"
        process.kill()


def test_the_proxys_packages_are_those_of_the_one_list() -> None:
    pinned = (REPOSITORY / "requirements.txt").read_text().splitlines()
    assert viewer.ALONE in pinned
    assert viewer.WITH_DEPENDENCIES in pinned


def test_settings_are_put_where_they_are_or_at_the_end() -> None:
    assert files.with_settings("", {"a": "1"}) == "a = 1\n"
    assert files.with_settings("#a = 2\nab = 3", {"a": "1"}) == "#a = 2\nab = 3\na = 1\n"
    assert files.with_settings("a=\nb = 2\n", {"a": "1"}) == "a=1\nb = 2\n"
