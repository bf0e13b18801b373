"""Pools on real hosts: queues, balancers, paths and their owners. Two hosts on one storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from db.connection import r
from db.keys import LONGEST_KEY_BYTES
from tests.engine.world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(hosts=("h1", "h2")) as world:
        world.template = world.add_template()
        yield world


@pytest.fixture
def desktops(world: World) -> Iterator[Callable[..., list[str]]]:
    """Makes desktops, all at once, and deletes them afterwards."""
    made: list[str] = []

    def make(count: int, **more: Any) -> list[str]:
        new = [world.add_desktop(world.template, wait=False, **more) for _ in range(count)]
        for one in new:
            world.wait_for(one, "stopped")
        made.extend(new)
        return new

    yield make
    for one in made:
        world.wish(one, "deleted", force=True)
    for one in made:
        world.wait_gone(one)
    limit(world, h1={}, h2={})


def limit(world: World, **limits: dict[str, Any]) -> None:
    for host, values in limits.items():
        change = {"limits": r.literal(values)}
        world.database.run(r.table("hypervisors").get(host).update(change))


def edit_pool(world: World, **fields: Any) -> None:
    world.database.run(r.table("hypervisors_pools").get("default").update(fields))


def test_who_waits_is_served_in_the_order_of_the_wishes_and_sees_its_place(
    world: World, desktops: Callable[..., list[str]]
) -> None:
    limit(world, h1={"domains": 1}, h2={"domains": 0})
    first, *rest = desktops(4)
    world.wish(first, "started")
    world.wait_for(first, "started", hypervisor="h1")
    for at, one in enumerate(rest, start=1):
        world.wish(one, "started")
        seen = world.wait_for(one, "stopped", reason="NoCapacity")
        assert seen["queue"]["position"] == seen["queue"]["of"] == at
    assert "h1 runs 1 of at most 1" in seen["message"]
    assert "3 of 3" in seen["message"]
    # The second is called off: the third moves up, and is the next to start.
    second, third, fourth = rest
    world.wish(second, "stopped")
    world.wait_until(lambda: place_of(world, third) == (1, 2), "the third is the first now")
    world.wait_until(lambda: place_of(world, fourth) == (2, 2), "the fourth is the second now")
    assert world.observed(second).get("queue") is None
    world.wish(first, "stopped", force=True)
    world.wait_for(third, "started", hypervisor="h1")
    world.wait_until(lambda: place_of(world, fourth) == (1, 1), "the fourth waits alone")
    assert world.observed(third).get("queue") is None
    # A limit that is raised makes room at once, without a restart of anything.
    limit(world, h2={"domains": 1})
    world.wait_for(fourth, "started", hypervisor="h2")


def place_of(world: World, desktop: str) -> tuple[int, int] | None:
    queue = world.observed(desktop).get("queue")
    return (queue["position"], queue["of"]) if queue else None


def test_a_queue_outlives_the_engine(world: World, desktops: Callable[..., list[str]]) -> None:
    limit(world, h1={"domains": 0}, h2={"domains": 0})
    first, second = desktops(2)
    for one in (first, second):
        world.wish(one, "started")
        world.wait_for(one, "stopped", reason="NoCapacity")
    world.engine.kill()
    limit(world, h1={"domains": 1})
    world.restart_engine()
    world.wait_for(first, "started", hypervisor="h1")
    world.wait_until(lambda: place_of(world, second) == (1, 1), "the second still waits")


def test_a_pools_balancer_is_chosen_while_everything_runs(
    world: World, desktops: Callable[..., list[str]]
) -> None:
    edit_pool(world, balancer="weighted")
    limit(world, h1={"weight": 300}, h2={"weight": 100})
    some = desktops(8)
    for one in some:
        world.wish(one, "started")
    for one in some:
        world.wait_for(one, "started")
    hosts = Counter(world.observed(one)["hypervisor"] for one in some)
    assert hosts == {"h1": 6, "h2": 2}
    edit_pool(world, balancer="free_memory")


def test_a_desktop_forced_to_a_host_that_is_off_waits_with_a_reason(
    world: World, desktops: Callable[..., list[str]]
) -> None:
    set_state(world, "h2", "disabled")
    (forced,) = desktops(1, placement={"forced_hypervisor": "h2"})
    (favourite,) = desktops(1, placement={"favourite_hypervisor": "h2"})
    world.wish(forced, "started")
    world.wish(favourite, "started")
    seen = world.wait_for(forced, "stopped", reason="NoHypervisor")
    assert "'h2'" in seen["message"]
    world.wait_for(favourite, "started", hypervisor="h1")
    set_state(world, "h2", "enabled")
    world.wait_for(forced, "started", hypervisor="h2")


def set_state(world: World, host: str, state: str) -> None:
    change = {"desired": {"state": state, "at": r.now()}}
    world.database.run(r.table("hypervisors").get(host).update(change))


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"domains": -1}, "limits.domains"),
        ({"memory_ratio": 0}, "limits.memory_ratio"),
        ({"memory_ration": 2}, "limits.memory_ration"),
        ({"vcpus": "many"}, "limits.vcpus"),
    ],
)
def test_wrong_limits_are_reported_by_field(
    world: World, limits: dict[str, Any], field: str
) -> None:
    limit(world, h2=limits)

    def is_reported() -> bool:
        seen = world.database.run(r.table("hypervisors").get("h2"))["observed"]
        return seen.get("reason") == "InvalidRow" and field in seen.get("message", "")

    world.wait_until(is_reported, f"{field} is reported")
    limit(world, h2={})
    world.wait_online("h2")


def test_with_wrong_limits_a_host_takes_nothing_new_and_lets_nothing_go(
    world: World, desktops: Callable[..., list[str]]
) -> None:
    running, waiting = desktops(2, placement={"forced_hypervisor": "h2"})
    world.wish(running, "started")
    world.wait_for(running, "started", hypervisor="h2")
    limit(world, h2={"vcpus": "many"})
    world.wait_until(lambda: host_reason(world, "h2") == "InvalidRow", "it is told of the host")
    world.wish(waiting, "started")
    seen = world.wait_for(waiting, "stopped", reason="NoHypervisor")
    assert "h2: the row's field 'limits.vcpus' is wrong" in seen["message"]
    world.engine.kill()
    world.restart_engine()
    world.wait_online("h2")
    world.wait_for(running, "started", hypervisor="h2")
    assert host_reason(world, "h2") == "InvalidRow"
    limit(world, h2={})
    world.wait_for(waiting, "started", hypervisor="h2")
    world.wait_until(lambda: host_reason(world, "h2") is None, "nothing is told of it any more")


def host_reason(world: World, host: str) -> str | None:
    observed = world.database.run(r.table("hypervisors").get(host))["observed"]
    return str(observed["reason"]) if observed.get("reason") else None


def pool_of(world: World) -> dict[str, Any]:
    row = world.database.run(r.table("hypervisors_pools").get("default"))
    return dict(row.get("observed") or {})


def path_of(world: World, use: str) -> dict[str, Any]:
    paths = pool_of(world).get("paths") or []
    return next((dict(one) for one in paths if one["use"] == use), {})


def test_a_pool_reports_its_storage_and_proves_that_it_is_the_same(
    world: World, desktops: Callable[..., list[str]]
) -> None:
    desktops(2)
    world.wait_until(
        lambda: path_of(world, "groups").get("same_storage") is True, "both hosts have the same"
    )
    seen = path_of(world, "groups")
    assert [(one["id"], one["ok"]) for one in seen["hosts"]] == [("h1", True), ("h2", True)]
    assert 0 < seen["free_bytes"] <= seen["size_bytes"]
    check_another_storage_on_one_host(world, desktops, "groups")


def test_a_host_that_does_not_see_the_template_makes_no_desktop_of_it(
    world: World, desktops: Callable[..., list[str]]
) -> None:
    check_another_storage_on_one_host(world, desktops, "templates")


def check_another_storage_on_one_host(
    world: World, desktops: Callable[..., list[str]], use: str
) -> None:
    storage = str(world.folder / "storage" / use)
    h2 = world.hosts["h2"]
    h2.exec(["mount", "-t", "tmpfs", "tmpfs", storage])
    try:
        world.wait_until(lambda: path_of(world, use).get("state") == "degraded", "h2 is found out")
        seen = path_of(world, use)
        assert seen["same_storage"] is False
        assert "h2" in seen["message"]
        assert storage in seen["remedy"]
        # Work goes on over the other owner, for old disks and for new ones.
        some = desktops(3)
        assert all(world.disk_of(one).is_file() for one in some)
    finally:
        h2.exec(["umount", storage])
    world.wait_until(lambda: path_of(world, use).get("state") == "ok", "it is well again")


def test_a_path_is_added_and_removed_while_everything_runs(
    world: World, desktops: Callable[..., list[str]]
) -> None:
    before = paths_now(world)
    (runs,) = desktops(1)
    world.wish(runs, "started")
    started_at = world.wait_for(runs, "started")["started_at"]
    fast = world.folder / "storage" / "nvme"
    edit_pool(world, paths={**before, "groups": [{"path": str(fast)}]})
    (one,) = desktops(1)
    assert world.disk_of(one).is_relative_to(fast)
    edit_pool(world, paths=before)
    world.wish(one, "started")
    seen = world.wait_for(one, "stopped", reason="PathRemoved")
    assert str(fast) in seen["message"]
    world.wait_until(
        lambda: pool_of(world).get("removed") == [{"path": str(fast), "disks": 1}],
        "the pool says that a disk lies there",
        timeout_s=70,
    )
    edit_pool(world, paths={**before, "groups": [*before["groups"], {"path": str(fast)}]})
    world.wait_for(one, "started")
    assert world.observed(runs)["started_at"] == started_at, "nobody else noticed"
    world.wish(one, "deleted", force=True)
    world.wait_gone(one)
    edit_pool(world, paths=before)


def test_a_path_of_many_letters_is_used_and_searched_as_any_other(world: World) -> None:
    before = paths_now(world)
    long = world.folder / "storage" / "/".join(["a-school-with-a-long-name"] * 6)
    assert len(str(long)) > LONGEST_KEY_BYTES
    edit_pool(world, paths={**before, "groups": [{"path": str(long)}]})
    left = world.add_desktop(world.template)
    disk = world.disk_of(left)
    assert disk.is_relative_to(long)
    world.database.run(r.table("orphans").insert({"id": [["a script's"]], "kind": "file"}))
    world.database.run(r.table("domains").get(left).delete())
    orphans = r.table("orphans").filter({"path": str(disk)}).count()
    world.wait_until(lambda: world.database.run(orphans) == 1, "it is listed", timeout_s=150)
    wish = {"desired": {"state": "removed", "at": r.now()}}
    world.database.run(r.table("orphans").filter({"path": str(disk)}).update(wish))
    world.wait_until(lambda: world.database.run(orphans) == 0, "it is gone", timeout_s=60)
    assert not disk.exists()
    edit_pool(world, paths=before)
    world.wait_online("h1")


def paths_now(world: World) -> dict[str, Any]:
    return dict(world.database.run(r.table("hypervisors_pools").get("default")["paths"]))


def test_paths_that_lie_in_each_other_are_reported_and_nothing_is_made_there(
    world: World, desktops: Callable[..., list[str]]
) -> None:
    before = paths_now(world)
    inside = str(world.folder / "storage" / "groups" / "deep")
    edit_pool(world, paths={**before, "media": [{"path": inside}]})
    world.wait_until(lambda: pool_of(world).get("reason") == "InvalidRow", "the row is judged")
    assert "paths.media.0.path" in pool_of(world)["message"]
    waits = world.add_desktop(world.template, wait=False)
    world.wait_until(lambda: world.observed(waits).get("reason") == "NoDiskHost", "it waits")
    assert "lie in each other" in world.observed(waits)["message"]
    edit_pool(world, paths=before)
    world.wait_for(waits, "stopped")
    world.wish(waits, "deleted")
    world.wait_gone(waits)


def test_with_one_of_two_disk_hosts_dead_work_goes_on_over_the_other(
    world: World, desktops: Callable[..., list[str]]
) -> None:
    world.hosts["h2"].crash()
    try:
        some = desktops(4)
        world.wish(some[0], "started")
        world.wait_for(some[0], "started", hypervisor="h1")
        world.wait_until(
            lambda: path_of(world, "groups").get("state") == "degraded", "the pool says so"
        )
        assert "h2 is not connected" in pool_of(world)["message"]
    finally:
        world.hosts["h2"] = world.lab.restart(world.hosts["h2"])
    world.wait_online("h2")
