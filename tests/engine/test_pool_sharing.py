"""A script's rows in a pool that their owner may not use: each waits and says so, and goes on."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from db.connection import r
from db.defaults import EVERYBODY, NOBODY
from tests.engine.world import World

REFUSED = "is not shared with its owner"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        world.template = world.add_template(user="root")
        yield world


def share(world: World, **allowed: Any) -> None:
    change = {"allowed": r.literal({**NOBODY, **allowed})}
    world.database.run(r.table("hypervisors_pools").get("default").update(change))


def test_nothing_is_made_or_started_in_a_pool_that_is_not_shared_with_the_owner(
    world: World,
) -> None:
    share(world, **EVERYBODY)
    old = world.add_desktop(world.template)
    share(world, groups=["class-1b"])
    before = world.disk_files()
    new = world.add_desktop(world.template, wait=False)
    image = str(world.data / "images" / "tiny.qcow2")
    template = world.add_domain("template", {"desktop": old})
    base = world.add_domain("template", {"image": image}, user="ben")
    medium = str(uuid.uuid4())
    row = {
        "id": medium,
        "kind": "iso",
        "name": "Tools",
        "user": "ana",
        "source": {"url": "http://127.0.0.1:1/tools.iso"},
        "desired": {"state": "available"},
    }
    world.database.run(r.table("media").insert(row))
    for one in (new, template, base):
        seen = world.wait_for(one, "absent", reason="PoolRefused")
        assert REFUSED in seen["message"]
    world.wait_until(lambda: reason_of(world, medium) == "PoolRefused", "the medium says so")
    world.wish(old, "started")
    seen = world.wait_for(old, "stopped", reason="PoolRefused")
    assert "'Default'" in seen["message"]
    assert world.disk_files() == before
    share(world, groups=["class-1b"], users=["ana"])
    world.wait_for(old, "started")
    world.wait_for(new, "stopped")
    world.wait_until(lambda: reason_of(world, medium) != "PoolRefused", "the medium goes on")
    world.wait_for(base, "absent", reason="PoolRefused")
    world.wish(old, "stopped", force=True)
    world.wait_for(template, "stopped")


def test_a_copy_waits_until_its_owner_may_use_the_pool(world: World) -> None:
    share(world, **EVERYBODY)
    source = world.add_desktop(world.template)
    share(world)
    task = str(uuid.uuid4())
    new = world.add_domain("desktop", {"task": task})
    order = {
        "id": task,
        "kind": "duplicate",
        "target": source,
        "args": {"into": new},
        "desired": {"state": "done"},
    }
    world.database.run(r.table("tasks").insert(order))
    world.wait_until(lambda: reason_of(world, task, "tasks") == "PoolRefused", "the task waits")
    world.wait_for(new, "absent", reason="PoolRefused")
    share(world, groups=["class-1a"])
    world.wait_for(new, "stopped")


def reason_of(world: World, row_id: str, table: str = "media") -> str | None:
    row = world.database.run(r.table(table).get(row_id))
    found: str | None = (row.get("observed") or {}).get("reason")
    return found
