"""Hosts that die, stand still or come back: no call outlives its deadline, and no thread is left
behind.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from db.hypervisor_documents import HypervisorCheck
from engine.domain_xml.builder import build_domain_xml
from engine.errors import HostKeyRefused, HostLost, Transient
from engine.hypervisor.checks import run_checks
from engine.hypervisor.checks.visit import Visit
from engine.hypervisor.connection import HostConnection
from engine.hypervisor.events import event_loop_age_s
from engine.hypervisor.ssh import SshSession
from engine.settings import EngineSettings
from engine.storage.disks import DiskHost
from tests.engine.hosts import (
    INSTALLATION,
    Recorder,
    address_of,
    engine_settings,
    tiny_request,
)
from tests.lab import Lab, LabHost, tiny_guest, wait_until


@pytest.fixture
def host(lab: Lab) -> LabHost:
    """A host of this test's own, that may be mistreated."""
    return lab.start("h1")


@pytest.fixture
def own_settings(host: LabHost) -> EngineSettings:
    """Short deadlines: what is proved is that they hold, not how long they are."""
    return engine_settings(
        host, host.settings.data / "engine", call_timeout_s=3.0, connect_timeout_s=3.0
    )


@pytest.fixture
def line(
    host: LabHost, own_settings: EngineSettings, recorder: Recorder
) -> Iterator[HostConnection]:
    handle = HostConnection(
        address_of(host),
        own_settings,
        recorder.events.append,
        recorder.closings.append,
        installation=INSTALLATION,
    )
    handle.open()
    yield handle
    handle.close()


def call_threads() -> list[str]:
    """Threads that wait for libvirt or for a host (idle ones end by themselves)."""
    return [
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("dispose-") or thread.name.startswith("resolve-")
    ]


def test_a_host_whose_plug_is_pulled(
    host: LabHost, line: HostConnection, recorder: Recorder, lab: Lab
) -> None:
    host.crash()
    wait_until(lambda: recorder.closings != [], 30)
    assert not line.alive
    with pytest.raises(HostLost, match="not connected"):
        line.list_domains()
    with pytest.raises(HostLost):
        line.open()
    lab.restart(host)
    line.open()
    assert line.list_domains() == []
    assert len(recorder.closings) == 1


def test_a_host_that_stands_still(
    host: LabHost, line: HostConnection, recorder: Recorder, own_settings: EngineSettings
) -> None:
    ssh = SshSession(address_of(host), own_settings)
    ssh.run(["true"], timeout_s=20)
    host.freeze()
    try:
        with pytest.raises(HostLost):
            line.list_domains()
        assert not line.alive
        assert len(recorder.closings) == 1
        with pytest.raises(HostLost):
            line.open()
        with pytest.raises(HostLost):
            ssh.run(["true"], timeout_s=2)
        with pytest.raises(HostLost):
            ssh.run(["true"], timeout_s=6)
        wait_until(lambda: call_threads() == [], 30)
        assert event_loop_age_s() < 10
    finally:
        host.thaw()
    line.open()
    assert line.list_domains() == []
    assert ssh.run(["echo", "back"], timeout_s=20).text == "back\n"
    ssh.close()


def test_silence_is_noticed_without_anybody_calling(
    host: LabHost, line: HostConnection, recorder: Recorder
) -> None:
    host.freeze()
    try:
        wait_until(lambda: recorder.closings != [], 60)
        assert not line.alive
    finally:
        host.thaw()


def test_checks_end_when_the_host_falls_silent_while_they_are_made(
    host: LabHost, own_settings: EngineSettings
) -> None:
    """Not one deadline for each check that is left."""
    seen: list[str] = []

    def freeze_after_login(check: HypervisorCheck) -> None:
        seen.append(check["name"])
        if check["name"] == "clock":
            host.freeze()

    try:
        with pytest.raises(HostLost):
            run_checks(visit_of(host, own_settings), {}, on_check=freeze_after_login)
    finally:
        host.thaw()
    assert seen[-1] == "clock"


