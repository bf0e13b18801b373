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


def test_maintenance_empties_a_host_and_its_desktops_start_elsewhere(pair: World) -> None:
    world = pair
    mobile, bound = (
        world.add_desktop(world.template, placement=placement)
        for placement in ({"favourite_hypervisor": "h2"}, {"forced_hypervisor": "h2"})
    )
    paused = world.add_desktop(world.template, placement={"forced_hypervisor": "h2"})
    for one in (mobile, bound, paused):
        world.wish(one, "started")
        world.wait_for(one, "started", hypervisor="h2")
    world.wish(paused, "paused")
    world.wait_for(paused, "paused")
    wishes = {one: world.row(one)["desired"] for one in (mobile, bound, paused)}
    wish(world, "h2", "maintenance")
    world.wait_for(mobile, "started", hypervisor="h1")
    waiting = world.wait_for(bound, "stopped", reason="Drained")
    assert "taken out of service" in waiting["message"]
    assert "h2: it is in maintenance" in waiting["message"]
    world.wait_for(paused, "stopped", reason="Drained")
    seen = wait_state(world, "h2", "online", drain={"left": 0, "of": 3, "at": wish_at(world, "h2")})
    assert seen["virtualization"] == "online"
    assert world.running(world.hosts["h2"]) == set()
    assert wishes == {one: world.row(one)["desired"] for one in wishes}, "no wish is rewritten"
    wish(world, "h2", "enabled")
    world.wait_for(bound, "started", hypervisor="h2")
    wait_state(world, "h2", "online", drain=None)
    assert world.observed(paused)["state"] == "stopped", "what is lost of a pause is said, not made"
    for one in (mobile, bound, paused):
        world.wish(one, "deleted")
        world.wait_gone(one)


def test_a_disabled_host_takes_no_new_desktops_and_is_watched_until_it_is_empty(
    pair: World,
) -> None:
    world = pair
    desktop = world.add_desktop(world.template, placement={"forced_hypervisor": "h2"})
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    wish(world, "h2", "disabled")
    other = world.add_desktop(world.template, placement={"forced_hypervisor": "h2"})
    world.wish(other, "started")
    seen = world.wait_for(other, "stopped", reason="NoHypervisor")
    assert "h2: it is disabled" in seen["message"]
    assert world.observed(desktop)["state"] == "started"
    assert seen_of(world, "h2")["state"] == "online"
    # What happens there is still seen, and when the last one is gone nobody asks any more.
    world.hosts["h2"].exec(["virsh", "-q", "destroy", desktop])
    world.wait_for(desktop, "stopped", reason="PoweredOff")
    wait_state(world, "h2", "offline", message="It is disabled.")
    wish(world, "h2", "enabled")
    world.wait_for(other, "started", hypervisor="h2")
    for one in (desktop, other):
        world.wish(one, "deleted")
        world.wait_gone(one)


def test_disable_edit_enable_tries_again_at_once(pair: World) -> None:
    world = pair
    right = world.hosts["h2"].ssh_port
    update(world, "h2", {"port": 1})
    wait_state(world, "h2", "offline", reason="HostUnreachable")
    wish(world, "h2", "disabled")
    wait_state(world, "h2", "offline", message="It is disabled.")
    update(world, "h2", {"port": right})
    wish(world, "h2", "enabled")
    wait_state(world, "h2", "online")


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


def test_a_wish_that_is_none_is_reported(pair: World) -> None:
    world = pair
    right = world.database.run(r.table("hypervisors").get("h2"))["desired"]
    for odd in ("enabled", 5, ["enabled"]):
        update(world, "h2", {"desired": odd})
        seen = wait_state(world, "h2", "error", reason="InvalidRow")
        assert "desired" in seen["message"]
        update(world, "h2", {"desired": r.literal(right)})
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


