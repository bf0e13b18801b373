"""What guests and their hosts do by themselves, and what the row says about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from db.connection import r
from tests.engine.world import World


def start(world: World, **more: object) -> str:
    desktop = world.add_desktop(world.template, **more)
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")
    return desktop


def test_a_guest_shut_down_from_inside_stays_down(shared_world: World) -> None:
    world = shared_world
    desktop = start(world)

    def is_down() -> bool:
        world.host.exec(["virsh", "-q", "shutdown", desktop], check=False)
        return world.observed(desktop)["state"] == "stopped"

    world.wait_until(is_down, "the guest obeys its button")
    seen = world.wait_for(desktop, "stopped", reason="GuestShutdown")
    assert seen["for"]["state"] == "started"
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")


def test_a_guest_powered_off_on_its_host_says_so(shared_world: World) -> None:
    world = shared_world
    desktop = start(world)
    world.host.exec(["virsh", "destroy", desktop])
    world.wait_for(desktop, "stopped", reason="PoweredOff")


def test_a_guest_that_crashes_is_started_again_where_that_is_wished(shared_world: World) -> None:
    world = shared_world
    desktop = start(world, restart_on_failure=True)
    started_at = datetime.now(UTC) - timedelta(minutes=5)
    world.database.run(
        r.table("domains").get(desktop).update({"observed": {"started_at": started_at}})
    )
    before = world.host.exec(["pgrep", "-f", f"guest={desktop}"]).stdout.split()[0]
    world.host.exec(["kill", "-KILL", before])
    world.wait_until(
        lambda: world.observed(desktop).get("started_at", started_at) > started_at,
        "it is started again",
    )
    seen = world.wait_for(desktop, "started")
    assert seen["hypervisor"] == "h1"


def test_a_guest_that_crashes_stays_down_otherwise(shared_world: World) -> None:
    world = shared_world
    desktop = start(world)
    pid = world.host.exec(["pgrep", "-f", f"guest={desktop}"]).stdout.split()[0]
    world.host.exec(["kill", "-KILL", pid])
    world.wait_for(desktop, "stopped", reason="GuestCrashed")


def test_a_guest_that_ignores_the_button_is_powered_off_at_the_deadline() -> None:
    with World(shutdown_timeout_s=2.0) as world:
        template = world.add_template()
        desktop = world.add_desktop(template)
        world.wish(desktop, "started")
        world.wait_for(desktop, "started")
        # A guest whose processors stand still obeys nothing.
        pid = world.host.exec(["pgrep", "-f", f"guest={desktop}"]).stdout.split()[0]
        world.host.exec(["virsh", "qemu-monitor-command", "--hmp", desktop, "stop"])
        world.host.exec(["virsh", "-q", "domstate", desktop])
        world.wish(desktop, "stopped")
        world.wait_for(desktop, "stopped", reason="PoweredOff")
        assert world.host.exec(["kill", "-0", pid], check=False).returncode != 0


def test_libvirtd_restarted_under_running_guests_changes_nothing(shared_world: World) -> None:
    world = shared_world
    desktop = start(world)
    before = world.observed(desktop)
    world.host.restart_libvirtd()
    world.wait_online("h1")
    other = start(world)
    assert {desktop, other} <= world.running()
    seen = world.wait_for(desktop, "started")
    assert (seen["hypervisor"], seen["started_at"]) == ("h1", before["started_at"])


def test_guests_that_ended_while_the_engine_was_away(world: World) -> None:
    template = world.add_template()
    gone, stays = (world.add_desktop(template) for _ in range(2))
    for one in (gone, stays):
        world.wish(one, "started")
        world.wait_for(one, "started")
    world.engine.stop()
    world.host.exec(["virsh", "destroy", gone])
    world.restart_engine()
    world.wait_for(gone, "stopped", reason="StoppedUnseen")
    seen = world.wait_for(stays, "started")
    assert seen["hypervisor"] == "h1"
    assert world.running() == {stays}


def test_a_power_cut_of_the_host_is_told_from_a_shutdown(world: World) -> None:
    template = world.add_template()
    desktop, wanted = world.add_desktop(template), world.add_desktop(template)
    for one in (desktop, wanted):
        world.wish(one, "started")
        world.wait_for(one, "started")
    world.database.run(
        r.table("domains")
        .get(wanted)
        .update(
            {
                "restart_on_failure": True,
                "observed": {"started_at": datetime.now(UTC) - timedelta(minutes=5)},
            }
        )
    )
    world.host.crash()
    for one in (desktop, wanted):
        seen = world.wait_for(one, "unknown", hypervisor="h1")
        assert seen["reason"] == "HostUnreachable"
    row = world.database.run(r.table("hypervisors").get("h1"))["observed"]
    assert row["state"] == "offline"
    failed = [check for check in row["checks"] if not check["ok"]]
    assert failed
    assert failed[0]["remedy"]
    world.hosts["h1"] = world.lab.restart(world.host)
    world.wait_online("h1")
    world.wait_for(desktop, "stopped", reason="HostRestarted")
    world.wait_for(wanted, "started")
    world.wish(desktop, "started")
    world.wait_for(desktop, "started")


def test_thumbnails_while_somebody_looks_and_numbers_always(shared_world: World) -> None:
    world = shared_world
    desktop = start(world)
    table = world.database
    assert table.run(r.table("thumbnails").get(desktop)) is None
    table.run(r.table("interests").insert({"id": desktop, "expires_at": r.now() + 60}))

    def first() -> object:
        return table.run(r.table("thumbnails").get(desktop))

    world.wait_until(first, "a thumbnail")
    row = table.run(r.table("thumbnails").get(desktop))
    assert bytes(row["png"]).startswith(b"\x89PNG\r\n\x1a\n")
    world.wait_until(
        lambda: table.run(r.table("thumbnails").get(desktop))["at"] > row["at"], "a newer one"
    )
    table.run(r.table("interests").get(desktop).update({"expires_at": r.now() - 1}))
    world.wait_until(
        lambda: (
            (table.run(r.table("domain_stats").get(desktop)) or {}).get("cpu_percent") is not None
        ),
        "numbers of the guest",
    )
    assert table.run(r.table("hypervisor_stats").get("h1"))["memory_mib"] > 0
    world.wish(desktop, "stopped", force=True)
    world.wait_for(desktop, "stopped")
    world.wait_until(lambda: first() is None, "the picture goes with the guest")


def test_ticks_show_every_loop_alive(shared_world: World) -> None:
    ticks = shared_world.database.run(r.table("engine").get("ticks"))
    for name in ("lease", "controller", "feed-domains", "hypervisor-h1", "libvirt-events"):
        assert ticks["loops"][name]["healthy"], ticks["loops"]
