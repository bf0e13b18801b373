"""The database is an open door: what scripts may do, and what nonsense they may write."""

from __future__ import annotations

from typing import Any

import pytest

from db.connection import r
from db.states import condition_of
from tests.engine.world import World


def update(world: World, domain_id: str, change: dict[str, Any]) -> None:
    answer = world.database.run(r.table("domains").get(domain_id).update(change))
    assert answer["errors"] == 0, answer


def test_one_line_starts_a_whole_class(shared_world: World) -> None:
    world = shared_world
    desktops = [world.add_desktop(world.template, group="class-9z") for _ in range(3)]
    other = world.add_desktop(world.template)
    world.database.run(
        r.table("domains")
        .get_all("class-9z", index="group")
        .update({"desired": {"state": "started", "at": r.now()}})
    )
    for desktop in desktops:
        world.wait_for(desktop, "started")
    assert set(desktops) <= world.running()
    assert world.observed(other)["state"] == "stopped"
    world.database.run(
        r.table("domains")
        .get_all("class-9z", index="group")
        .update({"desired": {"state": "deleted", "force": True}})
    )
    for desktop in desktops:
        world.wait_gone(desktop)


def test_a_wish_without_a_time_counts_when_the_state_changes(shared_world: World) -> None:
    world = shared_world
    desktop = world.add_desktop(world.template)
    update(world, desktop, {"desired": {"state": "started"}})
    world.wait_for(desktop, "started")
    update(world, desktop, {"desired": {"state": "stopped", "force": True}})
    world.wait_for(desktop, "stopped")


def test_a_desktop_inserted_before_its_template_waits_for_it(shared_world: World) -> None:
    world = shared_world
    template = "33333333-3333-4333-8333-333333333333"
    desktop = world.add_desktop(template, wait=False)
    world.wait_for(desktop, "absent", reason="ParentNotReady")
    assert template in world.observed(desktop)["message"]
    world.add_template(id=template)
    world.wait_for(desktop, "stopped", timeout_s=10, reason=None)


def test_forcing_overrides_a_polite_stop_at_once(shared_world: World) -> None:
    world = shared_world
    desktop = world.add_desktop(world.template)
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    world.host.exec(["virsh", "suspend", desktop])
    world.wait_for(desktop, "paused")
    world.host.exec(["virsh", "resume", desktop])
    world.wait_for(desktop, "started")
    world.wish(desktop, "stopped")
    world.wish(desktop, "stopped", force=True)
    seen = world.wait_for(desktop, "stopped", timeout_s=10)
    assert seen["for"]["state"] == "stopped"


def test_pausing_and_resuming(shared_world: World) -> None:
    world = shared_world
    desktop = world.add_desktop(world.template)
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    world.wish(desktop, "paused")
    world.wait_for(desktop, "paused")
    assert world.host.exec(["virsh", "domstate", desktop]).stdout.strip() == "paused"
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    world.wish(desktop, "paused")
    world.wait_for(desktop, "paused")
    world.wish(desktop, "stopped")
    world.wait_for(desktop, "stopped")


NONSENSE: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown state": ({"desired": {"state": "exploded"}}, "desired.state"),
    "a wish that is no object": ({"desired": "started"}, "desired"),
    "a negative number of processors": ({"spec": {"vcpus": -1}}, "spec.vcpus"),
    "markup in the name": ({"name": "<script>alert(1)</script>"}, "name"),
    "a disk id that climbs out of the pool": (
        {"spec": {"disks": [{"id": "../../etc/passwd"}]}},
        "spec.disks.0.id",
    ),
    "two origins": ({"origin": {"image": "/etc/passwd"}}, "origin"),
}


@pytest.mark.parametrize("name", list(NONSENSE))
def test_nonsense_is_reported_on_the_row_and_nothing_is_lost(
    shared_world: World, name: str
) -> None:
    world = shared_world
    change, field = NONSENSE[name]
    desktop = world.add_desktop(world.template)
    before, disk = world.row(desktop), world.disk_of(desktop)
    update(world, desktop, change)
    failure = world.wait_failure(desktop, "InvalidRow")
    assert failure["step"] == field
    assert field in failure["message"]
    seen = world.observed(desktop)
    assert (seen["state"], seen["disks"]) == ("stopped", before["observed"]["disks"])
    assert disk.exists()
    # Made right again, it goes on where it was.
    world.database.run(
        r.table("domains")
        .get(desktop)
        .replace(
            {
                **world.row(desktop),
                **{key: before[key] for key in ("desired", "spec", "name", "origin")},
            }
        )
    )
    world.wait_for(desktop, "stopped", failure=None)


