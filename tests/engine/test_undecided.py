"""Where what a decision rests on cannot be had, the row says so and waits; and work on a template
waits for the desktops that were started upon it meanwhile.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from db.connection import r
from tests.engine.orders import is_sound, order, wait_state
from tests.engine.test_tasks_cut_off import large, names_beside, noise
from tests.engine.world import World

__all__ = ["large", "noise"]


def test_a_ledger_that_makes_no_sense_is_told_on_the_row(shared_world: World) -> None:
    """Read before anything is decided: the wish waits, what is seen is shown, nothing is lost."""
    world = shared_world
    desktop = world.add_desktop(world.template)
    disk = world.disk_of(desktop)
    records = r.table("disks").get_all(desktop, index="domain")
    world.database.run(records.update({"path": "/nowhere"}))
    world.wish(desktop, "deleted")
    failure = world.wait_failure(desktop, "InvalidRow")
    assert failure["terminal"] is True
    assert "'/nowhere' is not the path of a disk" in failure["message"]
    assert world.observed(desktop)["state"] == "stopped"
    assert disk.exists()
    world.database.run(records.update({"path": str(disk)}))
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)
    assert not disk.exists()


@pytest.fixture
def template(shared_world: World, large: str) -> Path:
    """The disk of a template with much to copy, made of the desktop."""
    made = shared_world.add_domain("template", {"desktop": large})
    shared_world.wait_for(made, "stopped")
    return shared_world.disk_of(made)


def test_a_template_is_not_replaced_under_a_desktop_started_while_it_was_copied(
    shared_world: World, large: str, template: Path
) -> None:
    world, made = shared_world, template.parent.name
    inode = template.stat().st_ino
    task = order(world, "convert", made, compress=True)
    copying = ["pgrep", "-f", f"qemu-img convert.*{made}"]
    pids: list[str] = []
    world.wait_until(
        lambda: pids.extend(world.host.exec(copying, check=False).stdout.split()) or pids,
        "a copy is being made",
    )
    # It stands still until the guest runs.
    world.host.exec(["kill", "-STOP", *pids])
    try:
        world.wish(large, "started")
        world.wait_for(large, "started")
    finally:
        world.host.exec(["kill", "-CONT", *pids], check=False)
    table = r.table("tasks")
    world.wait_until(
        lambda: world.database.run(table.get(task)["observed"]["reason"]) == "NotStopped",
        "it waits with its copy made",
    )
    assert template.stat().st_ino == inode
    assert names_beside(template) == ["disk0.qcow2"]
    world.wish(large, "stopped", force=True)
    wait_state(world, task, "done")
    assert template.stat().st_ino != inode
    assert is_sound(template)
    world.wish(large, "deleted")
    world.wait_gone(large)
    world.wish(made, "deleted")
    world.wait_gone(made)
