"""How a desktop comes to be: what is written of it, when, and by how many visits."""

from __future__ import annotations

import contextlib
import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rethinkdb.errors import ReqlDriverError

from db.connection import r
from tests.engine.world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Its engine tells of every visit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISARD_LOG_LEVEL", "debug")
        with World() as running:
            running.template = running.add_template()
            yield running


def follow(world: World, query: Any) -> Callable[[], list[dict[str, Any]]]:
    """Starts to follow a feed; what is called afterwards gives the new values seen so far."""
    connection = world.database.connect()
    feed, seen = query.changes().run(connection), queue.SimpleQueue[dict[str, Any]]()

    def read() -> None:
        with contextlib.suppress(ReqlDriverError):  # the server ends before we do
            for change in feed:
                seen.put(change["new_val"])

    threading.Thread(target=read, daemon=True).start()
    kept: list[dict[str, Any]] = []

    def values() -> list[dict[str, Any]]:
        while not seen.empty():
            kept.append(seen.get())
        return kept

    return values


def test_a_desktop_is_made_with_two_writes_of_each_row(world: World) -> None:
    """The first says, before there is a file, what it will be built upon; the second what is."""
    desktop = str(uuid.uuid4())
    rows = follow(world, r.table("domains").get(desktop))
    records = follow(world, r.table("disks").get_all(desktop, index="domain"))
    world.add_desktop(world.template, id=desktop)
    world.wait_until(lambda: len(records()) >= 2, "both records seen")
    template_disk = str(world.disk_of(world.template))
    told = [(record["state"], record["backing"]) for record in records()]
    assert told == [("making", template_disk), ("made", template_disk)]
    observed = [row["observed"] for row in rows() if row and row.get("observed")]
    assert [(one["state"], bool(one["activity"])) for one in observed] == [
        ("absent", True),
        ("stopped", False),
    ]
    assert observed[0]["at"] <= records()[1]["at"] <= observed[1]["at"]
    assert observed[1]["disks"][0]["backing"] == template_disk


def test_a_desktop_wished_started_at_once_is_made_and_started(world: World) -> None:
    desktop = world.add_desktop(world.template, wait=False, desired={"state": "started"})
    world.wait_for(desktop, "started")
    world.wish(desktop, "stopped", force=True)
    world.wait_for(desktop, "stopped")


def test_a_new_desktop_goes_straight_to_the_host_that_makes_its_disks(world: World) -> None:
    desktop = world.add_desktop(world.template)
    done = f"event=reconciled key=domain/{desktop} lane="
    world.wait_until(lambda: done in world.log_text(), "a visit told in the log")
    assert world.log_text().partition(done)[2].split()[0] == "disks/h1"
