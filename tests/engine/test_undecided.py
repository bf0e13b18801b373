"""Where what a decision rests on cannot be had, the row says so and waits for a new wish."""

from __future__ import annotations

from db.connection import r
from tests.engine.world import World


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
