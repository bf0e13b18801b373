"""A domain's life on a real host: libvirt, QEMU and the tiny guest."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import libvirt
import pytest
from PIL import Image

from engine.domain_xml.builder import DomainRequest, build_domain_xml
from engine.errors import HostLost, Terminal, Transient
from engine.hypervisor.connection import HostConnection
from engine.hypervisor.picture import PNG_SIGNATURE
from engine.storage.disks import DiskHost
from tests.engine.domain_xml.requests import CASES
from tests.engine.hosts import INSTALLATION, Recorder
from tests.engine.hypervisor import rfb
from tests.lab import LabHost, wait_until

NewGuest = Callable[[], DomainRequest]


def test_create_look_list_destroy(
    connection: HostConnection, new_guest: NewGuest, recorder: Recorder
) -> None:
    request = new_guest()
    assert connection.look(request.id) is None
    seen = connection.create(build_domain_xml(request))
    assert seen.uuid == request.id
    assert seen.state == "running"
    assert (seen.installation, seen.revision) == (INSTALLATION, "1")
    assert seen.vnc_port is not None
    assert seen.vnc_port >= 5900
    assert seen.disks == (request.disks[0].path,)
    assert connection.look(request.id) == seen
    assert seen in connection.list_domains()
    connection.destroy(request.id)
    assert connection.look(request.id) is None
    wait_until(lambda: ("stopped", "destroyed") in recorder.of(request.id), 10)
    assert ("started", "booted") in recorder.of(request.id)


def test_uefi_keeps_its_variables_with_the_disk(
    connection: HostConnection, new_guest: NewGuest, disks: DiskHost
) -> None:
    request = new_guest()
    request = replace(request, spec={"memory_mib": 64, "firmware": "uefi"})
    path = Path(request.disks[0].path)
    assert connection.create(build_domain_xml(request)).state == "running"
    assert (path.parent / "nvram.fd").stat().st_size > 0
    connection.destroy(request.id)
    assert disks.delete(str(path))
    assert not path.parent.exists()


def test_a_second_create_finds_it_running(connection: HostConnection, new_guest: NewGuest) -> None:
    request = new_guest()
    first = connection.create(build_domain_xml(request))
    again = connection.create(build_domain_xml(replace(request, console_password="Other123")))
    assert again == first


def test_the_guest_obeys_the_power_button(
    connection: HostConnection, new_guest: NewGuest, recorder: Recorder
) -> None:
    request = new_guest()
    connection.create(build_domain_xml(request))

    def is_gone() -> bool:
        # Pressed before the guest listens, the button is overlooked; so it is pressed again.
        connection.shutdown(request.id)
        return connection.look(request.id) is None

    wait_until(is_gone, 60, every_s=0.5)
    wait_until(lambda: ("stopped", "shutdown") in recorder.of(request.id), 10)


def test_suspend_and_resume_are_done_once_however_often_asked(
    connection: HostConnection, new_guest: NewGuest, recorder: Recorder
) -> None:
    request = new_guest()
    connection.create(build_domain_xml(request))
    for _ in range(2):
        connection.suspend(request.id)
        seen = connection.look(request.id)
        assert seen is not None
        assert seen.state == "paused"
    for _ in range(2):
        connection.resume(request.id)
        seen = connection.look(request.id)
        assert seen is not None
        assert seen.state == "running"
    wait_until(lambda: ("resumed", "unpaused") in recorder.of(request.id), 10)
    assert recorder.of(request.id).count(("suspended", "paused")) == 1


def test_what_does_not_run_is_no_error(connection: HostConnection) -> None:
    nobody = "00000000-0000-4000-8000-000000000009"
    for act in (
        connection.shutdown,
        connection.destroy,
        connection.suspend,
        connection.resume,
    ):
        act(nobody)
    connection.set_console_password(nobody, "abc")
    with pytest.raises(Transient, match="no screen") as raised:
        connection.screenshot(nobody)
    assert raised.value.reason == "NotRunning"


def test_the_screen_is_a_png_and_shows_the_guest(
    connection: HostConnection, new_guest: NewGuest
) -> None:
    request = new_guest()
    connection.create(build_domain_xml(request))
    # The firmware's screen is grey on black; the guest paints a rainbow.
    wait_until(lambda: count_colours(connection.screenshot(request.id)) > 20, 60, every_s=0.2)
    assert connection.screenshot(request.id).startswith(PNG_SIGNATURE)


def count_colours(png: bytes) -> int:
    with Image.open(io.BytesIO(png)) as picture:
        return len(picture.convert("RGB").getcolors(maxcolors=1 << 24) or [])


def test_the_console_wants_its_password_and_takes_a_new_one(
    connection: HostConnection, new_guest: NewGuest, shared_host: LabHost
) -> None:
    request = new_guest()
    seen = connection.create(build_domain_xml(request))
    assert seen.vnc_port is not None
    assert not opens(shared_host, seen.vnc_port, "")
    assert opens(shared_host, seen.vnc_port, "Secret12")
    connection.set_console_password(request.id, "Fresh345")
    assert not opens(shared_host, seen.vnc_port, "Secret12")
    assert opens(shared_host, seen.vnc_port, "Fresh345")
    past = datetime.now(UTC) - timedelta(seconds=5)
    connection.set_console_password(request.id, "Late6789", past)
    assert not opens(shared_host, seen.vnc_port, "Late6789")
    connection.set_console_password(request.id, "Back0123")
    assert opens(shared_host, seen.vnc_port, "Back0123")
    with pytest.raises(Transient, match="password"):
        connection.set_console_password(request.id, "longer-than-eight")


def test_stats_have_every_guest_and_the_host(
    connection: HostConnection, new_guest: NewGuest
) -> None:
    request = new_guest()
    connection.create(build_domain_xml(request))
    wait_until(lambda: (connection.stats().domains[request.id].disk_read_bytes or 0) > 0, 20)
    stats = connection.stats()
    guest = stats.domains[request.id]
    assert stats.memory_total_mib > stats.memory_available_mib > 0
    assert stats.cpu_busy_ns > 0
    assert (guest.cpu_ns or 0) > 0
    assert guest.memory_mib == 16
    assert (guest.resident_mib or 0) > 0
    assert connection.stats(with_disks=False).domains[request.id].disk_read_bytes is None


def test_info_says_what_the_host_offers(connection: HostConnection) -> None:
    info = connection.info()
    assert info["hostname"]
    assert info["cpus"] >= 1
    assert info["memory_mib"] > 256
    assert int(info["libvirt_version"].split(".")[0]) >= 6
    assert int(info["qemu_version"].split(".")[0]) >= 4
    assert "vnc" in info["graphics"]
    assert "virtio" in info["videos"]
    assert "bios" in info["firmwares"]
    assert info["emulator"].startswith("/")
    assert info["vcpus_max"] >= 1


def test_somebody_elses_domain_is_seen_and_not_touched(
    connection: HostConnection, new_guest: NewGuest
) -> None:
    request = replace(new_guest(), installation="somebody-else")
    theirs = build_domain_xml(request)
    connection.create(theirs)
    try:
        seen = connection.look(request.id)
        assert seen is not None
        assert seen.installation == "somebody-else"
        for act in (connection.destroy, connection.shutdown, connection.suspend):
            with pytest.raises(Terminal, match="not this installation's"):
                act(request.id)
        with pytest.raises(Terminal, match="not this installation's"):
            connection.create(build_domain_xml(replace(request, installation=INSTALLATION)))
        still = connection.look(request.id)
        assert still is not None
        assert still.state == "running"
    finally:
        destroy_as(connection, request.id)


def destroy_as(connection: HostConnection, id: str) -> None:
    """With the rights of its owner."""
    owner = HostConnection(
        connection.address,
        connection._settings,
        lambda _event: None,
        lambda _why: None,
        installation="somebody-else",
    )
    owner.open()
    owner.destroy(id)
    owner.close()


def test_a_missing_disk_is_said_as_such(
    connection: HostConnection, new_guest: NewGuest, shared_host: LabHost
) -> None:
    request = new_guest()
    shared_host.exec(["rm", request.disks[0].path])
    with pytest.raises(Terminal, match="is not there") as raised:
        connection.create(build_domain_xml(request))
    assert raised.value.reason == "DiskMissing"
    assert request.disks[0].path in raised.value.answer


def test_a_disk_that_qemu_may_not_open_is_said_as_such(
    connection: HostConnection, new_guest: NewGuest
) -> None:
    request = new_guest()
    Path(request.disks[0].path).parent.chmod(0o700)
    with pytest.raises(Terminal, match="may not open") as raised:
        connection.create(build_domain_xml(request))
    assert raised.value.reason == "StartFailed"
    assert "Permission denied" in raised.value.answer


def test_a_disk_in_use_is_said_as_such(connection: HostConnection, new_guest: NewGuest) -> None:
    first, second = new_guest(), new_guest()
    connection.create(build_domain_xml(first))
    with pytest.raises(Transient, match="in use") as raised:
        connection.create(build_domain_xml(replace(second, disks=first.disks)))
    assert raised.value.reason == "InUse"


def test_impossible_hardware_waits_for_another_wish(
    connection: HostConnection, new_guest: NewGuest
) -> None:
    request = new_guest()
    request = replace(request, spec={**request.spec, "vcpus": 5000})
    with pytest.raises(Terminal, match="hardware") as raised:
        connection.create(build_domain_xml(request))
    assert raised.value.reason == "StartFailed"
    assert raised.value.answer


def test_a_crashed_guest_is_told_from_a_stopped_one(
    connection: HostConnection, new_guest: NewGuest, recorder: Recorder, shared_host: LabHost
) -> None:
    request = new_guest()
    connection.create(build_domain_xml(request))
    shared_host.exec(["pkill", "-KILL", "-f", f"guest={request.id}"])
    wait_until(lambda: ("stopped", "failed") in recorder.of(request.id), 10)
    assert connection.look(request.id) is None


def test_a_viewer_coming_and_going_is_an_event(
    connection: HostConnection, new_guest: NewGuest, recorder: Recorder, shared_host: LabHost
) -> None:
    request = new_guest()
    seen = connection.create(build_domain_xml(request))
    assert seen.vnc_port is not None
    assert opens(shared_host, seen.vnc_port, "Secret12")
    for kind in ("viewer_connected", "viewer_disconnected"):
        wait_until(lambda kind=kind: (kind, "") in recorder.of(request.id), 10)


def test_after_closing_every_call_says_so(connection: HostConnection, recorder: Recorder) -> None:
    assert connection.alive
    connection.close()
    connection.close()
    assert not connection.alive
    with pytest.raises(HostLost, match="not connected"):
        connection.list_domains()
    assert recorder.closings == []
    connection.open()
    assert connection.alive
    connection.list_domains()


def test_nothing_is_left_of_closed_connections(connection: HostConnection) -> None:
    folder = connection._settings.ssh_state / connection.address.id
    for _ in range(3):
        connection.close()
        connection.open()
    assert len(list(folder.glob("ssh-*"))) == 2  # the one in use, and its process id
    connection.close()
    wait_until(
        lambda: {file.name for file in folder.iterdir()} == {"ssh", "known_hosts", "key"}, 10
    )


@pytest.mark.parametrize("case", CASES)
def test_libvirt_understands_every_xml_of_ours(case: str, shared_host: LabHost) -> None:
    """Turned into QEMU's command line by libvirt itself, without starting it."""
    request = CASES[case]
    handle = libvirt.open(shared_host.libvirt_uri)
    try:
        xml = build_domain_xml(replace(request, accelerator="qemu", cpu_mode=None))
        command = handle.domainXMLToNative("qemu-argv", xml, 0)
    finally:
        handle.close()
    assert f"guest={request.id}" in command
    assert "q35" in command


def opens(host: LabHost, port: int, password: str) -> bool:
    """Whether the console at this port of the host's loopback lets us in with this password."""
    # By its text: the host may not see where these tests lie.
    program = Path(rfb.__file__).read_text()
    asked = host.exec([sys.executable, "-", str(port), password], input=program)
    return asked.stdout == "in"
