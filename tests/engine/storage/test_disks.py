"""Disk files on a real disk host: made once, never over another, only on the right storage, removed
whole.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.domain_xml.builder import DomainRequest, build_domain_xml
from engine.errors import Terminal, Transient, WrongStorage
from engine.hypervisor.connection import HostConnection
from engine.hypervisor.ssh import SshSession
from engine.settings import EngineSettings
from engine.storage.disks import DiskHost
from engine.storage.qemu_img import GIB
from tests.engine.hosts import INSTALLATION
from tests.lab import LabHost, wait_until

LOCKS = ".isard-locks"


def names_in(folder: str | Path) -> list[str]:
    return [entry.name for entry in Path(folder).iterdir()]


def new_path(pool: str, disk: str = "disk0") -> str:
    return f"{pool}/{uuid.uuid4()}/{disk}.qcow2"


def files_in(pool: str) -> set[str]:
    """Everything in the pool but the engine's own marker and lock folder."""
    found = {str(path.relative_to(pool)) for path in Path(pool).rglob("*")}
    return found - {".isard-storage.json", LOCKS, f"{LOCKS}/{INSTALLATION}"}


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


def test_an_image_is_copied_with_progress(
    disks: DiskHost, pool: str, settings: EngineSettings
) -> None:
    settings.images.mkdir(parents=True)
    image = settings.images / "a 'plain' image.raw"
    image.write_bytes(os.urandom(8 * 1024 * 1024))
    percents: list[float] = []
    path = new_path(pool)
    facts = disks.create_from_image(path, str(image), size_gib=1, on_progress=percents.append)
    assert facts.virtual_size == GIB
    assert percents[-1] == 100.0
    assert percents == sorted(percents)
    assert disks.create_from_image(path, str(image), size_gib=1) == facts


def test_images_that_would_bring_in_other_files_are_refused(
    disks: DiskHost, pool: str, settings: EngineSettings, shared_host: LabHost
) -> None:
    settings.images.mkdir(parents=True)
    before = files_in(pool)
    backed = settings.images / "backed.qcow2"
    shared_host.exec(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", str(backed)]
    )
    with pytest.raises(Terminal, match="based on another file"):
        disks.create_from_image(new_path(pool), str(backed))
    link = settings.images / "link.raw"
    link.symlink_to("/etc/shadow")
    for outside in (
        "/etc/shadow",
        f"{settings.images}/../../etc/shadow",
        str(link),
        f"{settings.images}-other/x",
        "relative",
        str(settings.images),
    ):
        with pytest.raises(Terminal, match="not in a folder"):
            disks.create_from_image(new_path(pool), outside)
    with pytest.raises(Terminal, match="There is no image") as raised:
        disks.create_from_image(new_path(pool), f"{settings.images}/nothing.qcow2")
    assert raised.value.reason == "DiskMissing"
    with pytest.raises(Terminal, match="There is no image"):
        disks.create_from_image(new_path(pool), "/nowhere/x.qcow2", roots=["/nowhere"])
    large = settings.images / "large.qcow2"
    shared_host.exec(["qemu-img", "create", "-q", "-f", "qcow2", str(large), "3G"])
    with pytest.raises(Terminal, match="cannot hold it"):
        disks.create_from_image(new_path(pool), str(large), size_gib=2)
    assert files_in(pool) == before


def test_a_raw_image_that_describes_other_files_opens_none(
    disks: DiskHost, pool: str, settings: EngineSettings, shared_host: LabHost
) -> None:
    """To qemu-img alone it would be a VMDK whose content is the file it names."""
    settings.images.mkdir(parents=True)
    secret = settings.images.parent / "secret"
    secret.write_bytes(b"secret".ljust(65536))
    image = settings.images / "upload.img"
    lines = [
        "# x",
        "version=1",
        "CID=fffffffe",
        "parentCID=ffffffff",
        'createType="monolithicFlat"',
    ]
    lines.append(f'RW {65536 // 512} FLAT "../secret" 0')
    image.write_bytes("\n".join(lines).encode().ljust(512, b"\n"))
    guessed = shared_host.exec(["qemu-img", "info", str(image)]).stdout
    assert "file format: vmdk" in guessed
    path = new_path(pool)
    facts = disks.create_from_image(path, str(image))
    assert facts.virtual_size == 512
    copied = settings.images / "copied"
    shared_host.exec(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, str(copied)])
    assert copied.read_bytes() == image.read_bytes()


