"""What belongs to no row: found with what is known of it, removed when asked and proved, and never
what is another's, in use, or built upon.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from db.connection import r
from tests.engine.file_server import FileServer
from tests.engine.world import World
from tests.lab.iso import make_iso

FOREIGN = """
<domain type='qemu'>
  <name>somebody-elses</name><uuid>{id}</uuid><memory unit='MiB'>16</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
</domain>
"""


@dataclass
class Left:
    """What was left behind in one installation, all before the engine looks for it."""

    world: World
    running: str
    running_disk: Path
    disk: Path
    foreign: str
    medium: Path


@pytest.fixture(scope="module")
def left() -> Iterator[Left]:
    with World() as world:
        world.template = world.add_template()
        foreign = str(uuid.uuid4())
        file = world.folder / "foreign.xml"
        file.write_text(FOREIGN.format(id=foreign))
        world.host.exec(["virsh", "-q", "create", str(file)])
        running, running_disk = leave_behind(world, running=True)
        _, disk = leave_behind(world, running=False)
        yield Left(world, running, running_disk, disk, foreign, leave_medium_behind(world))


def orphan(world: World, orphan_id: str) -> dict[str, Any] | None:
    row = world.database.run(r.table("orphans").get(orphan_id))
    return dict(row) if row else None


def wait_listed(world: World, orphan_id: str) -> dict[str, Any]:
    world.wait_until(lambda: orphan(world, orphan_id), f"{orphan_id} is listed", timeout_s=150.0)
    return orphan(world, orphan_id) or {}


def wish_gone(world: World, orphan_id: str, **more: Any) -> None:
    desired = {"state": "removed", "at": r.now(), "by": "test"}
    world.database.run(r.table("orphans").get(orphan_id).update({"desired": desired, **more}))


def wait_refused(world: World, orphan_id: str, text: str) -> None:
    def is_refused() -> bool:
        seen = (orphan(world, orphan_id) or {}).get("observed") or {}
        return text in str(seen.get("message"))

    world.wait_until(is_refused, f"{orphan_id} is refused because {text}")


def leave_behind(world: World, *, running: bool) -> tuple[str, Path]:
    """A desktop whose row is removed straight from its table."""
    desktop = world.add_desktop(world.template)
    if running:
        world.wish(desktop, "started")
        world.wait_for(desktop, "started")
    disk = world.disk_of(desktop)
    world.database.run(r.table("domains").get(desktop).delete())
    return desktop, disk


def leave_medium_behind(world: World) -> Path:
    """The folder of an image whose row is removed straight from its table; in a desktop's drive."""
    allow = {"id": "downloads", "allow": ["127.0.0.0/8"]}
    world.database.run(r.table("config").insert(allow))
    media_id = str(uuid.uuid4())
    with FileServer() as server:
        source = {"url": server.url("/left.iso", content=make_iso())}
        row = {"id": media_id, "kind": "iso", "name": "Left", "user": "ana", "source": source}
        world.database.run(r.table("media").insert({**row, "desired": {"state": "available"}}))
        table = r.table("media").get(media_id)
        state = table["observed"]["state"].default("")
        world.wait_until(lambda: world.database.run(state) == "available", "the image is there")
    world.database.run(table.delete())
    return world.folder / "storage" / "media" / media_id


def test_the_file_of_a_medium_is_found_and_removed(left: Left) -> None:
    world, folder = left.world, left.medium
    found = wait_listed(world, str(folder))
    assert (found["kind"], found["ours"]) == ("media", True)
    assert found["size"] > len(make_iso()) - 1
    desktop = world.add_domain("desktop", {"media": folder.name, "size_gib": 0.01}, name="User")
    wish_gone(world, str(folder))
    wait_refused(world, str(folder), "such as 'User'")
    assert folder.exists()
    world.database.run(r.table("domains").get(desktop).delete())
    wish_gone(world, str(folder))
    world.wait_until(lambda: orphan(world, str(folder)) is None, "the file is removed")
    assert not folder.exists()
    assert world.database.run(r.table("disks").get(f"media/{folder.name}")) is None


