"""kill -9 of the engine or the database in the middle of everything: each wish is still reached.

The moments are spread over the time a step takes, so that the kill hits before, between and after
what the step does. Afterwards libvirt itself and the folder itself are asked: exactly the guests
that should run, exactly the files that should be there, and no wish forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db.connection import r
from db.errors import DatabaseUnavailable
from tests.engine.test_leftovers import wait_swept
from tests.engine.world import World

MOMENTS_S = (0.0, 0.01, 0.03, 0.07, 0.15, 0.3, 0.6)

pytestmark = pytest.mark.long
"""Minutes of kills: tests/e2e/test_killed.py has the short form for every change."""


@pytest.fixture(scope="module")
def survivor() -> Iterator[World]:
    with World(shutdown_timeout_s=15.0) as world:
        world.template = world.add_template()
        yield world


def kill_engine(world: World) -> None:
    world.engine.kill()
    world.restart_engine()


def kill_database(world: World) -> None:
    world.server.kill()
    world.server.start()
    world.wait_until(lambda: answers(world), "the database answers again")


def answers(world: World) -> bool:
    try:
        return world.database.run(r.table("config").get("schema")) is not None
    except DatabaseUnavailable:
        return False


KILLS: dict[str, Callable[[World], None]] = {"engine": kill_engine, "database": kill_database}


def files_of(world: World, *domains: str) -> set[Path]:
    return {path for path in world.disk_files() if any(one in str(path) for one in domains)}


@pytest.mark.parametrize("victim", list(KILLS))
def test_creating(survivor: World, victim: str) -> None:
    world = survivor
    made = []
    for moment_s in MOMENTS_S:
        made.append(world.add_desktop(world.template, wait=False))
        time.sleep(moment_s)
        KILLS[victim](world)
        world.wait_for(made[-1], "stopped")
    for desktop in made:
        assert files_of(world, desktop) == {world.disk_of(desktop)}
        records = world.database.run(r.table("disks").get_all(desktop, index="domain"))
        assert [record["state"] for record in records] == ["made"]
        world.wish(desktop, "deleted")
    for desktop in made:
        world.wait_gone(desktop)


@pytest.mark.parametrize("victim", list(KILLS))
def test_creating_from_an_image(survivor: World, victim: str) -> None:
    world = survivor
    for moment_s in MOMENTS_S[::2]:
        template = world.add_template(wait=False)
        time.sleep(moment_s)
        KILLS[victim](world)
        world.wait_for(template, "stopped")
        assert files_of(world, template) == {world.disk_of(template)}
        world.wish(template, "deleted")
        world.wait_gone(template)
        assert files_of(world, template) == set()


@pytest.mark.parametrize("victim", list(KILLS))
def test_starting_and_stopping(survivor: World, victim: str) -> None:
    world = survivor
    desktop = world.add_desktop(world.template)
    for moment_s in MOMENTS_S:
        world.wish(desktop, "started")
        time.sleep(moment_s)
        KILLS[victim](world)
        seen = world.wait_for(desktop, "started", hypervisor="h1")
        assert world.running() == {desktop}
        console = world.database.run(r.table("consoles").get(desktop))
        assert console["ports"] == seen["viewer"]["ports"]
        world.wish(desktop, "stopped", force=moment_s < 0.1)
        time.sleep(moment_s)
        KILLS[victim](world)
        world.wait_for(desktop, "stopped")
        assert world.running() == set()
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)


@pytest.mark.parametrize("victim", list(KILLS))
def test_deleting_while_it_runs(survivor: World, victim: str) -> None:
    world = survivor
    for moment_s in MOMENTS_S:
        desktop = world.add_desktop(world.template)
        world.wish(desktop, "started")
        world.wait_for(desktop, "started")
        world.wish(desktop, "deleted")
        time.sleep(moment_s)
        KILLS[victim](world)
        world.wait_gone(desktop)
        assert world.running() == set()
        assert files_of(world, desktop) == set()
        wait_swept(world, desktop)


def test_the_deadline_of_a_stop_is_not_prolonged(survivor: World) -> None:
    world = survivor
    desktop = world.add_desktop(world.template)
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    # A guest whose processors stand still does not obey.
    world.host.exec(["virsh", "qemu-monitor-command", "--hmp", desktop, "stop"])
    world.wait_for(desktop, "paused")
    world.host.exec(["virsh", "resume", desktop])
    world.wait_for(desktop, "started")
    pid = world.host.exec(["pgrep", "-f", f"guest={desktop}"]).stdout.split()[0]
    world.wish(desktop, "stopped")
    world.wait_until(lambda: world.observed(desktop).get("activity"), "it is being asked")
    activity = world.observed(desktop)["activity"]
    if activity:
        kill_engine(world)
        again = world.observed(desktop).get("activity")
        assert again is None or again["deadline"] == activity["deadline"]
    world.wait_for(desktop, "stopped")
    assert world.host.exec(["kill", "-0", pid], check=False).returncode != 0
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)


def test_two_engines_take_turns(survivor: World) -> None:
    """The one that stands by takes over within seconds, and the first one back stands by."""
    world = survivor
    desktop = world.add_desktop(world.template)
    first = world.engine
    second = world.start_engine()
    world.wait_until(lambda: "standing_by" in second.log_text(), "the second stands by")
    epoch = world.database.run(r.table("engine").get("lease")["epoch"])
    first.kill()
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    assert world.database.run(r.table("engine").get("lease")["epoch"]) == epoch + 1
    world.engine = second
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)


def test_an_engine_that_slept_too_long_finds_itself_fenced(survivor: World) -> None:
    """SIGSTOP: to the others it is dead, to itself no time has passed."""
    import os
    import signal

    world = survivor
    desktop = world.add_desktop(world.template)
    sleeper = world.engine
    # Another data folder: its lock proves nothing about the sleeper.
    data = world.data
    other = world.folder / "data2"
    other.mkdir(exist_ok=True)
    (other / "ssh").symlink_to(data / "ssh")
    world.data = other
    os.kill(sleeper.pid, signal.SIGSTOP)
    try:
        successor = world.start_engine()
        world.wish(desktop, "started")
        world.wait_for(desktop, "started")
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
        world.data = data
    world.wait_until(lambda: "starting_over" in sleeper.log_text(), "the sleeper starts over")
    world.wait_until(
        lambda: sleeper.log_text().rfind("standing_by") > sleeper.log_text().rfind("starting_over"),
        "the sleeper stands by",
    )
    successor.stop()
    world.wish(desktop, "stopped", force=True)
    world.wait_for(desktop, "stopped")
    assert world.running() == set()


def test_stopping_is_orderly_and_quick(survivor: World) -> None:
    world = survivor
    world.engine.stop(timeout_s=6)
    assert world.engine.process is not None
    assert world.engine.process.returncode == 0
    assert world.database.run(r.table("engine").get("lease")["released"]) is True
    world.restart_engine()
    desktop = world.add_desktop(world.template)
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)
