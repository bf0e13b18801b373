"""Work on disks, ordered by rows: what each kind makes of real disks, and what is refused."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from db.connection import r
from tests.engine.orders import (
    are_same,
    cancel,
    carry_out,
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
GIB = 1024**3


@pytest.fixture
def desktop(shared_world: World) -> str:
    spec = {"vcpus": 1, "memory_mib": 16, "disks": [{"size_gib": 1 / 16}]}
    return shared_world.add_desktop(shared_world.template, spec=spec)


def ledger(world: World, domain: str) -> dict[str, object]:
    return dict(world.database.run(r.table("disks").get(f"{domain}/disk0")))


def leftovers(world: World) -> list[str]:
    return [path.name for path in world.disk_files() if path.suffix == ".part"]


def test_a_disk_grows_and_never_shrinks(shared_world: World, desktop: str) -> None:
    done = carry_out(shared_world, "resize", desktop, size_gib=2)
    assert done["progress"] == {"percent": 100.0}
    disk = shared_world.disk_of(desktop)
    assert info(disk)["virtual-size"] == 2 * GIB
    assert ledger(shared_world, desktop)["size"] == 2 * GIB
    shared_world.wait_until(
        lambda: shared_world.observed(desktop)["disks"][0]["size"] == 2 * GIB, "size shown"
    )
    refused = wait_state(shared_world, order(shared_world, "resize", desktop, size_gib=1), "failed")
    assert "only grow" in refused["message"]
    assert info(disk)["virtual-size"] == 2 * GIB
    shared_world.wish(desktop, "started")
    shared_world.wait_for(desktop, "started")


def test_a_disk_is_never_smaller_than_the_template_below_it_has_become(
    shared_world: World,
) -> None:
    template = shared_world.add_template()
    carry_out(shared_world, "resize", template, size_gib=1)
    spec = {"vcpus": 1, "memory_mib": 16, "disks": [{"size_gib": 1 / 16}]}
    old = shared_world.add_desktop(template, spec=spec)
    assert info(shared_world.disk_of(old))["virtual-size"] == GIB
    assert shared_world.observed(old)["disks"][0]["size"] == GIB
    larger = shared_world.add_desktop(template, spec={**spec, "disks": [{"size_gib": 2}]})
    assert info(shared_world.disk_of(larger))["virtual-size"] == 2 * GIB


def test_unused_space_is_freed_and_nothing_else_changes(
    shared_world: World, desktop: str, tmp_path: Path
) -> None:
    disk = shared_world.disk_of(desktop)
    write(disk, "write -P 7 8M 2M", "write -P 9 20M 12M", "write -P 0 20M 12M")
    before, size = copy(disk, tmp_path / "before"), info(disk)["actual-size"]
    done = carry_out(shared_world, "sparsify", desktop)
    assert info(disk)["actual-size"] < size - 10 * MIB
    assert info(disk)["full-backing-filename"] == str(shared_world.disk_of(shared_world.template))
    assert are_same(disk, before)
    assert is_sound(disk)
    told = done["result"]["disks"][0]
    assert told["before"] > told["after"]
    assert leftovers(shared_world) == []
    assert "replacing" not in ledger(shared_world, desktop)


def test_a_flattened_disk_is_based_on_nothing(
    shared_world: World, desktop: str, tmp_path: Path
) -> None:
    disk = shared_world.disk_of(desktop)
    write(disk, "write -P 3 1M 1M")
    before = copy(disk, tmp_path / "before")
    carry_out(shared_world, "flatten", desktop)
    assert "backing-filename" not in info(disk)
    assert are_same(disk, before)
    assert is_sound(disk)
    assert ledger(shared_world, desktop)["backing"] is None
    # Again: there is nothing to do, and nothing is done.
    inode = disk.stat().st_ino
    carry_out(shared_world, "flatten", desktop)
    assert disk.stat().st_ino == inode
    shared_world.wish(desktop, "started")
    shared_world.wait_for(desktop, "started")


def test_a_flattened_desktop_outlives_its_template(shared_world: World) -> None:
    template = shared_world.add_template()
    desktop, other = shared_world.add_desktop(template), shared_world.add_desktop(template)
    carry_out(shared_world, "flatten", desktop)
    shared_world.wish(template, "deleted")
    failure = shared_world.wait_failure(template, "InUse")
    assert failure["message"].startswith("1 other")
    shared_world.wish(other, "deleted")
    shared_world.wait_gone(other)
    shared_world.wish(template, "deleted")
    shared_world.wait_gone(template)
    shared_world.wish(desktop, "started")
    shared_world.wait_for(desktop, "started")


def test_a_disk_is_compressed_and_preallocated(
    shared_world: World, desktop: str, tmp_path: Path
) -> None:
    disk = shared_world.disk_of(desktop)
    write(disk, "write -P 5 4M 8M")
    before, size = copy(disk, tmp_path / "before"), info(disk)["actual-size"]
    carry_out(shared_world, "convert", desktop, compress=True)
    assert info(disk)["actual-size"] < size / 2
    assert are_same(disk, before)
    refused = order(shared_world, "convert", desktop, preallocation="full")
    assert "flatten" in wait_state(shared_world, refused, "failed")["message"]
    carry_out(shared_world, "flatten", desktop)
    carry_out(shared_world, "convert", desktop, preallocation="full")
    assert info(disk)["actual-size"] >= info(disk)["virtual-size"]
    assert are_same(disk, before)
    assert is_sound(disk)


def test_disks_are_checked_and_repaired_only_on_request(shared_world: World, desktop: str) -> None:
    disk = shared_world.disk_of(desktop)
    done = carry_out(shared_world, "verify", desktop)
    assert done["result"]["ok"] is True
    # A refcount without a cluster that uses it: space that holds nothing.
    write(disk, "write -P 1 0 1M")
    header = bytearray(disk.read_bytes())
    table = int.from_bytes(header[40:48], "big")
    entry = int.from_bytes(header[table : table + 8], "big") & 0x00FFFFFFFFFFFE00
    header[entry : entry + 8] = bytes(8)
    disk.write_bytes(bytes(header))
    broken = carry_out(shared_world, "verify", desktop)
    assert broken["result"]["ok"] is False
    found = broken["result"]["disks"][0]
    assert found["leaks"] or found["corruptions"]
    assert disk.read_bytes() == bytes(header)
    repaired = carry_out(shared_world, "verify", desktop, repair=True)
    assert repaired["result"]["disks"][0]["leaks_fixed"] > 0
    assert repaired["result"]["ok"] is True
    assert is_sound(disk)


def test_work_waits_for_a_running_desktop_and_a_check_is_refused(
    shared_world: World, desktop: str
) -> None:
    shared_world.wish(desktop, "started")
    shared_world.wait_for(desktop, "started")
    refused = wait_state(shared_world, order(shared_world, "verify", desktop), "failed")
    assert refused["reason"] == "NotStopped"
    task = order(shared_world, "sparsify", desktop)
    waiting = wait_state(shared_world, task, "queued")
    assert waiting["reason"] == "NotStopped"
    assert "in use on h1" in waiting["message"]
    other = order(shared_world, "flatten", desktop)
    wait_state(shared_world, other, "queued")
    cancel(shared_world, other)
    wait_state(shared_world, other, "cancelled")
    shared_world.wish(desktop, "stopped", force=True)
    wait_state(shared_world, task, "done")


def test_what_would_break_those_built_upon_it_is_refused(shared_world: World, desktop: str) -> None:
    template = shared_world.template
    assert shared_world.row(desktop)["origin"]["template"] == template
    refused = wait_state(
        shared_world, order(shared_world, "resize", template, size_gib=4), "failed"
    )
    assert refused["reason"] == "InUse"
    assert "built upon it" in refused["message"]


def test_a_template_is_rewritten_under_its_stopped_desktops(
    shared_world: World, tmp_path: Path
) -> None:
    template = shared_world.add_template()
    spec = {"vcpus": 1, "memory_mib": 16, "disks": [{"size_gib": 1 / 16}]}
    desktop = shared_world.add_desktop(template, spec=spec)
    disk, base = shared_world.disk_of(desktop), shared_world.disk_of(template)
    write(disk, "write -P 8 2M 1M")
    before, file = copy(disk, tmp_path / "before"), base.stat().st_ino
    shared_world.wish(desktop, "started")
    shared_world.wait_for(desktop, "started")
    task = order(shared_world, "sparsify", template)
    waiting = wait_state(shared_world, task, "queued")
    assert waiting["reason"] == "NotStopped"
    assert "1 desktop built upon it is running" in waiting["message"]
    assert base.stat().st_ino == file
    shared_world.wish(desktop, "stopped", force=True)
    wait_state(shared_world, task, "done")
    assert base.stat().st_ino != file
    assert are_same(disk, before)
    shared_world.wish(desktop, "started")
    shared_world.wait_for(desktop, "started")


@pytest.mark.parametrize(
    ("kind", "args", "field"),
    [
        ("resize", {}, "args.size_gib"),
        ("resize", {"size_gib": "1; rm -rf /"}, "args.size_gib"),
        ("resize", {"size_gib": float(10**9)}, "args.size_gib"),
        ("sparsify", {"disk": "../../etc/passwd"}, "args.disk"),
        ("sparsify", {"disk": "$(reboot)"}, "args.disk"),
        ("sparsify", {"compres": True}, "args.compres"),
        ("convert", {"compress": True, "preallocation": "full"}, "args"),
        ("convert", {"preallocation": "full;id"}, "args.preallocation"),
        ("move", {"path": "/tmp/$(id)"}, "args.path"),
        ("move", {"path": "relative"}, "args.path"),
        ("move", {"path": "/a\nb"}, "args.path"),
        ("verify", {"repair": "all"}, "args.repair"),
        ("format", {}, "kind"),
    ],
)
def test_rows_with_odd_orders_are_reported(
    shared_world: World, kind: str, args: dict[str, object], field: str
) -> None:
    task = order(shared_world, kind, str(uuid.uuid4()), **args)
    failed = wait_state(shared_world, task, "failed")
    assert failed["reason"] == "InvalidRow"
    assert repr(field) in failed["message"]


@pytest.mark.parametrize("path", ["/etc", "/tmp", "{groups}/..", "{groups}/", "/", "{templates}"])
def test_disks_move_nowhere_but_to_the_pools_paths(
    shared_world: World, desktop: str, path: str
) -> None:
    storage = shared_world.folder / "storage"
    where = path.format(groups=storage / "groups", templates=storage / "templates")
    files = shared_world.disk_files()
    task = order(shared_world, "move", desktop, path=where)
    failed = wait_state(shared_world, task, "failed")
    assert failed["reason"] == "InvalidRow"
    assert "none of the paths" in failed["message"]
    assert shared_world.disk_files() == files


def test_orders_for_what_is_not_there_fail(shared_world: World) -> None:
    task = order(shared_world, "flatten", str(uuid.uuid4()))
    assert wait_state(shared_world, task, "failed")["reason"] == "TargetGone"
    for odd in ("x", 7, None, ["a"]):
        row = {"id": str(uuid.uuid4()), "kind": "flatten", "target": odd, "desired": odd}
        shared_world.database.run(r.table("tasks").insert(row))
        shared_world.wait_until(
            lambda row=row: seen(shared_world, row["id"]).get("reason") == "InvalidRow", "reported"
        )
