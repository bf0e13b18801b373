"""The marker of a storage: made once, and what does not carry the right one is not touched."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from engine.errors import WrongStorage
from engine.hypervisor.ssh import SshSession
from engine.storage.disks import DiskHost
from tests.engine.storage.places import LOCKS, files_in, names_in, new_path
from tests.lab import LabHost


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