def test_an_image_that_needs_a_stranger_to_open_it_is_refused(
    disks: DiskHost, pool: str, settings: EngineSettings, shared_host: LabHost
) -> None:
    settings.images.mkdir(parents=True)
    image = settings.images / "machine.vmdk"
    shared_host.exec(["qemu-img", "create", "-q", "-f", "vmdk", str(image), "1M"])
    with pytest.raises(Terminal, match="convert it to qcow2 first"):
        disks.create_from_image(new_path(pool), str(image))


def test_a_packed_image_that_would_fill_the_storage_is_not_begun(
    disks: DiskHost, settings: EngineSettings, shared_host: LabHost
) -> None:
    settings.images.mkdir(parents=True)
    plain, image = settings.images / "plain.raw", settings.images / "packed.qcow2"
    plain.write_bytes(b"\1" * (64 * 1024 * 1024))
    packing = ["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", str(plain), str(image)]
    shared_host.exec(packing)
    assert image.stat().st_size < 2 * 1024 * 1024
    small = shared_host.storage_root / f"small-{uuid.uuid4().hex[:8]}"
    small.mkdir()
    # Room for the disk itself, and not for what has to be left.
    shared_host.exec(["mount", "-t", "tmpfs", "-o", "size=72M", "tmpfs", str(small)])
    try:
        disks.ensure_marker(str(small), "default", None)
        with pytest.raises(Transient, match="no free space for it") as raised:
            disks.create_from_image(new_path(str(small)), str(image))
        assert raised.value.reason == "NoSpace"
        assert disks.list_disks(str(small)) == []
    finally:
        shared_host.exec(["umount", str(small)])


def test_a_media_folder_of_the_pool_is_a_source_too(
    disks: DiskHost, pool: str, shared_host: LabHost
) -> None:
    media = shared_host.storage_root / "media"
    image = media / f"{uuid.uuid4()}.raw"
    image.write_bytes(bytes(65536))
    facts = disks.create_from_image(new_path(pool), str(image), roots=[str(media)])
    assert facts.virtual_size == 65536


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


def test_marker_of_a_new_path(disks: DiskHost, shared_host: LabHost) -> None:
    path = str(shared_host.storage_root / f"new {uuid.uuid4().hex}" / "deep")
    with pytest.raises(WrongStorage, match="not mounted"):
        disks.check_marker(path, "default", None)
    assert not Path(path).exists()
    path_id = disks.ensure_marker(path, "default", None)
    assert disks.ensure_marker(path, "default", None) == path_id
    assert disks.ensure_marker(path, "other-pool", path_id) == path_id
    disks.check_marker(path, "default", path_id)
    assert set(names_in(path)) == {".isard-storage.json", LOCKS}


def test_a_recorded_marker_is_never_made_anew(disks: DiskHost, pool: str, tiny_base: str) -> None:
    """The storage is not mounted: below its place there is an empty folder."""
    path_id = disks.ensure_marker(pool, "default", None)
    hidden = Path(pool + "-hidden")
    Path(pool).rename(hidden)
    for lost in (False, True):
        if lost:
            Path(pool).mkdir()
        with pytest.raises(WrongStorage, match="not mounted"):
            disks.ensure_marker(pool, "default", path_id)
        for act in (
            lambda: disks.look(tiny_base),
            lambda: disks.create_overlay(new_path(pool), tiny_base),
            lambda: disks.delete(tiny_base),
            lambda: disks.list_disks(pool),
        ):
            with pytest.raises(WrongStorage, match="not mounted"):
                act()
    assert names_in(pool) == []
    Path(pool).rmdir()
    hidden.rename(pool)
    assert disks.look(tiny_base) is not None