def test_deleting_by_force_while_the_host_is_away_leaves_a_listed_orphan(pair: World) -> None:
    world = pair
    desktop = world.add_desktop(world.template, placement={"forced_hypervisor": "h2"})
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    disk = world.disk_of(desktop)
    world.hosts["h2"].freeze()
    try:
        world.wait_for(desktop, "unknown")
        world.wish(desktop, "deleted")
        world.wait_for(desktop, "unknown", reason="HostUnreachable")
        world.wish(desktop, "deleted", force=True)
        world.wait_gone(desktop)
        wait_state(world, "h2", "offline")
    finally:
        world.hosts["h2"].thaw()
    orphans = world.database.run(r.table("orphans").filter({"domain": desktop}))
    assert {one["kind"] for one in orphans} == {"domain", "file"}
    assert disk.exists()
    world.wait_online("h2")
    assert desktop in world.running(world.hosts["h2"])
    world.hosts["h2"].exec(["virsh", "-q", "destroy", desktop])


def test_deleting_a_hypervisor_empties_it_first(pair: World) -> None:
    world = pair
    desktop = world.add_desktop(world.template, placement={"favourite_hypervisor": "h2"})
    world.wish(desktop, "started")
    world.wait_for(desktop, "started", hypervisor="h2")
    kept_key = world.data / "ssh" / "hosts" / "h2"
    assert kept_key.is_dir()
    pools = r.table("hypervisors_pools")
    named = {"path": "/srv/own", "disk_operations": ["h1", "h2"]}
    media = pools.get("default")["paths"]["media"]
    before = world.database.run(media)
    listed = {"paths": {"media": [*before, named]}}
    world.database.run(pools.get("default").update(listed))
    wish(world, "h2", "deleted")
    wait_removed(world, "h2")
    world.wait_until(
        lambda: world.database.run(media)[-1] == {**named, "disk_operations": ["h1"]},
        "its name is out of the pool",
    )
    world.database.run(pools.get("default").update({"paths": {"media": before}}))
    world.wait_for(desktop, "started", hypervisor="h1")
    assert world.running(world.hosts["h2"]) == set()
    assert not kept_key.exists()
    world.add_hypervisor(world.hosts["h2"])
    world.wait_online("h2")
    world.wish(desktop, "stopped", force=True)
    world.wait_for(desktop, "stopped")
    world.wish(desktop, "started")
    world.wait_for(desktop, "started", hypervisor="h2")
    # By force nobody is asked: a host that answers has them powered off.
    world.database.run(
        r.table("domains").get(desktop).update({"placement": {"forced_hypervisor": "h2"}})
    )
    wish(world, "h2", "deleted", force=True)
    wait_removed(world, "h2")
    world.wait_for(desktop, "stopped", reason="Drained")
    world.add_hypervisor(world.hosts["h2"])
    world.wait_for(desktop, "started", hypervisor="h2")


def test_deleting_by_force_a_hypervisor_that_is_gone_for_good(pair: World) -> None:
    world = pair
    desktop = world.add_desktop(world.template, placement={"forced_hypervisor": "h2"})
    world.wish(desktop, "started")
    world.wait_for(desktop, "started", hypervisor="h2")
    world.hosts["h2"].crash()
    world.wait_for(desktop, "unknown")
    wish(world, "h2", "deleted")
    wait_state(world, "h2", "offline", reason="HostUnreachable")
    world.wait_until(lambda: (seen_of(world, "h2").get("drain") or {}).get("left"), "it says so")
    wish(world, "h2", "deleted", force=True)
    world.wait_for(desktop, "stopped", reason="HostRestarted")
    wait_removed(world, "h2")
    world.database.run(
        r.table("domains").get(desktop).update({"placement": {"forced_hypervisor": None}})
    )
    world.wish(desktop, "started")
    world.wait_for(desktop, "started", hypervisor="h1")


def wait_removed(world: World, hypervisor: str) -> None:
    world.wait_until(
        lambda: world.database.run(r.table("hypervisors").get(hypervisor)) is None,
        f"{hypervisor} removed",
    )


def wish_at(world: World, hypervisor: str) -> Any:
    return world.database.run(r.table("hypervisors").get(hypervisor)["desired"]["at"])
