"""The checks of a hypervisor: all pass on a good host, and each broken thing is named with its
remedy.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from db.hypervisor_documents import HypervisorCheck
from engine.hypervisor.checks import run_checks
from engine.hypervisor.checks.certificates import FOLDER, Certificates, judge
from engine.hypervisor.checks.visit import Visit
from engine.hypervisor.host import HostAddress
from engine.hypervisor.profile import DESCRIPTION
from engine.settings import EngineSettings
from engine.storage.disks import DiskHost
from hyper_image import certificates
from tests.engine.hosts import INSTALLATION, address_of
from tests.lab import LabHost, free_ports, wait_until

BOTH = {"hypervisor": True, "disk_operations": True}
REACHING = ["resolves", "port", "host_key", "login", "clock"]
VIRTUALIZATION = [
    *("libvirt", "acceleration", "processor", "memory", "screens"),
    *("certificates", "spice_tls", "viewer", "tickets"),
]
DISKS = ["qemu_img", "curl"]

Check = Callable[..., list[HypervisorCheck]]


@pytest.fixture
def check(shared_host: LabHost, settings: EngineSettings) -> Check:
    def run(
        pool_paths: Mapping[str, str | None] | None = None,
        capabilities: Mapping[str, bool] = BOTH,
        viewer: tuple[str, int] | None = None,
        call_timeout_s: float = 20.0,
        **changes: object,
    ) -> list[HypervisorCheck]:
        address: HostAddress = replace(address_of(shared_host), **changes)  # type: ignore[arg-type]
        seen: list[HypervisorCheck] = []
        visit = Visit.begin(
            address,
            replace(settings, call_timeout_s=call_timeout_s, connect_timeout_s=4.0),
            capabilities,
            installation=INSTALLATION,
            viewer=viewer,
        )
        found = run_checks(visit, pool_paths or {}, on_check=seen.append)
        assert seen == found
        for entry in found:
            assert entry["message"].endswith((".", ")")), entry
            assert entry["duration_ms"] >= 0
            assert bool(entry["remedy"]) is not entry["ok"], entry
            assert entry["ok"] is (entry["level"] == "ok"), entry
        return found

    return run


def names(found: list[HypervisorCheck]) -> list[str]:
    return [entry["name"] for entry in found]


def only_failure(found: list[HypervisorCheck], name: str, level: str = "failed") -> HypervisorCheck:
    failed = [entry for entry in found if not entry["ok"]]
    assert names(failed) == [name]
    assert failed[0]["level"] == level
    return failed[0]


@pytest.fixture(scope="session", autouse=True)
def complete_host(shared_host: LabHost) -> None:
    """What enrolment and an administrator bring: certificates, TLS for SPICE, a ticket key."""
    put_certificates(shared_host, ["127.0.0.1"])
    conf = shared_host.settings.trees / "etc/libvirt/qemu.conf"
    conf.write_text(conf.read_text() + "spice_tls = 1\n")
    shared_host.ticket_keys.mkdir(parents=True, exist_ok=True)
    key = shared_host.ticket_keys / "test-key.pem"
    key.write_text("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n")


def put_certificates(host: LabHost, hosts_named: list[str]) -> Path:
    made = host.settings.data / f"certificates-{uuid.uuid4().hex[:8]}"
    made.mkdir()
    certificates.make(made, hosts_named)
    folder = host.settings.trees / "etc/pki/libvirt-spice"
    for name in certificates.NEEDED:
        shutil.copy(made / name, folder / name)
    host.exec(
        [
            "sh",
            "-c",
            "chgrp libvirt-qemu /etc/pki/libvirt-spice/*.pem && "
            "chmod 640 /etc/pki/libvirt-spice/*.pem",
        ]
    )
    return folder


def test_all_is_well(check: Check, pool: str, disks: DiskHost) -> None:
    path_id = disks.ensure_marker(pool, "default", None)
    found = check({pool: path_id})
    assert names(found) == [*REACHING, *VIRTUALIZATION, *DISKS, f"storage {pool}"]
    assert [entry["message"] for entry in found if not entry["ok"]] == []
    affected = [entry["affects"] for entry in found]
    assert affected == [
        *["both"] * len(REACHING),
        *["virtualization"] * len(VIRTUALIZATION),
        *["disk_operations"] * len(DISKS),
        "storage",
    ]
    messages = {entry["name"]: entry["message"] for entry in found}
    assert "the same storage as on the other hosts" in messages[f"storage {pool}"]
    assert "VNC and SPICE" in messages["screens"]
    assert "test-key" in messages["tickets"]


def test_where_nobody_has_tried_kvm_it_is_said_how(check: Check, shared_host: LabHost) -> None:
    said = {entry["name"]: entry["message"] for entry in check()}
    assert "manual-install.sh" not in said["acceleration"], "here it was looked into"
    away = f"{DESCRIPTION}.away"
    shared_host.exec(["mv", DESCRIPTION, away])
    try:
        said = {entry["name"]: entry["message"] for entry in check()}
    finally:
        shared_host.exec(["mv", away, DESCRIPTION])
    assert "sudo sh hyper_image/manual-install.sh --apply" in said["acceleration"]


def test_each_kind_of_host_is_asked_for_what_it_does(check: Check, pool: str) -> None:
    only_disks = check({pool: None}, {"hypervisor": False, "disk_operations": True})
    assert names(only_disks) == [*REACHING, *DISKS, f"storage {pool}"]
    only_guests = check({pool: None}, {"hypervisor": True, "disk_operations": False})
    assert names(only_guests) == [*REACHING, *VIRTUALIZATION, f"storage {pool}"]
    assert names(check({}, {})) == REACHING


def test_a_name_that_does_not_resolve(check: Check) -> None:
    found = check(hostname="no-such-host.invalid")
    assert names(found) == ["resolves"]
    assert "cannot be resolved" in found[0]["message"]
    assert "Correct the host's name" in found[0]["remedy"]


def test_a_port_where_nobody_listens(check: Check) -> None:
    found = check(port=free_ports(1)[0])
    assert names(found) == ["resolves", "port"]
    assert "Nothing answers" in found[1]["message"]
    assert "Start sshd" in found[1]["remedy"]


def test_a_port_that_is_no_ssh(check: Check, shared_host: LabHost) -> None:
    found = check(port=shared_host.viewer_port)
    assert names(found) == ["resolves", "port", "host_key"]
    assert "not as an SSH server" in found[2]["message"]


def test_a_key_nobody_has_accepted(check: Check) -> None:
    found = check(host_key=None)
    assert names(found) == ["resolves", "port", "host_key"]
    assert "not been accepted yet: ssh-ed25519 SHA256:" in found[2]["message"]
    assert "Compare the fingerprint" in found[2]["remedy"]


def test_a_key_that_changed(check: Check) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7kC2Jx1PZ9m0aH5n5l0pXk8Vf6d1s2u3w4y5z6A7B8"
    found = check(host_key=key)
    assert names(found) == ["resolves", "port", "host_key"]
    assert "another key" in found[2]["message"]
    assert "SHA256:" in found[2]["message"]
    assert "made anew" in found[2]["remedy"]


def test_a_login_that_is_refused(check: Check) -> None:
    found = check(user="nobody")
    assert names(found) == ["resolves", "port", "host_key", "login"]
    assert "does not let the engine in as nobody" in found[3]["message"]
    assert "authorized_keys" in found[3]["remedy"]


def test_a_libvirt_that_hangs(check: Check, shared_host: LabHost) -> None:
    shared_host.exec(["sh", "-c", "kill -STOP $(pgrep -x libvirtd)"])
    try:
        failure = only_failure(check(call_timeout_s=4.0), "libvirt")
    finally:
        shared_host.exec(["sh", "-c", "kill -CONT $(pgrep -x libvirtd)"])
    assert "libvirt" in failure["message"]
    assert "systemctl" in failure["remedy"]
    wait_until(lambda: all(entry["ok"] for entry in check()), 60, every_s=0.5)


@pytest.fixture
def instead_of(shared_host: LabHost) -> Iterator[Callable[[str, Path], None]]:
    """Lays another file over one of the host's, seen inside the host alone."""
    covered: list[str] = []

    def cover(program: str, by: Path) -> None:
        path = shared_host.exec(["sh", "-c", 'readlink -f "$(command -v "$1")"', "x", program])
        place = path.stdout.strip()
        before = Path(place).stat().st_size
        shared_host.exec(["mount", "--bind", str(by), place])
        covered.append(place)
        assert Path(place).stat().st_size == before, "the machine's own file was covered too"

    yield cover
    for place in covered:
        shared_host.exec(["umount", place])


