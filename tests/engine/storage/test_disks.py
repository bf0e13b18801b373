"""Disk files on a real disk host: made once, never over another, removed whole.

Disks made of images are in test_images.py, the storage they lie on in test_markers.py.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.domain_xml.builder import DomainRequest, build_domain_xml
from engine.errors import Terminal, Transient
from engine.hypervisor.connection import HostConnection
from engine.hypervisor.ssh import SshSession
from engine.settings import EngineSettings
from engine.storage.disks import DiskHost
from engine.storage.qemu_img import GIB
from tests.engine.hosts import INSTALLATION
from tests.engine.storage.places import LOCKS, files_in, names_in, new_path


def test_an_overlay_is_made_once(disks: DiskHost, pool: str, tiny_base: str) -> None:
    path = new_path(pool)
    assert disks.look(path) is None
    facts = disks.create_overlay(path, tiny_base)
    assert (facts.path, facts.backing) == (path, tiny_base)
    written = Path(path).stat()
    assert disks.create_overlay(path, tiny_base) == facts
    assert Path(path).stat().st_ino == written.st_ino
    assert disks.look(path) == facts
    assert written.st_mode & 0o077 == 0


def test_an_overlay_may_be_larger(disks: DiskHost, pool: str, tiny_base: str) -> None:
    assert disks.create_overlay(new_path(pool), tiny_base, 2).virtual_size == 2 * GIB


def test_an_empty_disk(disks: DiskHost, pool: str) -> None:
    path = new_path(pool, "data-1")
    facts = disks.create_empty(path, 0.25)
    assert (facts.backing, facts.virtual_size) == (None, GIB // 4)
    assert disks.create_empty(path, 0.25) == facts


def test_another_file_at_the_place_is_left_alone(
    disks: DiskHost, pool: str, tiny_base: str
) -> None:
    path = new_path(pool)
    disks.create_empty(path, 1)
    before = Path(path).read_bytes()
    with pytest.raises(Terminal, match=r"There is a file .* already"):
        disks.create_overlay(path, tiny_base)
    with pytest.raises(Terminal, match="already"):
        disks.create_empty(disks.create_overlay(new_path(pool), tiny_base).path, 1)
    assert Path(path).read_bytes() == before


def test_what_is_no_disk_is_left_alone(disks: DiskHost, pool: str, tiny_base: str) -> None:
    path = Path(new_path(pool))
    path.parent.mkdir()
    path.symlink_to("/etc/hostname")
    with pytest.raises((Terminal, Transient)):
        disks.create_overlay(str(path), tiny_base)
    assert path.is_symlink()
    elsewhere = Path(pool) / "elsewhere"
    elsewhere.mkdir()
    linked = Path(new_path(pool))
    linked.parent.symlink_to(elsewhere)
    with pytest.raises(Terminal, match="is a link"):
        disks.create_empty(str(linked), 1)
    with pytest.raises(Terminal, match="is a link"):
        disks.delete(str(linked))
    assert list(elsewhere.iterdir()) == []


def test_a_base_that_is_missing_is_said_as_such(disks: DiskHost, pool: str) -> None:
    path = new_path(pool)
    with pytest.raises(Terminal, match="to build upon") as raised:
        disks.create_overlay(path, new_path(pool))
    assert raised.value.reason == "DiskMissing"
    assert files_in(pool) == set()


def test_delete_removes_everything_of_the_disk(disks: DiskHost, pool: str, tiny_base: str) -> None:
    before = files_in(pool)
    path = Path(new_path(pool))
    disks.create_overlay(str(path), tiny_base)
    second = path.with_name("disk1.qcow2")
    disks.create_empty(str(second), 1)
    (path.parent / ".disk0.0123456789abcdef.part").write_bytes(b"cut short")
    assert disks.delete(str(path)) is True
    assert names_in(path.parent) == ["disk1.qcow2"]
    assert disks.delete(str(path)) is False
    assert disks.delete(str(second)) is True
    assert disks.delete(str(second)) is False
    assert files_in(pool) == before
    assert not list((Path(pool) / LOCKS / INSTALLATION).glob(f"{path.parent.name}*"))


def test_delete_leaves_what_it_does_not_know(disks: DiskHost, pool: str, tiny_base: str) -> None:
    path = Path(new_path(pool))
    disks.create_overlay(str(path), tiny_base)
    note = path.parent / "somebody's note"
    note.write_text("keep")
    assert disks.delete(str(path)) is True
    assert note.read_text() == "keep"


def test_a_disk_in_use_is_not_deleted(
    disks: DiskHost, new_guest: Callable[[], DomainRequest], connection: HostConnection
) -> None:
    request = new_guest()
    connection.create(build_domain_xml(request))
    path = request.disks[0].path
    with pytest.raises(Transient, match="in use") as raised:
        disks.delete(path)
    assert raised.value.reason == "InUse"
    facts = disks.look(path)
    assert facts is not None
    connection.destroy(request.id)
    assert disks.delete(path) is True


def test_a_base_in_use_still_takes_overlays(
    disks: DiskHost,
    new_guest: Callable[[], DomainRequest],
    connection: HostConnection,
    tiny_base: str,
    pool: str,
) -> None:
    connection.create(build_domain_xml(new_guest()))
    assert disks.create_overlay(new_path(pool), tiny_base).backing == tiny_base


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "x.qcow2",
        "{pool}/../x/disk0.qcow2",
        "{pool}/{id}/disk0.raw",
        "{pool}/{id}/.qcow2",
        "{pool}/{id}/a b.qcow2",
        "{pool}/$(id)/disk0.qcow2",
        "{pool}/{id}/x\n.qcow2",
    ],
)
def test_paths_of_another_shape_are_refused(disks: DiskHost, pool: str, path: str) -> None:
    path = path.format(pool=pool, id=uuid.uuid4())
    for act in (disks.look, disks.delete, lambda p: disks.create_empty(p, 1)):
        with pytest.raises(Terminal) as raised:
            act(path)
        assert raised.value.reason == "InvalidRow"


def test_the_same_disk_made_by_two_at_once_is_one(
    disks: DiskHost, pool: str, tiny_base: str, settings: EngineSettings
) -> None:
    path = new_path(pool)
    answers = []
    others = [SshSession(disks._ssh.address, settings) for _ in range(3)]

    def make(session: SshSession) -> None:
        host = DiskHost(session, disks._installation)
        answers.append(host.create_overlay(path, tiny_base))

    threads = [threading.Thread(target=make, args=(session,)) for session in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for session in others:
        session.close()
    assert len(answers) == 3
    assert answers[0] == answers[1] == answers[2]
    assert names_in(Path(path).parent) == ["disk0.qcow2"]


def test_all_disks_of_a_path_are_listed(disks: DiskHost, pool: str, tiny_base: str) -> None:
    path = new_path(pool)
    disks.create_overlay(path, tiny_base)
    (Path(pool) / "stray.qcow2").touch()
    (Path(pool) / "not-an-id").mkdir()
    (Path(pool) / "not-an-id" / "disk0.qcow2").touch()
    assert set(disks.list_disks(pool)) == {path, tiny_base}


def test_a_file_that_is_no_image_is_said_as_such(disks: DiskHost, pool: str) -> None:
    path = Path(new_path(pool))
    path.parent.mkdir()
    path.write_bytes(b"QFI\xfb" + bytes(20))
    with pytest.raises(Transient, match="disk operation") as raised:
        disks.look(str(path))
    assert raised.value.reason == "DiskFailed"
    assert raised.value.answer
    assert disks.delete(str(path)) is True
