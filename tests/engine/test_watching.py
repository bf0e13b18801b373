"""What the engine keeps of hosts and guests while they run: windows, viewers, and their end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from db.connection import r
from db.windows import DOMAIN_METRICS, HYPERVISOR_METRICS
from tests.engine.world import World
from tests.lab.host import ENTER_ALL

LOOK = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20):
    sys.stdin.read()
"""
"""A viewer that is connected to a console until it is ended."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as running:
        running.template = running.add_template()
        yield running


def start(world: World) -> str:
    desktop = world.add_desktop(world.template)
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    return desktop


def points_of(world: World, table: str, index: str, subject: str) -> list[dict[str, Any]]:
    """The points of the finest window by metric, oldest first."""
    rows = world.database.run(
        r.table(table).get_all(subject, index=index).filter({"window": "10m"}).order_by("id")
    )
    return [
        {"at": point[0], **dict(zip(row["metrics"], point[1:], strict=True))}
        for row in rows
        for point in row["points"]
    ]


def test_a_running_guest_and_its_host_have_points_that_grow(world: World) -> None:
    desktop = start(world)

    def points() -> list[dict[str, Any]]:
        return points_of(world, "domain_windows", "domain", desktop)

    world.wait_until(lambda: len(points()) >= 3, "three points of the guest")
    *_, last = points()
    assert set(last) == {"at", *DOMAIN_METRICS}
    assert last["cpu_percent"] >= 0
    assert last["resident_mib"] > 0
    assert last["viewers"] == 0
    assert [one["at"] for one in points()] == sorted({one["at"] for one in points()})
    *_, host = points_of(world, "hypervisor_windows", "hypervisor", "h1")
    assert set(host) == {"at", *HYPERVISOR_METRICS}
    assert 0 <= host["cpu_percent"] <= 100
    assert 0 < host["memory_used_mib"] < host["memory_mib"]
    assert host["domains"] >= 1
    assert world.database.run(r.table("hypervisor_stats").get("h1"))["look_ms"] > 0
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)
    world.wait_until(lambda: not points(), "its windows go with the desktop")
    events = world.database.run(
        r.table("events").get_all(f"domain/{desktop}", index="target").order_by("at")
    )
    told = {event["what"]: event["detail"] for event in events}
    assert list(told)[:2] == ["domain.made", "domain.started"]
    assert list(told)[-1] == "domain.deleted"
    assert (told["domain.started"]["by"], told["domain.started"]["hypervisor"]) == ("script", "h1")


def test_who_looks_at_a_screen_is_counted_and_no_more_once_gone(world: World) -> None:
    desktop = start(world)
    port = world.observed(desktop)["viewer"]["ports"]["vnc"]

    def viewers() -> Any:
        latest = world.database.run(r.table("domain_stats").get(desktop)) or {}
        return latest.get("viewers")

    enter = ["nsenter", "-t", str(world.host.init_pid), *ENTER_ALL]
    with subprocess.Popen(
        [*enter, sys.executable, "-c", LOOK, str(port)], stdin=subprocess.PIPE
    ) as viewer:
        try:
            world.wait_until(lambda: viewers() == 1, "the viewer is counted")
        finally:
            viewer.kill()
    world.wait_until(lambda: viewers() == 0, "the viewer is gone")


def test_what_is_too_old_goes(world: World) -> None:
    old = {"id": f"10m/{int(time.time()) - 3600:012d}/h1", "hypervisor": "h1", "window": "10m"}
    world.database.run(r.table("hypervisor_windows").insert(old))
    event = {"id": "old", "at": r.now() - 400 * 86400, "who": "x", "what": "y", "target": "z"}
    world.database.run(r.table("events").insert(event))

    def is_gone() -> bool:
        row = world.database.run(r.table("hypervisor_windows").get(old["id"]))
        return row is None and world.database.run(r.table("events").get("old")) is None

    world.wait_until(is_gone, "the old rows go", timeout_s=120.0)
