"""A template moves under those built upon it, and they are told where it lies, whatever happens."""

from __future__ import annotations

import os
import random
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from db.connection import r
from tests.engine.orders import carry_out, info, order, seen, wait_state, write
from tests.engine.world import World

SEEDS = [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 8))]
MARKS = {"moving", "rebasing", "moved_from"}


@pytest.fixture(scope="module")
def paths(shared_world: World) -> dict[str, Path]:
    """The templates' paths of the pool: home, and away, which takes nothing by itself."""
    storage = shared_world.folder / "storage"
    found = {"home": storage / "templates", "away": storage / "away"}
    found["away"].mkdir()
    listed = [{"path": str(found["home"])}, {"path": str(found["away"]), "weight": 0}]
    pool = r.table("hypervisors_pools").get("default")
    shared_world.database.run(pool.update({"paths": {"templates": listed}}))
    mark = r.table("storage_marks").get(f"default:{found['away']}")
    shared_world.wait_until(lambda: shared_world.database.run(mark), "the new path is marked")
    return found


@dataclass
class Family:
    """A template, two desktops upon it, and one upon a template of the second."""

    template: str
    one: str
    two: str
    upper: str
    grandchild: str

    @property
    def children(self) -> tuple[str, str]:
        """Whose disks are based on the template's: the second desktop's own is on `upper`."""
        return self.one, self.upper


@pytest.fixture
def family(shared_world: World, paths: dict[str, Path]) -> Family:
    world = shared_world
    template = world.add_template()
    (world.disk_of(template).parent / "nvram.fd").write_bytes(b"variables")
    spec = {"vcpus": 1, "memory_mib": 16, "disks": [{"size_gib": 1 / 16}]}
    one, two = world.add_desktop(template, spec=spec), world.add_desktop(template)
    write(world.disk_of(one), "write -P 7 1M 1M")
    upper = world.add_domain("template", {"desktop": two})
    world.wait_for(upper, "stopped")
    return Family(template, one, two, upper, world.add_desktop(upper))


def ledger(world: World, domain: str) -> dict[str, Any]:
    return dict(world.database.run(r.table("disks").get(f"{domain}/disk0")))


def assert_moved(world: World, family: Family, where: Path) -> None:
    disk = where / family.template / "disk0.qcow2"
    assert [path.name for path in sorted(disk.parent.iterdir())] == ["disk0.qcow2", "nvram.fd"]
    assert ledger(world, family.template)["path"] == str(disk)
    assert not MARKS & set(ledger(world, family.template))
    for child in family.children:
        assert info(Path(ledger(world, child)["path"]))["backing-filename"] == str(disk)
        assert ledger(world, child)["backing"] == str(disk)
        world.wait_until(
            lambda child=child: world.observed(child)["disks"][0]["backing"] == str(disk), "shown"
        )
    chain = ["qemu-img", "info", "--backing-chain", str(world.disk_of(family.grandchild))]
    assert str(disk) in subprocess.run(chain, check=True, capture_output=True, text=True).stdout


def test_all_that_is_built_upon_it_goes_on_with_the_moved_template(
    shared_world: World, paths: dict[str, Path], family: Family
) -> None:
    world, old = shared_world, shared_world.disk_of(family.template)
    done = carry_out(world, "move", family.template, path=str(paths["away"]))
    assert done["result"]["disks"][0]["path"] == str(paths["away"])
    assert_moved(world, family, paths["away"])
    assert not old.parent.exists()
    kept = ["qemu-io", "-f", "qcow2", "-r", "-c", "read -P 7 1M 1M", str(world.disk_of(family.one))]
    assert "failed" not in subprocess.run(kept, check=True, capture_output=True, text=True).stdout
    new = world.add_desktop(family.template)
    for desktop in (family.one, family.grandchild, new):
        world.wish(desktop, "started")
        world.wait_for(desktop, "started")
        world.wish(desktop, "stopped", force=True)
        world.wait_for(desktop, "stopped")
    carry_out(world, "move", family.template, path=str(paths["home"]))
    assert_moved(world, family, paths["home"])
    every = (new, family.grandchild, family.two, family.upper, family.one, family.template)
    for domain in every:
        world.wish(domain, "deleted")
    for domain in every:
        world.wait_gone(domain)
    assert not old.parent.exists()


