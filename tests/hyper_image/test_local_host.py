"""A local hypervisor host from start to end: libvirt over SSH, guests, crashes, and nothing else
touched.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import libvirt
import pytest

from tests.lab import Lab, LabHost, tiny_guest, wait_until

SSH_TIMEOUT_S = 30
GUEST_TIMEOUT_S = 30


@pytest.fixture
def tiny_template(lab_host: LabHost, tiny_image: Path) -> Path:
    return Path(shutil.copy(tiny_image, lab_host.storage_root / "templates" / "tiny.qcow2"))


def ssh(host: LabHost, *command: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
    known_hosts = host.settings.data / "known"
    known_hosts.write_text(host.known_hosts_line + "\n")
    return subprocess.run(
        [
            *("ssh", "-F", "none", "-p", str(host.ssh_port), "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={known_hosts}", "-o", "StrictHostKeyChecking=yes"),
            *("-o", "IdentitiesOnly=yes", "-i", str(key or host.key_path)),
            *("root@127.0.0.1", *command),
        ],
        capture_output=True,
        text=True,
        timeout=SSH_TIMEOUT_S,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )


def start_guest(host: LabHost, template: Path, name: str = "one") -> libvirt.virDomain:
    connection = libvirt.open(host.libvirt_uri)
    disk = host.make_disk(template, name)
    domain = connection.createXML(tiny_guest.domain_xml(name, disk))
    wait_until(lambda: tiny_guest.picture(domain).size == (640, 400), GUEST_TIMEOUT_S)
    return domain


def test_libvirt_answers_over_ssh_and_its_network_is_up(lab_host: LabHost) -> None:
    with libvirt.open(lab_host.libvirt_uri) as connection:
        assert connection.getHostname() == "h1"
        assert connection.networkLookupByName("default").isActive()


def test_commands_run_over_ssh_where_libvirt_runs(lab_host: LabHost) -> None:
    assert ssh(lab_host, "virsh", "-q", "uri").stdout.strip() == "qemu:///system"
    image = lab_host.storage_root / "groups" / "new.qcow2"
    assert ssh(lab_host, "qemu-img", "create", "-f", "qcow2", str(image), "1M").returncode == 0
    assert image.exists(), "paths are the same inside and outside"


def test_only_the_engines_key_opens_the_door(lab_host: LabHost, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    refused = ssh(lab_host, "true", key=stranger)
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_a_guest_shows_a_picture_counts_its_boots_and_obeys_the_power_button(
    lab_host: LabHost, tiny_template: Path
) -> None:
    domain = start_guest(lab_host, tiny_template)
    colours = tiny_guest.picture(domain).getcolors(1 << 20)
    assert colours is not None
    assert len(colours) > 20
    domain.shutdown()
    wait_until(lambda: not lab_host.exec(["virsh", "-q", "list"]).stdout, GUEST_TIMEOUT_S)
    disk = lab_host.storage_root / "groups" / "one.qcow2"
    counter = lab_host.exec(["qemu-io", "-r", "-f", "qcow2", "-c", "read -v 512 2", str(disk)])
    assert "00000200:  01 00" in counter.stdout


def test_guests_run_as_a_user_without_rights(lab_host: LabHost, tiny_template: Path) -> None:
    start_guest(lab_host, tiny_template)
    assert lab_host.exec(["ps", "-o", "user=", "-C", "qemu-system-x86_64"]).stdout.strip() not in (
        "",
        "root",
    )


def test_guests_go_on_while_libvirtd_is_restarted(lab_host: LabHost, tiny_template: Path) -> None:
    start_guest(lab_host, tiny_template)
    before = lab_host.exec(["pgrep", "qemu-system"]).stdout
    lab_host.restart_libvirtd()
    with libvirt.open(lab_host.libvirt_uri) as connection:
        assert [domain.name() for domain in connection.listAllDomains()] == ["one"]
    assert lab_host.exec(["pgrep", "qemu-system"]).stdout == before


def test_a_stop_asks_the_guests_and_leaves_nothing_running(
    lab: Lab, lab_host: LabHost, tiny_template: Path
) -> None:
    start_guest(lab_host, tiny_template)
    inside = processes_inside(lab_host)
    lab_host.stop()
    assert lab_host.process.returncode == 0
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in inside), GUEST_TIMEOUT_S)
    assert not lab_host.settings.state_file.exists()


def test_after_a_power_cut_the_same_host_comes_back(lab: Lab, lab_host: LabHost) -> None:
    host_key, uuid = lab_host.host_key, host_uuid(lab_host)
    lab_host.crash()
    again = lab.restart(lab_host)
    assert (again.host_key, host_uuid(again)) == (host_key, uuid)


def test_the_plug_pulled_on_the_outer_process_ends_everything(
    lab_host: LabHost, tiny_template: Path
) -> None:
    start_guest(lab_host, tiny_template)
    inside = processes_inside(lab_host)
    lab_host.process.kill()
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in inside), GUEST_TIMEOUT_S)


def test_hosts_side_by_side_share_nothing(lab: Lab, tiny_image: Path) -> None:
    one, two = lab.start("one"), lab.start("two")
    template = Path(shutil.copy(tiny_image, one.storage_root / "templates" / "tiny.qcow2"))
    start_guest(one, template)
    assert host_uuid(one) != host_uuid(two)
    assert one.host_key != two.host_key
    assert not two.exec(["virsh", "-q", "list", "--all"]).stdout


def test_a_data_folder_below_a_closed_one_works(lab: Lab, tmp_path: Path, tiny_image: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    host = lab.start("h1", data=closed / "deep" / "data")
    template = Path(shutil.copy(tiny_image, host.storage_root / "templates" / "tiny.qcow2"))
    start_guest(host, template)
    assert closed.stat().st_mode & 0o777 == 0o700


def test_the_machines_own_files_are_not_seen_as_the_hosts(lab_host: LabHost) -> None:
    assert lab_host.exec(["cat", "/etc/hostname"]).stdout == "h1\n"
    assert socket.gethostname() != "h1"
    shadow = lab_host.exec(["cut", "-d:", "-f2", "/etc/shadow"]).stdout.split()
    assert set(shadow) == {"*"}, "nobody's password is known inside"
    assert not lab_host.exec(["ls", "/run/systemd"], check=False).stdout


def test_the_host_describes_itself_for_the_engine(lab_host: LabHost) -> None:
    described = json.loads(ssh(lab_host, "cat", "/etc/isard/hypervisor.json").stdout)
    assert described["id"] == "h1"
    assert described["kvm"] in (True, False)
    assert described["kvm_reason"]
    assert described["viewer_port"] == lab_host.viewer_port
    assert described["version"] == 1


def processes_inside(host: LabHost) -> list[str]:
    """Process numbers, as seen here, of everything in the host's namespace."""
    own = pid_namespace(Path("/proc", str(host.init_pid)))
    return [p.name for p in Path("/proc").iterdir() if p.name.isdigit() and pid_namespace(p) == own]


def pid_namespace(process: Path) -> str:
    try:
        return str((process / "ns/pid").readlink())
    except OSError:
        return ""


def host_uuid(host: LabHost) -> str:
    return host.exec(["cat", "/etc/isard/host_uuid"]).stdout
