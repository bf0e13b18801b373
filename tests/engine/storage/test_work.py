"""Copies of disks on a real host: made beside, put in place at once, never over what changed."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.errors import CalledOff, Terminal
from engine.hypervisor.ssh import SshSession
from engine.storage.qemu_img import Rewrite
from engine.storage.work import DiskWork, Watch
from tests.engine.hosts import INSTALLATION
from tests.engine.orders import are_same, info, write
from tests.lab import wait_until

ODD = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["/etc/shadow", "../x.qcow2", "json:{}", "nbd:unix:/x", "-o", "/a/b.qcow2"]),
    st.builds(
        lambda pool, name: f"{pool}/{uuid.uuid4()}/{name}.qcow2",
        st.sampled_from(["", "relative", "/a//b", "/a/../etc", "/a\nb", "/$(id)", "/a;id", "/"]),
        st.sampled_from(["disk0", "$(id)", "..", "a b", "x\ny", "-f"]),
    ),
)


@pytest.fixture
def work(ssh: SshSession) -> DiskWork:
    return DiskWork(ssh, INSTALLATION)


@pytest.fixture
def disk(work: DiskWork, pool: str, tiny_base: str) -> Path:
    path = f"{pool}/{uuid.uuid4()}/disk0.qcow2"
    work.create_overlay(path, tiny_base, 1 / 16)
    write(Path(path), "write -P 7 8M 2M")
    return Path(path)


def names_beside(disk: Path) -> list[str]:
    return sorted(path.name for path in disk.parent.iterdir())


def test_a_copy_takes_the_disks_place_in_one_step(work: DiskWork, disk: Path) -> None:
    path, before = str(disk), disk.read_bytes()
    token = work.copy(path, path, Rewrite(None), 0)
    assert disk.read_bytes() == before
    assert len(names_beside(disk)) == 2
    work.require_same(path, path, token)
    facts = work.replace(path, token)
    assert facts.backing is None
    assert names_beside(disk) == ["disk0.qcow2"]
    inode = disk.stat().st_ino
    assert work.replace(path, token) == facts
    assert disk.stat().st_ino == inode


def test_a_disk_written_to_since_is_not_replaced(work: DiskWork, disk: Path) -> None:
    path = str(disk)
    token = work.copy(path, path, Rewrite(None), 0)
    write(disk, "write -P 9 1M 1M")
    before = disk.read_bytes()
    with pytest.raises(Terminal, match="written to while it was copied"):
        work.replace(path, token)
    assert disk.read_bytes() == before
    assert names_beside(disk) == ["disk0.qcow2"]


def test_a_copy_that_differs_is_noticed(work: DiskWork, disk: Path) -> None:
    path = str(disk)
    token = work.copy(path, path, Rewrite(None), 0)
    part = next(one for one in disk.parent.iterdir() if one != disk)
    write(part, "write -P 1 0 512")
    with pytest.raises(Terminal, match="not the same"):
        work.require_same(path, path, token)
    work.discard(path)
    assert names_beside(disk) == ["disk0.qcow2"]


def test_a_copy_is_published_over_nothing(work: DiskWork, disk: Path, pool: str) -> None:
    to = f"{pool}/{uuid.uuid4()}/disk0.qcow2"
    token = work.copy(str(disk), to, None, 0)
    other = work.create_empty(to, 1)
    token = work.copy(str(disk), to, None, 0)
    with pytest.raises(Terminal, match="already, and it is not touched"):
        work.publish(to, token)
    assert info(Path(to))["virtual-size"] == other.virtual_size
    work.delete(to)
    token = work.copy(str(disk), to, None, 0)
    work.publish(to, token)
    assert are_same(Path(to), disk)


def test_without_room_not_a_byte_is_written(work: DiskWork, disk: Path, pool: str) -> None:
    to = f"{pool}/{uuid.uuid4()}/disk0.qcow2"
    with pytest.raises(Terminal, match="are free") as raised:
        work.copy(str(disk), to, None, 2**60)
    assert raised.value.reason == "NoSpace"
    assert not Path(to).parent.exists()


def test_what_is_called_off_is_ended_and_cleaned_up(work: DiskWork, disk: Path) -> None:
    path = str(disk)
    with pytest.raises(CalledOff):
        work.copy(path, path, Rewrite(None), 0, Watch(is_stopped=lambda: True))

    def is_clean() -> bool:
        # Called off before it had its lock, the command may begin, and be ended, after the first.
        work.discard(path)
        return names_beside(disk) == ["disk0.qcow2"]

    wait_until(is_clean, 30)


def test_the_next_try_removes_what_one_before_left(work: DiskWork, disk: Path) -> None:
    path = str(disk)
    for _ in range(2):
        token = work.copy(path, path, Rewrite(None), 0)
    assert len(names_beside(disk)) == 2
    work.replace(path, token)
    subprocess.run(["qemu-img", "check", "-q", path], check=True)


@hypothesis_settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ODD)
def test_odd_paths_reach_no_host(work: DiskWork, disk: Path, path: str) -> None:
    """Each is refused before anything is sent."""
    before = names_beside(disk)
    with pytest.raises(Terminal):
        work.copy(path, str(disk), None, 0)
    with pytest.raises(Terminal):
        work.copy(str(disk), path, None, 0)
    with pytest.raises(Terminal):
        work.copy(str(disk), str(disk), Rewrite(path), 0)
    for method in (work.look_chain, work.discard, work.delete):
        with pytest.raises(Terminal):
            method(path)
    with pytest.raises(Terminal):
        work.resize(path, 2**40)
    assert names_beside(disk) == before