@pytest.mark.parametrize(
    "nonsense",
    [{}, "text", 7, [1], {"state": "exploded", "epoch": "x", "hypervisor": 5, "disks": "none"}],
    ids=["emptied", "text", "number", "list", "mangled"],
)
def test_a_mangled_observed_is_healed(shared_world: World, nonsense: Any) -> None:
    world = shared_world
    running = world.add_desktop(world.template)
    world.wish(running, "started")
    world.wait_for(running, "started")
    stopped = world.add_desktop(world.template)
    before = {one: world.observed(one) for one in (running, stopped)}
    files = world.disk_files()
    for one in (running, stopped):
        update(world, one, {"observed": r.literal(nonsense)})
    for one, state in ((running, "started"), (stopped, "stopped")):
        seen = world.wait_for(one, state)
        for key in ("hypervisor", "disks", "interfaces", "failure"):
            assert seen[key] == before[one][key], key
    assert world.disk_files() == files
    assert running in world.running()
    world.wish(running, "stopped", force=True)
    world.wait_for(running, "stopped")


def test_an_epoch_from_the_future_fences_nobody(shared_world: World) -> None:
    world = shared_world
    desktop = world.add_desktop(world.template)
    update(world, desktop, {"observed": {"epoch": 999999}})
    world.wish(desktop, "started")
    seen = world.wait_for(desktop, "started")
    assert seen["epoch"] == 1
    assert world.engine.is_running()
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)


def test_a_missing_disk_is_never_made_anew(shared_world: World) -> None:
    world = shared_world
    desktop = world.add_desktop(world.template)
    disk = world.disk_of(desktop)
    disk.unlink()
    world.wish(desktop, "started")
    failure = world.wait_failure(desktop, "DiskMissing")
    assert failure["terminal"] is True
    assert condition_of(world.row(desktop)) == "failed"
    update(world, desktop, {"observed": r.literal({})})
    world.wish(desktop, "started")
    world.wait_failure(desktop, "DiskMissing")
    assert not disk.exists()
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)


def test_no_disk_is_made_while_ledger_or_observed_know_of_one(shared_world: World) -> None:
    world = shared_world
    desktop = world.add_desktop(world.template)
    disk = world.disk_of(desktop)
    disk.unlink()
    world.database.run(r.table("disks").get_all(desktop, index="domain").delete())
    world.wish(desktop, "started")
    world.wait_failure(desktop, "DiskMissing")
    assert not disk.exists()
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)


def test_an_image_from_elsewhere_is_refused(shared_world: World) -> None:
    world = shared_world
    template = world.add_domain("template", {"image": "/etc/passwd"})
    failure = world.wait_failure(template, "InvalidRow")
    assert failure["terminal"] is True
    world.wish(template, "deleted")
    world.wait_gone(template)


def test_a_template_in_use_is_not_deleted(shared_world: World) -> None:
    world = shared_world
    template = world.add_template()
    desktop = world.add_desktop(template)
    world.wish(template, "deleted")
    failure = world.wait_failure(template, "InUse")
    assert failure["terminal"] is True
    assert "1 other domain" in failure["message"]
    assert world.disk_of(template).exists()
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)
    world.wish(template, "deleted")
    world.wait_gone(template)


def test_template_and_desktops_deleted_together_go_in_the_right_order(shared_world: World) -> None:
    world = shared_world
    template = world.add_template()
    desktops = [world.add_desktop(template) for _ in range(2)]
    for one in (*desktops, template):
        world.wish(one, "deleted")
    for one in (*desktops, template):
        world.wait_gone(one)


def test_an_empty_disk_and_a_second_one(shared_world: World) -> None:
    world = shared_world
    spec = {"memory_mib": 16, "disks": [{}, {"id": "data", "size_gib": 0.25}]}
    desktop = world.add_desktop(world.template, spec=spec)
    disks = world.observed(desktop)["disks"]
    assert [disk["id"] for disk in disks] == ["disk0", "data"]
    assert disks[1]["size"] == 2**28
    # A disk added later is made before the next start; the others stay as they are.
    more = {**spec, "disks": [*spec["disks"], {"id": "more", "size_gib": 0.125}]}  # type: ignore[misc]
    update(world, desktop, {"spec": r.literal(more)})
    world.wish(desktop, "started")
    seen = world.wait_for(desktop, "started")
    assert [disk["id"] for disk in seen["disks"]] == ["disk0", "data", "more"]
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)
    assert not [path for path in world.disk_files() if desktop in str(path)]


def test_rows_with_odd_ids_stop_nothing(shared_world: World) -> None:
    world = shared_world
    for odd in (5, "not-a-uuid", True, ["a", 1]):
        world.database.run(
            r.table("domains").insert(
                {"id": odd, "kind": "desktop", "desired": {"state": "started"}}
            )
        )
    world.wait_until(
        lambda: (
            all(
                (world.database.run(r.table("domains").get(odd))["observed"]["failure"]["reason"])
                == "InvalidRow"
                for odd in (5, "not-a-uuid", True)
                if "observed" in world.database.run(r.table("domains").get(odd))
            )
            and "observed" in world.database.run(r.table("domains").get(5))
        ),
        "odd ids are reported",
    )
    desktop = world.add_desktop(world.template)
    for odd in (5, "not-a-uuid", True, ["a", 1]):
        world.database.run(r.table("domains").get(odd).delete())
    world.wish(desktop, "deleted")
    world.wait_gone(desktop)
