"""Work on disks that is cancelled, killed or without room: the disk is as it was or as it should
be, and nothing is left over.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from db.connection import r
from tests.engine.orders import (
    are_same,
    cancel,
    copy,
    info,
    is_sound,
    order,
    seen,
    wait_state,
    write,
)
from tests.engine.world import World

MIB = 1024**2
SEEDS = [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 8))]
"""Moments of a kill: two for every change, more in the long run."""
LARGE_MIB = 96
"""Of noise, which takes seconds to compress."""


class Storage:
    """A second path for desktops on the same filesystem (near) and one on a small one (far), which
    only the host sees.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.home = world.folder / "storage" / "groups"
        self.near, self.far = world.folder / "storage" / "near", world.folder / "storage" / "far"
        for path in (self.near, self.far):
            path.mkdir()
        world.host.exec(["mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", str(self.far)])
        paths = [
            {"path": str(self.home)},
            *({"path": str(p), "weight": 0} for p in (self.near, self.far)),
        ]
        world.database.run(
            r.table("hypervisors_pools").get("default").update({"paths": {"groups": paths}})
        )
        world.wait_online("h1")

    @contextmanager
    def small(self) -> Iterator[None]:
        """There is hardly any room on the far path meanwhile."""
        self._limit("40m")
        try:
            yield
        finally:
            self._limit("4g")

    def _limit(self, size: str) -> None:
        self.world.host.exec(["mount", "-o", f"remount,size={size}", str(self.far)])

    def far_files(self, domain: str) -> list[str]:
        found = self.world.host.exec(["find", str(self.far / domain), "-type", "f"], check=False)
        return sorted(Path(name).name for name in found.stdout.split())


@pytest.fixture(scope="module")
def storage(shared_world: World) -> Storage:
    return Storage(shared_world)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("noise") / "noise"
    path.write_bytes(os.urandom(LARGE_MIB * MIB))
    return path


def small_desktop(world: World) -> str:
    spec = {"vcpus": 1, "memory_mib": 16, "disks": [{"size_gib": 1 / 8}]}
    desktop = world.add_desktop(world.template, spec=spec)
    write(world.disk_of(desktop), "write -P 7 1M 2M")
    return desktop


@pytest.fixture
def large(shared_world: World, noise: Path) -> Iterator[str]:
    """A desktop with much to copy."""
    desktop = small_desktop(shared_world)
    write(shared_world.disk_of(desktop), f"write -s {noise} 4M {LARGE_MIB}M")
    yield desktop
    shared_world.wish(desktop, "deleted")
    shared_world.wait_gone(desktop)
    assert [path for path in shared_world.disk_files() if desktop in path.parts] == []


def names_beside(disk: Path) -> list[str]:
    return sorted(path.name for path in disk.parent.iterdir())


def commands_on(world: World, domain: str) -> str:
    return world.host.exec(["pgrep", "-af", f"qemu-img.*{domain}"], check=False).stdout


def test_a_task_cancelled_in_the_middle_leaves_the_disk_alone(
    shared_world: World, large: str
) -> None:
    disk = shared_world.disk_of(large)
    before = disk.stat()
    task = order(shared_world, "convert", large, compress=True)
    shared_world.wait_until(
        lambda: (seen(shared_world, task).get("progress") or {}).get("percent", 0) > 1, "progress"
    )
    progress = seen(shared_world, task)["progress"]
    assert {"percent", "eta_s", "bytes", "total_bytes", "speed_bytes_s"} <= set(progress)
    # Meanwhile it is not started, and says why.
    shared_world.wish(large, "started")
    shared_world.wait_until(
        lambda: shared_world.observed(large).get("reason") == "WorkedOn", "the start waits"
    )
    assert "convert" in shared_world.observed(large)["message"]
    cancel(shared_world, task)
    wait_state(shared_world, task, "cancelled")
    assert names_beside(disk) == ["disk0.qcow2"]
    shared_world.wait_until(lambda: not commands_on(shared_world, large), "its command ended")
    assert disk.stat().st_ino == before.st_ino
    shared_world.wait_for(large, "started")
    shared_world.wish(large, "stopped", force=True)
    shared_world.wait_for(large, "stopped")
    # A deletion waits just the same, until the task is cancelled.
    task = order(shared_world, "convert", large, compress=True)
    wait_state(shared_world, task, "running")
    shared_world.wish(large, "deleted")
    shared_world.wait_until(
        lambda: shared_world.observed(large).get("reason") == "WorkedOn", "the deletion waits"
    )
    assert disk.exists()
    shared_world.database.run(r.table("tasks").get(task).delete())


def test_a_disk_moves_to_another_filesystem_and_back(
    shared_world: World, storage: Storage, tmp_path: Path
) -> None:
    desktop = small_desktop(shared_world)
    disk = shared_world.disk_of(desktop)
    before = str(copy(disk, tmp_path / "before"))
    (disk.parent / "nvram.fd").write_bytes(b"variables")
    wait_state(shared_world, order(shared_world, "move", desktop, path=str(storage.far)), "done")
    assert storage.far_files(desktop) == ["disk0.qcow2", "nvram.fd"]
    assert not disk.parent.exists()
    moved = str(storage.far / desktop / "disk0.qcow2")
    shared_world.host.exec(["qemu-img", "compare", moved, before])
    shared_world.wait_until(
        lambda: str(storage.far) in str(shared_world.disk_of(desktop)), "the new path shown"
    )
    shared_world.wish(desktop, "started")
    shared_world.wait_for(desktop, "started")
    shared_world.wish(desktop, "stopped", force=True)
    shared_world.wait_for(desktop, "stopped")
    wait_state(shared_world, order(shared_world, "move", desktop, path=str(storage.home)), "done")
    assert is_sound(disk)
    assert names_beside(disk) == ["disk0.qcow2", "nvram.fd"]
    assert storage.far_files(desktop) == []


