"""New desktops and templates out of others and out of foreign images, ordered by rows."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.connection import r
from tests.engine.file_server import FileServer
from tests.engine.media_world import MediaWorld
from tests.engine.orders import (
    are_same,
    cancel,
    copy,
    info,
    is_sound,
    order,
    wait_state,
    write,
)
from tests.engine.ovf_texts import BOMB, VMWARE, envelope, machine
from tests.engine.test_tasks_cut_off import SEEDS
from tests.engine.world import World

MIB = 1024**2


@pytest.fixture(scope="module")
def media() -> Iterator[MediaWorld]:
    with FileServer() as server, World() as world:
        allow = {"id": "downloads", "allow": ["127.0.0.0/8"]}
        world.database.run(r.table("config").insert(allow, conflict="replace"))
        world.template = world.add_template()
        yield MediaWorld(world, server)


@pytest.fixture
def world(media: MediaWorld) -> World:
    return media.world


def make_new(
    world: World, kind: str, target: str, as_kind: str = "desktop", **args: str
) -> tuple[str, str]:
    """The order and the row of what it makes, as a script would write them: (task, domain)."""
    task_id, into = str(uuid.uuid4()), str(uuid.uuid4())
    world.add_domain(as_kind, {"task": task_id}, id=into)
    row = {"id": task_id, "kind": kind, "target": target, "args": {"into": into, **args}}
    world.database.run(r.table("tasks").insert({**row, "desired": {"state": "done"}}))
    return task_id, into


def files_of(world: World, domain: str) -> list[str]:
    return sorted(path.name for path in world.disk_files() if domain in path.parts)


def boots(world: World, domain: str) -> bool:
    world.wish(domain, "started")
    world.wait_for(domain, "started")
    world.wish(domain, "stopped", force=True)
    world.wait_for(domain, "stopped")
    return True


@pytest.fixture
def desktop(world: World) -> str:
    spec = {"vcpus": 1, "memory_mib": 16, "disks": [{"size_gib": 1 / 16}, {"size_gib": 1 / 32}]}
    desktop = world.add_desktop(world.template, spec=spec)
    write(world.disk_of(desktop), "write -P 7 8M 2M")
    return desktop


@pytest.mark.parametrize("as_kind", ["desktop", "template"])
def test_a_duplicate_is_the_same_and_depends_on_nothing(
    world: World, desktop: str, as_kind: str
) -> None:
    (world.disk_of(desktop).parent / "nvram.fd").write_bytes(b"variables")
    task, new = make_new(world, "duplicate", desktop, as_kind)
    wait_state(world, task, "done")
    seen = world.wait_for(new, "stopped")
    assert [disk["id"] for disk in seen["disks"]] == ["disk0", "disk1"]
    assert [disk["backing"] for disk in seen["disks"]] == [None, None]
    assert files_of(world, new) == ["disk0.qcow2", "disk1.qcow2", "nvram.fd"]
    assert are_same(world.disk_of(new), world.disk_of(desktop))
    assert is_sound(world.disk_of(new))
    records = world.database.run(r.table("disks").get_all(new, index="domain"))
    assert all(record["state"] == "made" and "task" not in record for record in records)
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)
    if as_kind == "desktop":
        assert boots(world, new)
    else:
        assert boots(world, world.add_desktop(new))


def test_a_cancelled_duplicate_leaves_nothing_and_can_be_deleted(
    world: World, desktop: str
) -> None:
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    task, new = make_new(world, "duplicate", desktop)
    wait_state(world, task, "queued")
    world.wait_until(
        lambda: world.observed(new).get("reason") in ("ParentNotReady", "WorkedOn"), "it waits"
    )
    cancel(world, task)
    wait_state(world, task, "cancelled")
    world.wait_until(lambda: "cancelled" in (world.observed(new).get("message") or ""), "told")
    assert files_of(world, new) == []
    world.wish(new, "deleted")
    world.wait_gone(new)


@pytest.mark.parametrize("seed", SEEDS[1:])
def test_killed_anywhere_a_duplicate_is_whole_in_the_end(
    world: World, desktop: str, seed: int
) -> None:
    task, new = make_new(world, "duplicate", desktop)
    time.sleep(0.15 + 0.2 * seed)  # any moment will do
    world.engine.kill()
    world.restart_engine()
    wait_state(world, task, "done")
    world.wait_for(new, "stopped")
    assert files_of(world, new) == ["disk0.qcow2", "disk1.qcow2"]
    assert are_same(world.disk_of(new), world.disk_of(desktop))


@pytest.mark.parametrize("cut", [(), ("disk1",)])
def test_killed_at_its_very_end_a_duplicate_is_done(
    world: World, desktop: str, cut: tuple[str, ...]
) -> None:
    """What it made was whole: that is found, and what was not written yet of it is."""
    task, new = make_new(world, "duplicate", desktop)
    wait_state(world, task, "done")
    disks = {path: path.stat().st_ino for path in world.disk_files() if new in path.parts}
    tables = {name: r.table(name) for name in ("disks", "tasks")}
    for disk in cut:
        begun = {"state": "making", "task": task}
        world.database.run(tables["disks"].get(f"{new}/{disk}").update(begun))
    before = {"observed": {"state": "running"}, "desired": {"state": "done", "at": r.now()}}
    world.database.run(tables["tasks"].get(task).update(before))
    wait_state(world, task, "done")
    records = world.database.run(tables["disks"].get_all(new, index="domain"))
    assert all(record["state"] == "made" and "task" not in record for record in records)
    assert all(record["size"] for record in records)
    assert {path: path.stat().st_ino for path in disks} == disks


def test_only_a_row_that_names_the_task_gets_its_disks(world: World, desktop: str) -> None:
    files = world.disk_files()
    other = world.add_desktop(world.template)
    for into in (other, desktop, str(uuid.uuid4())):
        task = order(world, "duplicate", desktop, into=into)
        failed = wait_state(world, task, "failed")
        assert failed["reason"] in ("InvalidRow", "TargetGone")
    left = world.disk_files() - files
    assert left == {world.disk_of(other)}


def tiny(world: World) -> Path:
    return world.data / "images" / "tiny.qcow2"


def foreign(world: World, tmp_path: Path, format: str) -> Path:
    """The tiny guest's disk as another program would export it."""
    path = tmp_path / f"image.{format}"
    options = {"vmdk": ["-o", "subformat=streamOptimized"]}.get(format, [])
    source = str(tiny(world))
    subprocess.run(["qemu-img", "convert", "-O", format, *options, source, str(path)], check=True)
    return path


