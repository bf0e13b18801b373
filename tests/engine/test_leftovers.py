"""What the engine keeps of a domain goes with its row, though an engine be killed in between."""

from __future__ import annotations

from typing import Any

from db.connection import r
from tests.engine.world import World


def wait_swept(world: World, domain: str) -> None:
    world.wait_until(lambda: what_is_kept(world, domain) == [], "all of it is swept")


def what_is_kept(world: World, domain: str) -> list[dict[str, Any]]:
    """Rows of the engine's own tables that name this domain."""
    disks = r.table("disks").get_all(domain, index="domain")
    rows: list[dict[str, Any]] = world.database.run(
        disks.union(r.table("consoles").get_all(domain)).coerce_to("array")
    )
    return rows


def test_what_a_killed_engine_kept_of_a_removed_row_is_swept(shared_world: World) -> None:
    """The row goes first; an engine killed right then leaves the rest to its successor."""
    world = shared_world
    gone, stray = world.add_desktop(world.template), world.add_desktop(world.template)
    world.engine.kill()
    record = r.table("disks").get_all(gone, index="domain")
    world.database.run(record.update({"state": "deleting"}))
    world.database.run(r.table("consoles").insert({"id": gone, "password": "x"}))
    world.disk_of(gone).unlink()
    kept = world.disk_of(stray)
    world.database.run(r.table("domains").get_all(gone, stray).delete())
    world.restart_engine()
    wait_swept(world, gone)
    # Of a row that was never wished away the disk is there still, and so is its record.
    assert [record["path"] for record in what_is_kept(world, stray)] == [str(kept)]
    kept.unlink()