def test_a_clock_that_is_wrong(
    check: Check, instead_of: Callable[[str, Path], None], shared_host: LabHost
) -> None:
    wrong = shared_host.settings.data / "date"
    an_hour_on = "awk 'BEGIN {srand(); print srand() + 3600}'"
    wrong.write_text(f"#!/bin/sh\n{an_hour_on}\n")
    wrong.chmod(0o755)
    instead_of("date", wrong)
    failure = only_failure(check(), "clock", "warning")
    assert "seconds ahead" in failure["message"]
    assert "NTP" in failure["remedy"]


def test_a_host_without_qemu_img(check: Check, instead_of: Callable[[str, Path], None]) -> None:
    instead_of("qemu-img", Path("/dev/null"))
    failure = only_failure(check(), "qemu_img")
    assert failure["message"] == "The host lacks: qemu-img."
    assert "qemu-utils" in failure["remedy"]


def test_a_storage_that_is_not_mounted(check: Check, shared_host: LabHost) -> None:
    path = str(shared_host.storage_root / f"gone-{uuid.uuid4().hex[:8]}")
    assert all(entry["ok"] for entry in check({path: None}))
    failure = only_failure(check({path: str(uuid.uuid4())}), f"storage {path}")
    assert "its marker is not there" in failure["message"]
    assert f"mount SERVER:EXPORT {path}" in failure["remedy"]
    assert not Path(path).exists()


