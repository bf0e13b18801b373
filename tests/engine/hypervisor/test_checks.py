"""The checks of a hypervisor: all pass on a good host, and each broken thing is named with its
remedy.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from db.documents import HypervisorCheck
from engine.hypervisor.checks import run_checks
from engine.hypervisor.host import HostAddress
from engine.settings import EngineSettings
from engine.storage.disks import DiskHost
from tests.engine.hosts import INSTALLATION, address_of
from tests.lab import LabHost, free_ports, wait_until

BOTH = {"hypervisor": True, "disk_operations": True}
REACHING = ["resolves", "port", "host_key", "login"]
VIRTUALIZATION = ["libvirt", "acceleration", "resources", "clock"]

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
        found = run_checks(
            address,
            replace(settings, call_timeout_s=call_timeout_s, connect_timeout_s=4.0),
            capabilities,
            pool_paths or {},
            on_check=seen.append,
            installation=INSTALLATION,
            viewer=viewer,
        )
        assert seen == found
        for entry in found:
            assert entry["message"].endswith((".", ")")), entry
            assert entry["duration_ms"] >= 0
            assert bool(entry["remedy"]) is not entry["ok"], entry
        return found

    return run


def names(found: list[HypervisorCheck]) -> list[str]:
    return [entry["name"] for entry in found]


def only_failure(found: list[HypervisorCheck], name: str) -> HypervisorCheck:
    failed = [entry for entry in found if not entry["ok"]]
    assert names(failed) == [name]
    return failed[0]


def test_all_is_well(check: Check, pool: str, disks: DiskHost) -> None:
    path_id = disks.ensure_marker(pool, "default", None)
    found = check({pool: path_id})
    assert names(found) == [*REACHING, *VIRTUALIZATION, "qemu_img", f"storage {pool}", "viewer"]
    assert [entry["message"] for entry in found if not entry["ok"]] == []
    assert {entry["affects"] for entry in found[:4]} == {"both"}
    assert {entry["affects"] for entry in found[4:8]} == {"virtualization"}
    assert found[8]["affects"] == "disk_operations"


def test_each_kind_of_host_is_asked_for_what_it_does(check: Check, pool: str) -> None:
    only_disks = check({pool: None}, {"hypervisor": False, "disk_operations": True})
    assert names(only_disks) == [*REACHING, "qemu_img", f"storage {pool}"]
    only_guests = check({pool: None}, {"hypervisor": True, "disk_operations": False})
    assert names(only_guests) == [*REACHING, *VIRTUALIZATION, f"storage {pool}", "viewer"]
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
    assert names(found) == REACHING
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
    failure = only_failure(check(), "clock")
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
    assert "Mount the storage" in failure["remedy"]
    assert not Path(path).exists()


def test_a_storage_of_somebody_else(check: Check, pool: str, disks: DiskHost) -> None:
    mark = Path(pool) / ".isard-storage.json"
    ours = json.loads(mark.read_text())
    failure = only_failure(check({pool: str(uuid.uuid4())}), f"storage {pool}")
    assert "another one than before" in failure["message"]
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
    assert "GiB are free" in failure["message"]
    assert "Free some space" in failure["remedy"]


def test_a_viewer_proxy_that_is_down_or_is_none(check: Check, shared_host: LabHost) -> None:
    failure = only_failure(check(viewer=("127.0.0.1", free_ports(1)[0])), "viewer")
    assert "Nothing answers" in failure["message"]
    assert "websocket proxy" in failure["remedy"]
    failure = only_failure(check(viewer=("127.0.0.1", shared_host.ssh_port)), "viewer")
    assert "is not the websocket proxy" in failure["message"]