def test_another_storage_of_ours_at_the_place_is_noticed(disks: DiskHost, pool: str) -> None:
    with pytest.raises(WrongStorage, match="another storage"):
        disks.ensure_marker(pool, "default", str(uuid.uuid4()))


def test_another_installations_storage_is_not_touched(
    disks: DiskHost, pool: str, tiny_base: str, ssh: SshSession
) -> None:
    stranger = DiskHost(ssh, "99999999-0000-4000-8000-000000000000")
    before = files_in(pool)
    for act in (
        lambda: stranger.ensure_marker(pool, "default", None),
        lambda: stranger.look(tiny_base),
        lambda: stranger.create_overlay(new_path(pool), tiny_base),
        lambda: stranger.delete(tiny_base),
    ):
        with pytest.raises(WrongStorage, match="another installation"):
            act()
    assert files_in(pool) == before


def test_disks_without_a_marker_are_not_taken_over(
    disks: DiskHost, pool: str, tiny_base: str
) -> None:
    marker = Path(pool) / ".isard-storage.json"
    kept = marker.read_text()
    marker.unlink()
    with pytest.raises(WrongStorage, match="holds disks but no marker") as raised:
        disks.ensure_marker(pool, "default", None)
    assert Path(tiny_base).name in raised.value.answer
    assert not marker.exists()
    marker.write_text("nonsense")
    with pytest.raises(WrongStorage, match="cannot be read"):
        disks.ensure_marker(pool, "default", None)
    marker.write_text(kept)
    disks.ensure_marker(pool, "default", None)


def test_a_folder_of_locks_that_went_is_made_again(
    disks: DiskHost, pool: str, tiny_base: str
) -> None:
    shutil.rmtree(Path(pool) / LOCKS)
    path = new_path(pool)
    with pytest.raises(WrongStorage, match="locks"):
        disks.create_overlay(path, tiny_base)
    disks.ensure_marker(pool, "default", None)
    assert disks.create_overlay(path, tiny_base).backing == tiny_base


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


def test_no_free_space_is_said_as_such_and_leaves_nothing(
    disks: DiskHost, shared_host: LabHost, settings: EngineSettings
) -> None:
    settings.images.mkdir(parents=True)
    image = settings.images / "filling.raw"
    image.write_bytes(os.urandom(6 * 1024 * 1024))
    small = shared_host.storage_root / f"small-{uuid.uuid4().hex[:8]}"
    small.mkdir()
    shared_host.exec(["mount", "-t", "tmpfs", "-o", "size=3M", "tmpfs", str(small)])
    try:
        disks.ensure_marker(str(small), "default", None)
        with pytest.raises(Transient, match="no free space") as raised:
            disks.create_from_image(new_path(str(small)), str(image))
        assert raised.value.retry_after_s
        assert disks.list_disks(str(small)) == []
        left = shared_host.exec(["find", str(small), "-name", "*.part"]).stdout
        assert left == ""
    finally:
        shared_host.exec(["umount", str(small)])


def test_a_copy_that_is_called_off_leaves_its_place_free(
    disks: DiskHost, pool: str, settings: EngineSettings, shared_host: LabHost
) -> None:
    """Its time is over in the middle: ended on the host, cleaned up by the next one."""
    settings.images.mkdir(parents=True)
    image = settings.images / "long.raw"
    with image.open("wb") as file:
        for _ in range(16):
            file.write(os.urandom(16 * 1024 * 1024))
    hurried = SshSession(disks._ssh.address, replace(settings, convert_timeout_s=0.05))
    path = Path(new_path(pool))
    with pytest.raises(Transient, match="was ended after"):
        DiskHost(hurried, disks._installation).create_from_image(str(path), str(image))
    hurried.close()
    assert disks.look(str(path)) is None
    wait_until(lambda: not shared_host.exec(["pgrep", "-x", "qemu-img"], check=False).stdout, 20)
    assert disks.create_from_image(str(path), str(image)).backing is None
    assert names_in(path.parent) == ["disk0.qcow2"]