def test_a_domain_and_its_disk_are_found_and_removed_one_after_the_other(left: Left) -> None:
    world, desktop, disk = left.world, left.running, left.running_disk
    domain = wait_listed(world, f"h1/{desktop}")
    assert domain["ours"] is True
    assert domain["disks"] == [str(disk)]
    file = wait_listed(world, str(disk))
    assert file["size"] > 0
    assert file["modified_at"] is not None
    assert file["backing"] == str(world.disk_of(world.template))
    assert file["at"] is not None
    wish_gone(world, str(disk))
    wait_refused(world, str(disk), "has it open")
    assert disk.exists()
    wish_gone(world, f"h1/{desktop}")
    world.wait_until(lambda: orphan(world, f"h1/{desktop}") is None, "the domain is removed")
    assert desktop not in world.running()
    wish_gone(world, str(disk))
    world.wait_until(lambda: orphan(world, str(disk)) is None, "the file is removed")
    assert not disk.exists()
    assert not disk.parent.exists()
    assert world.database.run(r.table("disks").get_all(desktop, index="domain").count()) == 0


def test_another_installations_domain_is_shown_and_never_touched(left: Left) -> None:
    world, orphan_id = left.world, f"h1/{left.foreign}"
    found = wait_listed(world, orphan_id)
    assert found["ours"] is False
    assert found["name"] == "somebody-elses"
    # A script that lies about whose it is changes nothing.
    wish_gone(world, orphan_id, ours=True)
    wait_refused(world, orphan_id, "Another installation runs it")
    assert "somebody-elses" in world.running()


def test_a_disk_that_another_is_built_upon_stays(left: Left) -> None:
    world, disk = left.world, left.disk
    wait_listed(world, str(disk))
    upon = disk.parent.parent / str(uuid.uuid4()) / "disk0.qcow2"
    upon.parent.mkdir()
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(disk), str(upon)],
        check=True,
    )
    wish_gone(world, str(disk))
    wait_refused(world, str(disk), f"1 other disk is built upon it, such as {upon}")
    assert disk.exists()
    upon.unlink()
    wish_gone(world, str(disk))
    world.wait_until(lambda: not disk.exists(), "nobody is built upon it any more")


def test_uefis_variables_without_a_disk_are_found_and_removed(left: Left) -> None:
    world = left.world
    beside = left.running_disk.parent.parent / str(uuid.uuid4())
    beside.mkdir(mode=0o711)
    (beside / "nvram.fd").write_bytes(b"boot entries")
    kept = world.disk_of(world.template).parent / "nvram.fd"
    kept.write_bytes(b"a template's")
    found = wait_listed(world, str(beside / "nvram.fd"))
    assert (found["kind"], found["domain"], found["backing"]) == ("file", beside.name, None)
    assert found["message"].startswith("UEFI's variables")
    assert orphan(world, str(kept)) is None
    wish_gone(world, found["id"])
    world.wait_until(lambda: orphan(world, found["id"]) is None, "they are removed")
    assert not beside.exists()
    assert kept.exists()


def test_a_row_that_lies_reaches_no_file_outside_and_nobodys_disk(left: Left) -> None:
    world = left.world
    owned = world.add_desktop(world.template)
    disk = world.disk_of(owned)
    outside = world.folder / "storage" / "precious.qcow2"
    outside.write_bytes(b"x")
    lies = {
        str(disk): "There is a row of it in domains",
        str(outside): "",
        f"{disk.parent.parent}/../precious.qcow2": "",
        "/etc/passwd": "is not the path of a disk",
    }
    for path, answer in lies.items():
        row = {"id": f"lie {path}", "kind": "file", "path": path, "ours": True, "domain": owned}
        world.database.run(r.table("orphans").insert(row))
        wish_gone(world, row["id"])
        wait_refused(world, row["id"], answer)
        assert disk.exists()
        assert outside.exists()
        world.database.run(r.table("orphans").get(row["id"]).delete())