def test_it_waits_until_none_of_those_built_upon_it_runs(
    shared_world: World, paths: dict[str, Path], family: Family
) -> None:
    world, old = shared_world, shared_world.disk_of(family.template)
    world.wish(family.grandchild, "started")
    world.wait_for(family.grandchild, "started")
    task = order(world, "move", family.template, path=str(paths["away"]))
    assert wait_state(world, task, "queued")["reason"] == "NotStopped"
    assert old.exists()
    world.wish(family.grandchild, "stopped", force=True)
    wait_state(world, task, "done")
    assert_moved(world, family, paths["away"])


@pytest.mark.parametrize("told", [0, 1, 2])
def test_cut_off_while_they_are_told_it_goes_on_with_the_rest(
    shared_world: World, paths: dict[str, Path], family: Family, told: int
) -> None:
    """As an engine leaves it that dies then: both files are there, and some disks say the new one,
    the last of them not yet in the ledger. Whatever is ordered next ends it.
    """
    world, old, disks = shared_world, shared_world.disk_of(family.template), r.table("disks")
    to = leave_half_told(world, family.template, paths["away"])
    for at, child in enumerate(family.children[:told]):
        path = ledger(world, child)["path"]
        rebase = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", str(to), path]
        subprocess.run(rebase, check=True)
        if at < told - 1:
            world.database.run(disks.get(f"{child}/disk0").update({"backing": str(to)}))
    world.wish(family.one, "started")
    world.wait_for(family.one, "started")
    task = order(world, "verify", family.template)
    world.wait_until(lambda: seen(world, task).get("reason") == "NotStopped", "it waits")
    assert old.exists()
    assert to.exists()
    world.wish(family.one, "stopped", force=True)
    wait_state(world, task, "done")
    assert_moved(world, family, paths["away"])
    assert not old.parent.exists()


def leave_half_told(world: World, template: str, where: Path) -> Path:
    """The file in its new place and the mark of the ledger; nobody has been told."""
    to = where / template / "disk0.qcow2"
    to.parent.mkdir()
    os.link(world.disk_of(template), to)
    (to.parent / "nvram.fd").write_bytes(b"variables")
    mark = {"rebasing": {"to": str(to), "task": "of an engine that died"}}
    world.database.run(r.table("disks").get(f"{template}/disk0").update(mark))
    return to


def test_a_desktop_that_was_being_made_meanwhile_is_made_upon_the_new_place(
    shared_world: World, paths: dict[str, Path], family: Family
) -> None:
    """The engine died when its disk was there and the ledger did not say so yet."""
    world, disk = shared_world, shared_world.disk_of(family.one)
    world.engine.kill()
    to = leave_half_told(world, family.template, paths["away"])
    half = {"state": "making", "backing": None}
    world.database.run(r.table("disks").get(f"{family.one}/disk0").update(half))
    task = order(world, "verify", family.template)
    begun = {"observed": {"state": "running"}}
    world.database.run(r.table("tasks").get(task).update(begun))
    world.restart_engine()
    wait_state(world, task, "done")
    world.wait_until(lambda: ledger(world, family.one)["state"] == "made", "it is made")
    assert_moved(world, family, paths["away"])
    assert info(disk)["backing-filename"] == str(to)


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_anywhere_it_is_moved_in_the_end(
    shared_world: World, paths: dict[str, Path], family: Family, seed: int
) -> None:
    world, old = shared_world, shared_world.disk_of(family.template)
    task = order(world, "move", family.template, path=str(paths["away"]))
    time.sleep(random.Random(f"template{seed}").uniform(0, 0.6))  # any moment will do
    world.engine.kill()
    world.restart_engine()
    wait_state(world, task, "done")
    assert_moved(world, family, paths["away"])
    assert not old.parent.exists()