def test_a_storage_of_somebody_else(check: Check, pool: str, disks: DiskHost) -> None:
    mark = Path(pool) / ".isard-storage.json"
    ours = json.loads(mark.read_text())
    failure = only_failure(check({pool: str(uuid.uuid4())}), f"storage {pool}")
    assert "another storage than on the other hosts" in failure["message"]
    assert "mount SERVER:EXPORT" in failure["remedy"]
    mark.write_text(json.dumps(ours | {"installation": str(uuid.uuid4())}, sort_keys=True))
    failure = only_failure(check({pool: None}), f"storage {pool}")
    assert "another installation" in failure["message"]
    assert "another path" in failure["remedy"]


def test_a_storage_that_cannot_be_written(check: Check, pool: str, shared_host: LabHost) -> None:
    shared_host.exec(["mount", "--bind", "-o", "ro", pool, pool])
    try:
        failure = only_failure(check({pool: None}), f"storage {pool}")
        assert all(entry["ok"] for entry in check({pool: None}, {"hypervisor": True}))
    finally:
        shared_host.exec(["umount", pool])
    assert "cannot write" in failure["message"]
    assert "read-write" in failure["remedy"]


def test_a_storage_that_is_full(check: Check, pool: str, shared_host: LabHost) -> None:
    shared_host.exec(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", pool])
    try:
        failure = only_failure(check({pool: None}), f"storage {pool}")
    finally:
        shared_host.exec(["umount", pool])
    assert "GiB are free in" in failure["message"]
    assert "Free some space" in failure["remedy"]


def test_a_viewer_proxy_that_is_down_or_is_none(check: Check, shared_host: LabHost) -> None:
    failure = only_failure(check(viewer=("127.0.0.1", free_ports(1)[0])), "viewer", "warning")
    assert "Nothing answers" in failure["message"]
    assert "websocket proxy" in failure["remedy"]
    failure = only_failure(check(viewer=("127.0.0.1", shared_host.ssh_port)), "viewer", "warning")
    assert "is not the websocket proxy" in failure["message"]


def test_a_host_without_curl(check: Check, instead_of: Callable[[str, Path], None]) -> None:
    instead_of("curl", Path("/dev/null"))
    failure = only_failure(check(), "curl", "warning")
    assert "Install curl" in failure["remedy"]


def test_a_host_without_a_ticket_key(check: Check, shared_host: LabHost) -> None:
    key = shared_host.ticket_keys / "test-key.pem"
    hidden = key.rename(key.with_suffix(".hidden"))
    try:
        failure = only_failure(check(), "tickets", "warning")
    finally:
        hidden.rename(key)
    assert "/etc/isard/tickets" in failure["message"]
    assert "Set up access" in failure["remedy"]


def test_spice_without_tls(check: Check, shared_host: LabHost) -> None:
    conf = shared_host.settings.trees / "etc/libvirt/qemu.conf"
    before = conf.read_text()
    conf.write_text(before.replace("spice_tls = 1", "# spice_tls = 1"))
    try:
        failure = only_failure(check(), "spice_tls", "warning")
    finally:
        conf.write_text(before)
    assert "spice_tls = 1" in failure["remedy"]


@pytest.fixture
def certificate_folder(shared_host: LabHost) -> Iterator[Path]:
    """The host's, to be spoilt; whole again afterwards."""
    yield shared_host.settings.trees / "etc/pki/libvirt-spice"
    put_certificates(shared_host, ["127.0.0.1"])


def test_certificates_that_are_missing(check: Check, certificate_folder: Path) -> None:
    (certificate_folder / "ca-cert.pem").unlink()
    failure = only_failure(check(), "certificates", "warning")
    assert "no complete certificates" in failure["message"]
    assert "/opt/isard/certs/default" in failure["remedy"]


def test_a_key_of_another_certificate(
    check: Check, certificate_folder: Path, shared_host: LabHost
) -> None:
    before = (certificate_folder / "server-key.pem").read_bytes()
    put_certificates(shared_host, ["127.0.0.1"])
    (certificate_folder / "server-key.pem").write_bytes(before)
    failure = only_failure(check(), "certificates", "warning")
    assert "does not belong" in failure["message"]


def test_certificates_of_a_host_without_openssl(
    check: Check, instead_of: Callable[[str, Path], None]
) -> None:
    instead_of("openssl", Path("/dev/null"))
    assert all(entry["ok"] for entry in check())


def test_an_authority_that_did_not_issue_it(
    check: Check, certificate_folder: Path, shared_host: LabHost
) -> None:
    before = (certificate_folder / "ca-cert.pem").read_bytes()
    put_certificates(shared_host, ["127.0.0.1"])
    (certificate_folder / "ca-cert.pem").write_bytes(before)
    failure = only_failure(check(), "certificates", "warning")
    assert "not issued by the authority" in failure["message"]


def test_a_certificate_for_another_name(
    check: Check, certificate_folder: Path, shared_host: LabHost
) -> None:
    put_certificates(shared_host, ["other.example"])
    failure = only_failure(check(), "certificates", "warning")
    assert "not for the name 127.0.0.1" in failure["message"]


def test_a_certificate_whose_time_is_over_or_nearly_so(tmp_path: Path) -> None:
    certificates.make(tmp_path, ["hyper-1.example", "*.lab.example", "10.0.0.7"])
    authority, server, key = ((tmp_path / name).read_text() for name in certificates.NEEDED)
    public = certificate_of(server).public_key()
    found = Certificates(FOLDER, "qemu", "yes", "640", True, authority, server, public_text(public))
    ends = certificate_of(server).not_valid_after_utc
    for before, level, words in (
        (timedelta(days=31), "ok", "valid until"),
        (timedelta(days=29), "warning", "expires on"),
        (timedelta(days=-1), "warning", "expired on"),
    ):
        finding = judge(found, "hyper-1.example", ends - before)
        assert (finding.level, words in finding.message) == (level, True), finding
        assert f"{ends:%Y-%m-%d}" in finding.message
    for name in ("10.0.0.7", "a.lab.example", "HYPER-1.example"):
        assert judge(found, name, ends - timedelta(days=99)).level == "ok", name
    for name in ("10.0.0.8", "lab.example", "a.b.lab.example", "hyper-1"):
        assert judge(found, name, ends - timedelta(days=99)).level == "warning", name
    assert key not in str(judge(found, "hyper-1.example", ends))


def certificate_of(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(text.encode())


def public_text(key: Any) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_a_key_that_qemu_cannot_read_or_everybody_can(
    check: Check, certificate_folder: Path
) -> None:
    key = certificate_folder / "server-key.pem"
    key.chmod(0o600)
    failure = only_failure(check(), "certificates", "warning")
    assert "libvirt-qemu cannot read" in failure["message"]
    assert "chmod 640" in failure["remedy"]
    key.chmod(0o644)
    failure = only_failure(check(), "certificates", "warning")
    assert "Everybody" in failure["message"]
