"""Disks made of images: copied whole, from the folders of images alone, and nothing of another file
or of another format comes in with them.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import Terminal, Transient
from engine.hypervisor.ssh import SshSession
from engine.settings import EngineSettings
from engine.storage.disks import DiskHost
from engine.storage.qemu_img import GIB
from tests.engine.storage.places import files_in, names_in, new_path
from tests.lab import LabHost, wait_until


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
        assert raised.value.reason == "NoSpace"
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