def test_on_one_filesystem_nothing_is_copied(shared_world: World, storage: Storage) -> None:
    desktop = small_desktop(shared_world)
    disk = shared_world.disk_of(desktop)
    inode = disk.stat().st_ino
    wait_state(shared_world, order(shared_world, "move", desktop, path=str(storage.near)), "done")
    moved = storage.near / desktop / "disk0.qcow2"
    assert moved.stat().st_ino == inode
    assert moved.stat().st_nlink == 1
    assert not disk.parent.exists()


def test_between_two_mounts_of_one_filesystem_it_is_copied(
    shared_world: World, storage: Storage
) -> None:
    """One device, and yet no second name can be given from one into the other."""
    desktop = small_desktop(shared_world)
    disk = shared_world.disk_of(desktop)
    inode = disk.stat().st_ino
    shared_world.host.exec(["mount", "--bind", str(storage.near), str(storage.near)])
    try:
        task = order(shared_world, "move", desktop, path=str(storage.near))
        wait_state(shared_world, task, "done")
    finally:
        shared_world.host.exec(["umount", str(storage.near)])
    moved = storage.near / desktop / "disk0.qcow2"
    assert moved.stat().st_ino != inode
    assert names_beside(moved) == ["disk0.qcow2"]
    assert is_sound(moved)
    assert not disk.parent.exists()


def test_without_room_nothing_is_begun(shared_world: World, storage: Storage, large: str) -> None:
    with storage.small():
        task = order(shared_world, "move", large, path=str(storage.far))
        failed = wait_state(shared_world, task, "failed")
    assert failed["reason"] == "NoSpace"
    assert "are free" in failed["message"]
    assert storage.far_files(large) == []
    record = shared_world.database.run(r.table("disks").get(f"{large}/disk0"))
    assert record["path"] == str(shared_world.disk_of(large))
    assert "moving" not in record


def test_a_storage_that_fills_up_meanwhile_changes_nothing(
    shared_world: World, storage: Storage
) -> None:
    """The copy says that it fits, and then somebody else takes the room."""
    desktop = small_desktop(shared_world)
    disk = shared_world.disk_of(desktop)
    before = disk.read_bytes()
    limit = 'while [ ! -e "$1" ]; do :; done; mount -o remount,size=3m "$2"'
    argv = ["sh", "-c", limit, "x", str(storage.far / desktop), str(storage.far)]
    task = order(shared_world, "move", desktop, path=str(storage.far))
    shared_world.host.exec(argv, check=False)
    ended = wait_state(shared_world, task, "failed", "done")
    shared_world.host.exec(["mount", "-o", "remount,size=4g", str(storage.far)])
    if ended["state"] == "failed":  # else it was faster than the limit
        assert disk.read_bytes() == before
        assert storage.far_files(desktop) == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["convert", "move", "flatten"])
def test_killed_anywhere_it_is_done_in_the_end(
    shared_world: World, storage: Storage, tmp_path: Path, kind: str, seed: int
) -> None:
    """kill -9 of the engine: the next one undoes or finishes what was begun, and does the rest."""
    world = shared_world
    desktop = small_desktop(world)
    disk = world.disk_of(desktop)
    before = copy(disk, tmp_path / "before")
    args = {"convert": {"compress": True}, "move": {"path": str(storage.far)}, "flatten": {}}[kind]
    task = order(world, kind, desktop, **args)
    time.sleep(random.Random(f"{kind}{seed}").uniform(0, 0.5))  # any moment will do
    world.engine.kill()
    world.restart_engine()
    wait_state(world, task, "done")
    record = world.database.run(r.table("disks").get(f"{desktop}/disk0"))
    assert not {"replacing", "moving", "moved_from"} & set(record)
    if kind == "move":
        assert storage.far_files(desktop) == ["disk0.qcow2"]
        assert not disk.parent.exists()
        path = str(storage.far / desktop / "disk0.qcow2")
        world.host.exec(["qemu-img", "compare", path, str(before)])
    else:
        assert names_beside(disk) == ["disk0.qcow2"]
        assert are_same(disk, before)
        assert ("backing-filename" in info(disk)) is (kind == "convert")
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)


def test_killed_in_the_middle_of_a_long_copy(shared_world: World, large: str) -> None:
    """The desktop waits in the eyes of the next engine too; cancelled, nothing is left."""
    world = shared_world
    disk = world.disk_of(large)
    inode = disk.stat().st_ino
    task = order(world, "convert", large, compress=True)
    world.wait_until(lambda: len(names_beside(disk)) == 2, "a copy is made")
    world.engine.kill()
    world.wish(large, "started")
    cancel(world, task)
    world.restart_engine()
    wait_state(world, task, "cancelled")
    assert names_beside(disk) == ["disk0.qcow2"]
    assert disk.stat().st_ino == inode
    world.wait_until(lambda: not commands_on(world, large), "its command ended")
    world.wait_for(large, "started")
