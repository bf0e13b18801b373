"""A desktop's whole path on real parts: rows written as scripts write them, engine, lab host."""

from __future__ import annotations

from db.connection import r
from tests.engine.world import World


def test_a_desktop_is_created_started_stopped_and_deleted(world: World) -> None:
    template = world.add_template()
    desktop = world.add_desktop(template)
    seen = world.observed(desktop)
    assert seen["disks"][0]["backing"] == str(world.disk_of(template))
    assert world.disk_of(desktop).exists()

    world.wish(desktop, "started")
    seen = world.wait_for(desktop, "started", hypervisor="h1")
    assert world.running() == {desktop}
    assert seen["viewer"]["ports"]["vnc"] > 0
    console = world.database.run(r.table("consoles").get(desktop))
    assert len(console["password"]) == 8
    assert console["ports"] == seen["viewer"]["ports"]

    world.wish(desktop, "stopped")
    seen = world.wait_for(desktop, "stopped")
    assert world.running() == set()
    assert (seen["failure"], seen["hypervisor"], seen["viewer"]) == (None, None, None)
    assert world.database.run(r.table("consoles").get(desktop)) is None

    world.wish(desktop, "deleted")
    world.wait_gone(desktop)
    assert world.disk_files() == {world.disk_of(template)}
    assert world.database.run(r.table("disks").get_all(desktop, index="domain").count()) == 0
