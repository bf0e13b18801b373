"""Images for other programs, out of a desktop's disks: each read back, and booted again."""

from __future__ import annotations

import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from db.connection import r
from engine.storage.ova import OVF, RASD, PackedDisk, build_ovf
from tests.engine.orders import are_same, cancel, copy, order, wait_state, write
from tests.engine.test_tasks_images import boots, files_of, make_new
from tests.engine.world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as running:
        running.template = running.add_template()
        yield running


@pytest.fixture
def desktop(world: World) -> str:
    spec = {"vcpus": 1, "memory_mib": 16, "disks": [{"size_gib": 1 / 16}, {"size_gib": 1 / 32}]}
    desktop = world.add_desktop(world.template, spec=spec, name="Ana's box & more")
    write(world.disk_of(desktop), "write -P 7 8M 2M")
    return desktop


def export(world: World, target: str, **args: Any) -> tuple[str, str]:
    """(task, medium), as a script would write them."""
    task_id, medium = str(uuid.uuid4()), str(uuid.uuid4())
    row = {
        "id": medium,
        "kind": "disk",
        "name": "export",
        "user": "ana",
        "source": {"task": task_id},
        "desired": {"state": "available"},
    }
    assert world.database.run(r.table("media").insert(row))["inserted"] == 1
    order = {"id": task_id, "kind": "export", "target": target, "args": {"medium": medium, **args}}
    world.database.run(r.table("tasks").insert({**order, "desired": {"state": "done"}}))
    return task_id, medium


def observed(world: World, medium: str) -> dict[str, Any]:
    row = world.database.run(r.table("media").get(medium))
    return dict((row or {}).get("observed") or {})


def wait_medium(world: World, medium: str, state: str) -> Path:
    world.wait_until(lambda: observed(world, medium).get("state") == state, f"the medium {state}")
    return Path(observed(world, medium).get("path") or "/")


def remove(world: World, medium: str) -> None:
    wish = {"desired": {"state": "deleted", "at": r.now()}}
    world.database.run(r.table("media").get(medium).update(wish))
    world.wait_until(lambda: world.database.run(r.table("media").get(medium)) is None, "removed")
    assert files_of(world, medium) == []


@pytest.mark.parametrize(
    ("format", "extension"), [("qcow2", "qcow2"), ("raw", "img"), ("vmdk", "vmdk"), ("vdi", "vdi")]
)
def test_an_export_is_the_same_disk_in_another_format(
    world: World, desktop: str, format: str, extension: str
) -> None:
    task, medium = export(world, desktop, format=format)
    wait_state(world, task, "done")
    path = wait_medium(world, medium, "available")
    assert path.name == f"{medium}.{extension}"
    assert files_of(world, medium) == [path.name]
    argv = ["qemu-img", "compare", "-f", format, "-F", "qcow2"]
    subprocess.run([*argv, str(path), str(world.disk_of(desktop))], check=True)
    remove(world, medium)


def test_an_ova_goes_out_and_comes_in_again(world: World, desktop: str, tmp_path: Path) -> None:
    before = copy(world.disk_of(desktop), tmp_path / "before")
    task, medium = export(world, desktop, format="ova")
    wait_state(world, task, "done")
    path = wait_medium(world, medium, "available")
    assert files_of(world, medium) == [f"{medium}.ova"]
    with tarfile.open(path) as tar:
        names = tar.getnames()
        described = tar.extractfile("machine.ovf")
        assert described is not None
        envelope = ElementTree.fromstring(described.read())
    assert names == ["machine.ovf", "machine-disk1.vmdk", "machine-disk2.vmdk"]
    name = envelope.find(f"{{{OVF}}}VirtualSystem/{{{OVF}}}Name")
    assert name is not None
    assert name.text == world.row(desktop)["name"]
    hardware = observed(world, medium)["hardware"]
    assert (hardware["name"], hardware["vcpus"]) == (name.text, 1)
    assert (hardware["memory_mib"], hardware["firmware"], hardware["disks"]) == (16, "bios", 2)
    imported, new = make_new(world, "import", medium)
    wait_state(world, imported, "done")
    world.wait_for(new, "stopped")
    assert are_same(world.disk_of(new), before)
    assert files_of(world, new) == ["disk0.qcow2", "disk1.qcow2"]
    assert boots(world, new)