def test_checks_end_at_once_where_another_has_noticed(
    host: LabHost, own_settings: EngineSettings
) -> None:
    visit = visit_of(host, replace(own_settings, call_timeout_s=300.0, connect_timeout_s=60.0))

    def cut_when_connected(check: HypervisorCheck) -> None:
        if check["name"] == "libvirt":
            host.freeze()
            threading.Timer(0.5, visit.end).start()

    try:
        with pytest.raises(HostLost, match="closed"):
            run_checks(visit, {}, on_check=cut_when_connected)
    finally:
        host.thaw()


def visit_of(host: LabHost, settings: EngineSettings) -> Visit:
    kinds = {"hypervisor": True, "disk_operations": True}
    return Visit.begin(address_of(host), settings, kinds, installation=INSTALLATION)


def test_many_calls_that_hang_all_end(
    host: LabHost, line: HostConnection, recorder: Recorder, own_settings: EngineSettings
) -> None:
    outcomes: list[str] = []

    def ask() -> None:
        try:
            line.list_domains()
            outcomes.append("listed")
        except HostLost:
            outcomes.append("lost")

    host.freeze()
    try:
        threads = [threading.Thread(target=ask) for _ in range(own_settings.call_slots * 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    finally:
        host.thaw()
    assert outcomes == ["lost"] * len(threads)
    assert len(recorder.closings) == 1
    line.open()
    line.list_domains()


def test_guests_go_on_while_libvirtd_restarts(
    host: LabHost, line: HostConnection, recorder: Recorder, own_settings: EngineSettings
) -> None:
    ssh = SshSession(address_of(host), own_settings)
    disks = DiskHost(ssh, INSTALLATION)
    pool = str(host.storage_root / "groups")
    disks.ensure_marker(pool, "default", None)
    own_settings.images.mkdir(parents=True)
    image = tiny_guest.build(own_settings.images / "tiny.qcow2")
    path = f"{pool}/{uuid.uuid4()}/disk0.qcow2"
    disks.create_from_image(path, str(image))
    ssh.close()
    request = tiny_request(Path(path).parent.name, path)
    seen = line.create(build_domain_xml(request))
    host.restart_libvirtd()
    wait_until(lambda: recorder.closings != [], 30)
    line.open()
    assert line.look(request.id) == seen
    line.destroy(request.id)
    wait_until(lambda: ("stopped", "destroyed") in recorder.of(request.id), 20)


def test_a_host_made_anew_is_refused_until_its_key_is_accepted(
    host: LabHost, line: HostConnection, recorder: Recorder, own_settings: EngineSettings
) -> None:
    line.close()
    was = line.address
    stale = replace(
        was,
        host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7kC2Jx1PZ9m0aH5n5l0pXk8Vf6d1s2u3w4y5z6A7B8",
    )
    again = HostConnection(
        stale,
        own_settings,
        recorder.events.append,
        recorder.closings.append,
        installation=INSTALLATION,
    )
    with pytest.raises(HostKeyRefused) as raised:
        again.open()
    assert (raised.value.reason, raised.value.offered) == ("HostKeyChanged", was.host_key)
    unknown = HostConnection(
        replace(was, host_key=None),
        own_settings,
        recorder.events.append,
        recorder.closings.append,
        installation=INSTALLATION,
    )
    with pytest.raises(HostKeyRefused) as raised:
        unknown.open()
    assert (raised.value.reason, raised.value.offered) == ("HostKeyUnknown", was.host_key)
    line.open()


def test_a_host_that_does_not_let_the_engine_in(
    host: LabHost, own_settings: EngineSettings, recorder: Recorder
) -> None:
    handle = HostConnection(
        replace(address_of(host), user="nobody"),
        own_settings,
        recorder.events.append,
        recorder.closings.append,
        installation=INSTALLATION,
    )
    with pytest.raises(Transient, match="does not let the engine in") as raised:
        handle.open()
    assert raised.value.reason == "LoginRefused"


def test_losing_a_host_again_and_again_leaks_nothing(
    host: LabHost, line: HostConnection, recorder: Recorder
) -> None:
    def lose() -> None:
        link = line._link
        assert link is not None
        expected = len(recorder.closings) + 1
        link.program.end()
        wait_until(lambda: len(recorder.closings) == expected, 20)
        line.open()

    lose()
    wait_until(lambda: call_threads() == [], 20)
    before = open_files()
    for _ in range(8):
        lose()
    wait_until(lambda: call_threads() == [] and open_files() <= before, 20)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
