"""Small files of large contents, and several that write at once: they fill no storage."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest

from db.urls import read_url
from engine.errors import Terminal, Transient
from engine.hypervisor.ssh import SshSession
from engine.settings import EngineSettings
from engine.storage import curl
from engine.storage.disks import DiskHost
from engine.storage.downloads import MediaHost, Source
from engine.storage.imports import ImportWork
from engine.storage.media_paths import place_media
from tests.engine.file_server import FileServer
from tests.engine.hosts import INSTALLATION
from tests.lab import LabHost

MIB = 1024**2


def pack(folder: Path, size: int, *options: str) -> Path:
    """An archive with a disk of that size, of which only the beginning is written."""
    folder.mkdir(parents=True)
    disk, archive = folder / "disk.vmdk", folder / "machine.ova"
    create = ["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run([*create, str(disk), "1M"], check=True)
    with disk.open("r+b") as file:
        file.truncate(size)
    tar = ["tar", *options, "-cf", str(archive), "-C", str(folder), disk.name]
    subprocess.run(tar, check=True)
    return archive


def test_a_member_that_is_mostly_holes_is_cut_and_refused(
    ssh: SshSession, pool: str, settings: EngineSettings
) -> None:
    work = ImportWork(ssh, INSTALLATION)
    archive = pack(settings.images, 200 * MIB, "--sparse")
    need = archive.stat().st_size + MIB
    assert need < 2 * MIB
    path = Path(f"{pool}/{uuid.uuid4()}/disk0.qcow2")
    with pytest.raises(Terminal, match="larger than the whole archive") as raised:
        work.unpack(str(archive), "disk.vmdk", str(path), need)
    assert raised.value.reason == "NotAnImage"
    assert list(path.parent.iterdir()) == []


def test_an_archive_that_is_cut_short_is_not_taken_for_whole(
    ssh: SshSession, pool: str, settings: EngineSettings
) -> None:
    work = ImportWork(ssh, INSTALLATION)
    archive = pack(settings.images, 2 * MIB)
    path = Path(f"{pool}/{uuid.uuid4()}/disk0.qcow2")
    assert work.unpack(str(archive), "disk.vmdk", str(path), 4 * MIB).size == 2 * MIB
    with archive.open("r+b") as file:
        file.truncate(MIB)
    with pytest.raises(Transient, match="failed"):
        work.unpack(str(archive), "disk.vmdk", str(path), 4 * MIB)
    assert list(path.parent.iterdir()) == []


def test_a_download_ends_where_others_took_the_room(
    ssh: SshSession, disks: DiskHost, shared_host: LabHost
) -> None:
    """Its own limit was reckoned while there was room."""
    pool = shared_host.storage_root / f"small-{uuid.uuid4().hex[:8]}"
    pool.mkdir()
    shared_host.exec(["mount", "-t", "tmpfs", "-o", "size=100M", "tmpfs", str(pool)])
    try:
        disks.ensure_marker(str(pool), "default", None)
        place = place_media(str(pool), str(uuid.uuid4()))
        with FileServer() as server:
            url = server.url("/x.iso", content=bytes(4 * MIB), bytes_s=MIB)
            source = Source(curl.Request(read_url(url), ["127.0.0.1"]), 4 * MIB, "tag")
            with pytest.raises(Terminal, match="larger than what is free") as raised:
                MediaHost(ssh, INSTALLATION).fetch(
                    place, source, limit=2**40, on_bytes=lambda size: None
                )
        assert raised.value.reason == "NoSpace"
        assert shared_host.exec(["find", str(pool), "-name", "*.part"]).stdout == ""
    finally:
        shared_host.exec(["umount", str(pool)])
