"""Hypervisors come, go, hang and are edited; the others and their desktops do not notice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from db.connection import r
from tests.engine.world import World


def seen_of(world: World, hypervisor: str) -> dict[str, Any]:
    row = world.database.run(r.table("hypervisors").get(hypervisor))
    return dict(row.get("observed") or {}) if row else {}


def update(world: World, hypervisor: str, change: dict[str, Any]) -> None:
    world.database.run(r.table("hypervisors").get(hypervisor).update(change))


def wish(world: World, hypervisor: str, state: str, **more: Any) -> None:
    update(world, hypervisor, {"desired": {"state": state, "at": r.now(), **more}})


def wait_state(world: World, hypervisor: str, state: str, **fields: Any) -> dict[str, Any]:
    def is_there() -> bool:
        seen = seen_of(world, hypervisor)
        return seen.get("state") == state and all(seen.get(k) == v for k, v in fields.items())

    world.wait_until(is_there, f"{hypervisor} {state} {fields}")
    return seen_of(world, hypervisor)


@pytest.fixture(scope="module")
def pair() -> Iterator[World]:
    """Two hosts on one storage."""
    with World(hosts=("h1", "h2")) as world:
        world.template = world.add_template()
        yield world


def test_a_host_that_hangs_delays_no_other(pair: World) -> None:
    world = pair
    desktop = world.add_desktop(world.template, placement={"forced_hypervisor": "h2"})
    world.wish(desktop, "started")
    world.wait_for(desktop, "started", hypervisor="h2")
    world.hosts["h2"].freeze()
    try:
        other = world.add_desktop(world.template, wait=False, placement={"forced_hypervisor": "h1"})
        world.wish(other, "started")
        world.wait_for(other, "started", timeout_s=20, hypervisor="h1")
        world.wish(desktop, "stopped")
        world.wait_for(desktop, "unknown", reason="HostUnreachable")
        wait_state(world, "h2", "offline")
    finally:
        world.hosts["h2"].thaw()
    world.wait_online("h2")
    world.wait_for(desktop, "stopped")
    world.wish(other, "deleted")
    world.wait_gone(other)


def test_a_desktop_waits_for_room_and_starts_when_there_is_some(pair: World) -> None:
    world = pair
    for host in ("h1", "h2"):
        update(world, host, {"limits": {"domains": 1}})
        wait_state(world, host, "online")
    first, second, third = (world.add_desktop(world.template) for _ in range(3))
    for one in (first, second):
        world.wish(one, "started")
        world.wait_for(one, "started")
    assert {world.observed(one)["hypervisor"] for one in (first, second)} == {"h1", "h2"}
    world.wish(third, "started")
    seen = world.wait_for(third, "stopped", reason="NoCapacity")
    assert "h1" in seen["message"]
    assert "h2" in seen["message"]
    world.wish(first, "stopped", force=True)
    world.wait_for(third, "started")
    for host in ("h1", "h2"):
        update(world, host, {"limits": r.literal({})})
        wait_state(world, host, "online")
    for one in (first, second, third):
        world.wish(one, "deleted")
        world.wait_gone(one)


def test_maintenance_takes_no_new_desktops_and_disturbs_none(pair: World) -> None:
    world = pair
    desktop = world.add_desktop(world.template, placement={"forced_hypervisor": "h2"})
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    wish(world, "h2", "maintenance")
    other = world.add_desktop(world.template, placement={"forced_hypervisor": "h2"})
    world.wish(other, "started")
    seen = world.wait_for(other, "stopped", reason="NoHypervisor")
    assert "h2" in seen["message"]
    assert desktop in world.running(world.hosts["h2"])
    wish(world, "h2", "enabled")
    world.wait_for(other, "started", hypervisor="h2")
    for one in (desktop, other):
        world.wish(one, "deleted")
        world.wait_gone(one)


def test_a_disabled_host_is_not_asked_and_comes_back(pair: World) -> None:
    world = pair
    desktop = world.add_desktop(world.template, placement={"forced_hypervisor": "h2"})
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    wish(world, "h2", "disabled")
    wait_state(world, "h2", "offline")
    world.wait_for(desktop, "unknown")
    wish(world, "h2", "enabled")
    wait_state(world, "h2", "online")
    world.wait_for(desktop, "started", hypervisor="h2")
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)


def test_a_changed_host_key_is_refused_and_shown(pair: World) -> None:
    world = pair
    right = world.hosts["h2"].host_key
    update(world, "h2", {"host_key": world.hosts["h1"].host_key})
    seen = wait_state(world, "h2", "error", reason="HostKeyChanged")
    assert seen["host_key_offered"] == right
    failed = next(check for check in seen["checks"] if not check["ok"])
    assert failed["name"] == "host_key"
    assert failed["remedy"]
    update(world, "h2", {"host_key": right})
    wait_state(world, "h2", "online")


def test_nonsense_in_a_hypervisors_row_is_reported(pair: World) -> None:
    world = pair
    update(world, "h2", {"port": "twenty-two"})
    seen = wait_state(world, "h2", "error", reason="InvalidRow")
    assert "port" in seen["message"]
    update(world, "h2", {"port": world.hosts["h2"].ssh_port})
    wait_state(world, "h2", "online")


def test_storage_that_is_not_mounted_loses_nothing(pair: World) -> None:
    world = pair
    desktop = world.add_desktop(world.template)
    groups = world.folder / "storage" / "groups"
    hidden = world.folder / "storage" / "groups-unmounted"
    groups.rename(hidden)
    groups.mkdir(mode=0o755)
    try:
        world.wish(desktop, "started")
        failure = world.wait_failure(desktop, "WrongStorage")
        assert failure["terminal"] is False
        new = world.add_desktop(world.template, wait=False)
        world.wait_failure(new, "WrongStorage")
        assert not list(groups.rglob("*.qcow2"))
    finally:
        for left in groups.iterdir():
            assert left.name.startswith(".isard"), left
        groups.rename(world.folder / "storage" / "groups-empty")
        hidden.rename(groups)
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    world.wish(new, "stopped")
    world.wait_for(new, "stopped")
    for one in (desktop, new):
        world.wish(one, "deleted")
        world.wait_gone(one)


def test_deleting_by_force_while_the_host_is_away_leaves_a_listed_orphan(world: World) -> None:
    template = world.add_template()
    desktop = world.add_desktop(template)
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    disk = world.disk_of(desktop)
    wish(world, "h1", "disabled")
    world.wait_for(desktop, "unknown")
    world.wish(desktop, "deleted")
    world.wait_for(desktop, "unknown", reason="HostUnreachable")
    world.wish(desktop, "deleted", force=True)
    world.wait_gone(desktop)
    orphans = world.database.run(r.table("orphans"))
    assert {(one["kind"], one["domain"]) for one in orphans} == {
        ("domain", desktop),
        ("file", desktop),
    }
    assert disk.exists()
    wish(world, "h1", "enabled")
    wait_state(world, "h1", "online")
    assert desktop in world.running()


def test_a_hypervisor_is_deleted_when_nothing_is_on_it(pair: World) -> None:
    world = pair
    desktop = world.add_desktop(world.template, placement={"forced_hypervisor": "h2"})
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    wish(world, "h2", "deleted")
    wait_state(world, "h2", "offline", reason="InUse")
    world.wish(desktop, "stopped")
    world.wait_for(desktop, "stopped")
    world.wait_until(
        lambda: world.database.run(r.table("hypervisors").get("h2")) is None, "h2 removed"
    )
    world.add_hypervisor(world.hosts["h2"])
    world.wait_online("h2")
    world.wish(desktop, "started")
    world.wait_for(desktop, "started", hypervisor="h2")
    # Gone for good, says its administrator: what ran there is down, and may run elsewhere.
    world.hosts["h2"].crash()
    world.wait_for(desktop, "unknown")
    wish(world, "h2", "deleted", force=True)
    world.wait_for(desktop, "stopped", reason="HostRestarted")
    world.wait_until(
        lambda: world.database.run(r.table("hypervisors").get("h2")) is None, "h2 removed"
    )
    world.database.run(
        r.table("domains").get(desktop).update({"placement": {"forced_hypervisor": None}})
    )
    world.wish(desktop, "started")
    world.wait_for(desktop, "started", hypervisor="h1")