def test_a_failed_export_says_so_at_the_medium_and_leaves_nothing(
    world: World, desktop: str
) -> None:
    task, medium = export(world, desktop, format="raw", disk="nothing")
    assert wait_state(world, task, "failed")["reason"] == "InvalidRow"
    wait_medium(world, medium, "failed")
    assert "has no disk" in observed(world, medium)["message"]
    remove(world, medium)
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    task, medium = export(world, desktop)
    wait_state(world, task, "queued")
    cancel(world, task)
    wait_state(world, task, "cancelled")
    wait_medium(world, medium, "failed")
    remove(world, medium)


def test_what_a_killed_engine_left_of_a_cancelled_export_is_swept(
    world: World, desktop: str
) -> None:
    """Cancelled while no engine is there: no task goes on with it, and the medium stays."""
    task, medium = export(world, desktop, format="raw")
    unfinished = wait_medium(world, medium, "available")
    remove(world, medium)
    world.engine.kill()
    task, medium = export(world, desktop, format="raw")
    cancel(world, task)
    folder = unfinished.parent.parent / medium
    folder.mkdir()
    (folder / f".{medium}.part").write_bytes(b"half")
    record = {
        "id": f"media/{medium}",
        "media": medium,
        "pool": "default",
        "pool_path": str(folder.parent),
        "path": str(folder),
        "state": "making",
    }
    world.database.run(r.table("disks").insert(record))
    # Nobody's by the ledger: a stranger's file of such a name is left alone.
    other = folder.parent / str(uuid.uuid4())
    other.mkdir()
    strange = other / f".{other.name}.part"
    strange.write_bytes(b"theirs")
    world.restart_engine()
    wait_state(world, task, "cancelled")
    world.wait_until(lambda: files_of(world, medium) == [], "it is swept")
    world.wait_until(
        lambda: (observed(world, medium).get("failure") or {}).get("terminal") is True,
        "the medium says so",
    )
    assert strange.read_bytes() == b"theirs"
    strange.unlink()
    other.rmdir()
    remove(world, medium)


def test_a_machine_that_cannot_be_described_is_refused_before_anything_is_copied(
    world: World, desktop: str
) -> None:
    row = r.table("domains").get(desktop)
    world.database.run(row.update({"spec": {"memory_mib": "much"}}))
    task, medium = export(world, desktop, format="ova")
    failed = wait_state(world, task, "failed")
    assert failed["reason"] == "InvalidRow"
    assert "spec.memory_mib" in failed["message"]
    wait_medium(world, medium, "failed")
    remove(world, medium)


def test_work_upon_a_record_nobody_foresaw_ends_and_leaves_nothing(
    world: World, desktop: str
) -> None:
    record = r.table("disks").get(f"{desktop}/disk0")
    world.database.run(record.replace(lambda row: row.without("disk")))
    task, new = make_new(world, "duplicate", desktop)
    failed = wait_state(world, task, "failed")
    assert failed["failure"]["terminal"] is True
    assert "The engine could not do this" in failed["message"]
    assert files_of(world, new) == []


def test_only_a_medium_that_names_the_task_gets_the_file(world: World, desktop: str) -> None:
    _, other = export(world, desktop, format="qcow2")
    wait_medium(world, other, "available")
    for medium in (other, str(uuid.uuid4())):
        task = order(world, "export", desktop, medium=medium)
        assert wait_state(world, task, "failed")["reason"] in ("InvalidRow", "TargetGone")
    assert files_of(world, other) == [f"{other}.qcow2"]


def test_a_machine_is_described_whatever_it_is_called() -> None:
    disks = [PackedDisk("a.vmdk", 7, 1024), PackedDisk("b.vmdk", 8, 2048)]
    text = build_ovf("<&\"'> ñ", 3, 96, disks)
    envelope = ElementTree.fromstring(text.encode())
    files = envelope.findall(f"{{{OVF}}}References/{{{OVF}}}File")
    assert [file.get(f"{{{OVF}}}href") for file in files] == ["a.vmdk", "b.vmdk"]
    quantities = [item.text for item in envelope.iter(f"{{{RASD}}}VirtualQuantity")]
    assert quantities == ["3", "96"]