def pack(tmp_path: Path, members: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def add_medium(media: MediaWorld, name: str, content: bytes) -> str:
    return media.add(media.server.url(f"/{uuid.uuid4()}/{name}", content=content), kind="disk")


@pytest.mark.parametrize("format", ["qcow2", "raw", "vmdk", "vdi"])
def test_an_image_of_any_format_becomes_a_desktop(
    media: MediaWorld, tmp_path: Path, format: str
) -> None:
    world = media.world
    image = foreign(world, tmp_path, format)
    medium = add_medium(media, f"a.{format}", image.read_bytes())
    media.wait(medium, state="available")
    task, new = make_new(world, "import", medium)
    done = wait_state(world, task, "done")
    assert done["result"]["format"] == format
    world.wait_for(new, "stopped")
    assert files_of(world, new) == ["disk0.qcow2"]
    assert info(world.disk_of(new))["format"] == "qcow2"
    assert are_same(world.disk_of(new), tiny(world))
    assert boots(world, new)


def test_an_ova_becomes_a_template_with_all_its_disks(media: MediaWorld, tmp_path: Path) -> None:
    world = media.world
    disk = foreign(world, tmp_path, "vmdk").read_bytes()
    members = {"box.ovf": b"<Envelope/>", "box-disk1.vmdk": disk, "box-disk2.vmdk": disk}
    medium = add_medium(media, "box.ova", pack(tmp_path, members))
    media.wait(medium, state="available")
    task, new = make_new(world, "import", medium, "template")
    wait_state(world, task, "done")
    world.wait_for(new, "stopped")
    assert files_of(world, new) == ["disk0.qcow2", "disk1.qcow2"]
    assert boots(world, world.add_desktop(new))


def test_the_hardware_that_an_ova_states_is_seen(media: MediaWorld, tmp_path: Path) -> None:
    world = media.world
    disk = foreign(world, tmp_path, "vmdk").read_bytes()
    members = {"box.ovf": envelope(VMWARE), "box-disk1.vmdk": disk, "box-disk2.vmdk": disk}
    medium = add_medium(media, "box.ova", pack(tmp_path, members))
    hardware = media.wait(medium, state="available")["hardware"]
    assert hardware == {
        "name": "Office & more",
        "vcpus": 2,
        "memory_mib": 4096,
        "firmware": "uefi",
        "os": "Microsoft Windows 10 (64-bit)",
        "controller": "scsi",
        "disks": 2,
        "notes": [],
    }
    # Of a medium from before, or that a script has spoilt, it is read when it is looked at again.
    table = r.table("media").get(medium)
    world.database.run(table.update({"observed": {"hardware": r.literal({"vcpus": 99})}}))
    media.wish(medium, "available")
    media.wait(medium, hardware=hardware)
    task, new = make_new(world, "import", medium, bus="sata")
    wait_state(world, task, "done")
    world.wait_for(new, "stopped")
    records = world.database.run(r.table("disks").get_all(new, index="domain"))
    assert [record["bus"] for record in records] == ["sata", "sata"]
    world.wish(new, "started")
    world.wait_for(new, "started")
    assert "bus='sata'" in world.host.exec(["virsh", "dumpxml", new]).stdout
    world.wish(new, "stopped", force=True)
    world.wait_for(new, "stopped")
    media.wish(medium, "absent")
    assert media.wait(medium, state="absent")["hardware"] is None


def test_no_description_spoils_an_import(media: MediaWorld, tmp_path: Path) -> None:
    world = media.world
    disk = foreign(world, tmp_path, "vmdk").read_bytes()
    described = {
        "It asks for 10000 processors, which is left out": machine(vcpus="10000"),
        "It asks for -1 byte * 2^20 of memory, which is left out": machine(memory="-1"),
        "Its description is not read: it declares a document type": BOMB,
        "Its description is not read: it is no XML": b"\0\xff no text",
        "Its description is not read: it is larger": b"<!-- " + b"x" * 2 * MIB + b" -->",
    }
    for words, text in described.items():
        members = {"box.ovf": text, "box-disk1.vmdk": disk}
        medium = add_medium(media, "box.ova", pack(tmp_path, members))
        hardware = media.wait(medium, state="available", failure=None)["hardware"]
        assert words in hardware["notes"][0]
        assert hardware["disks"] == 1
        task, new = make_new(world, "import", medium)
        wait_state(world, task, "done")
        world.wait_for(new, "stopped")
        assert are_same(world.disk_of(new), tiny(world))


def test_a_description_that_is_a_link_leads_nowhere(media: MediaWorld, tmp_path: Path) -> None:
    secret = tmp_path / "secret.ovf"
    secret.write_bytes(machine(vcpus="7"))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        archive = tmp_path / "linked.ova"
        with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
            entry = tarfile.TarInfo("box.ovf")
            entry.type, entry.linkname = kind, str(secret)
            tar.addfile(entry)
        medium = add_medium(media, "box.ova", archive.read_bytes())
        hardware = media.wait(medium, state="available")["hardware"]
        assert hardware["vcpus"] is None
        assert hardware["notes"] == ["Its description is not read: there is none."]
        assert media.files(medium) == [f"{medium}.ova"]


def hostile_images(world: World, tmp_path: Path) -> dict[str, bytes]:
    flat = b'# Disk DescriptorFile\nversion=1\nRW 8 FLAT "/etc/shadow" 0\n'
    monolithic = b"KDMV" + (1).to_bytes(4, "little") + bytes(504) + flat
    small = foreign(world, tmp_path, "vmdk").read_bytes()
    return {
        "an OVA whose disk only describes others": pack(
            tmp_path, {"a.ovf": b"<E/>", "d.vmdk": monolithic}
        ),
        "an OVA whose disk is text": pack(tmp_path, {"a.ovf": b"<E/>", "d.vmdk": flat}),
        "an OVA whose disk is a qcow2": pack(
            tmp_path, {"a.ovf": b"<E/>", "d.vmdk": tiny(world).read_bytes()}
        ),
        "an OVA with paths": pack(
            tmp_path, {"a.ovf": b"<E/>", "../../x.vmdk": small, "/etc/y.vmdk": small}
        ),
        "an OVA with odd names": pack(
            tmp_path, {"a.ovf": b"<E/>", "$(touch x).vmdk": small, "-rf.vmdk": small}
        ),
        "an OVA without disks": pack(tmp_path, {"a.ovf": b"<E/>", "readme.txt": b"x"}),
    }


def test_images_that_lead_elsewhere_are_refused(media: MediaWorld, tmp_path: Path) -> None:
    world = media.world
    for what, content in hostile_images(world, tmp_path).items():
        medium = add_medium(media, "a.ova", content)
        media.wait(medium, state="available")
        task, new = make_new(world, "import", medium)
        failed = wait_state(world, task, "failed")
        assert failed["reason"] == "NotAnImage", (what, failed)
        assert files_of(world, new) == [], what
        world.wish(new, "deleted")
        world.wait_gone(new)


def test_a_backing_file_put_into_the_medium_afterwards_is_not_followed(
    media: MediaWorld, tmp_path: Path
) -> None:
    """What a medium is is looked at again when it is taken over."""
    world = media.world
    medium = add_medium(media, "a.qcow2", tiny(world).read_bytes())
    path = Path(media.wait(medium, state="available")["path"])
    path.unlink()
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(tiny(world)), "-F", "qcow2"]
    subprocess.run([*argv, str(path)], check=True)
    task, new = make_new(world, "import", medium)
    failed = wait_state(world, task, "failed")
    assert "based on another file" in failed["message"]
    assert files_of(world, new) == []


def test_rows_of_media_lead_nowhere_else(media: MediaWorld, tmp_path: Path) -> None:
    """A script may have written any path into a medium's row."""
    world = media.world
    secret = copy(tiny(world), world.folder / "secret.qcow2")
    for path in (str(secret), "/etc/shadow", "../x", None, 7):
        medium = add_medium(media, "a.qcow2", tiny(world).read_bytes())
        media.wait(medium, state="available")
        task_id, into = str(uuid.uuid4()), str(uuid.uuid4())
        world.add_domain("desktop", {"task": task_id}, id=into)
        change: dict[str, Any] = {"observed": {"path": path}}
        world.database.run(r.table("media").get(medium).update(change))
        row = {"id": task_id, "kind": "import", "target": medium, "args": {"into": into}}
        world.database.run(r.table("tasks").insert({**row, "desired": {"state": "done"}}))
        state = wait_state(world, task_id, "failed", "done")
        # The engine may have healed the row first: then it is the right file that was taken.
        if state["state"] == "failed":
            assert "outside the pool" in state["message"]
            assert files_of(world, into) == []
        else:
            world.wait_for(into, "stopped")
            assert are_same(world.disk_of(into), tiny(world))
