"""The three kinds of hypervisor on three real hosts that share one storage: what each is asked for,
and that one health's trouble is not the other's.

Every command that the engine sends a host is written down by that host's own sshd, so what a pure
hypervisor or a disk host is never asked for is read there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.connection import r
from tests.engine.test_hypervisors import seen_of, update, wait_state, wish
from tests.engine.world import World
from tests.lab import LabHost

KINDS = {
    "mixed": {"hypervisor": True, "disk_operations": True},
    "pure": {"hypervisor": True, "disk_operations": False},
    "nas": {"hypervisor": False, "disk_operations": True},
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(hosts=()) as world:
        for name, capabilities in KINDS.items():
            host = world.hosts[name] = world.lab.start(name)
            trace(host)
            if name == "nas":
                without_libvirt(host)
            world.add_hypervisor(host, capabilities=capabilities)
        for name in KINDS:
            world.wait_online(name)
        world.template = world.add_template()
        yield world


def trace(host: LabHost) -> None:
    """Have the host's sshd write down every command before it runs it."""
    script = host.settings.data / "trace"
    script.write_text(
        f"#!/bin/bash\nprintf '%q\\n' \"$SSH_ORIGINAL_COMMAND\" >>{trace_of(host)}\n"
        'exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    script.chmod(0o755)
    allowed = host.settings.trees / "etc/isard/ssh/authorized_keys"
    allowed.write_text(f'command="{script}" {allowed.read_text()}')


def trace_of(host: LabHost) -> Path:
    return host.settings.data / "commands"


def commands(host: LabHost) -> str:
    file = trace_of(host)
    return file.read_text() if file.exists() else ""


def without_libvirt(host: LabHost) -> None:
    """libvirtd ends whenever its supervisor starts it."""
    instead = host.settings.data / "no-libvirtd"
    instead.write_text("#!/bin/sh\nsleep 60\n")
    instead.chmod(0o755)
    host.exec(["sh", "-c", f'mount --bind {instead} "$(readlink -f "$(command -v libvirtd)")"'])
    host.exec(["pkill", "-KILL", "-x", "libvirtd"])


def start(world: World, **placement: Any) -> str:
    desktop = world.add_desktop(world.template, placement=placement)
    world.wish(desktop, "started")
    return desktop


def remove(world: World, *desktops: str) -> None:
    for one in desktops:
        world.wish(one, "deleted")
        world.wait_gone(one)


def test_each_kind_does_its_own_and_is_asked_for_nothing_else(world: World) -> None:
    assert seen_of(world, "pure")["disk_operations"] == "off"
    assert seen_of(world, "nas")["virtualization"] == "off"
    # While the mixed one is away, the others are all there is: disks there, desktops here.
    wish(world, "mixed", "disabled")
    wait_state(world, "mixed", "offline")
    desktop = start(world)
    world.wait_for(desktop, "started", hypervisor="pure")
    assert world.running(world.hosts["pure"]) == {desktop}
    remove(world, desktop)
    wish(world, "mixed", "enabled")
    world.wait_online("mixed")
    assert "qemu-img" in commands(world.hosts["nas"])
    for word in ("virt-ssh-helper", "libvirt-sock"):
        assert word in commands(world.hosts["pure"])
        assert word not in commands(world.hosts["nas"])
    assert "qemu-img" not in commands(world.hosts["pure"])
    refused = start(world, forced_hypervisor="nas")
    world.wait_for(refused, "stopped", reason="NoHypervisor")
    remove(world, refused)


def test_a_failing_libvirt_does_not_stop_disk_operations(world: World) -> None:
    host = world.hosts["mixed"]
    wish(world, "nas", "disabled")
    wait_state(world, "nas", "offline")
    host.exec(["sh", "-c", "kill -STOP $(pgrep -x libvirtd)"])
    try:
        world.wait_until(
            lambda: (
                seen_of(world, "mixed").get("virtualization") in ("offline", "error")
                and seen_of(world, "mixed").get("disk_operations") == "online"
            ),
            "the two healths apart",
        )
        desktop = world.add_desktop(world.template)
        assert world.disk_of(desktop).exists()
    finally:
        host.exec(["sh", "-c", "kill -CONT $(pgrep -x libvirtd)"])
        wish(world, "nas", "enabled")
    world.wait_online("mixed")
    world.wait_online("nas")
    remove(world, desktop)


def test_a_storage_that_a_host_does_not_see_takes_no_running_desktop_offline(world: World) -> None:
    groups = str(world.folder / "storage" / "groups")
    running = start(world, forced_hypervisor="pure")
    world.wait_for(running, "started", hypervisor="pure")
    pure = world.hosts["pure"]
    pure.exec(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", groups])
    try:
        # Before anybody has looked, a start finds out for itself, and comes again.
        early = start(world, forced_hypervisor="pure")
        assert world.wait_failure(early, "WrongStorage")["terminal"] is False
        seen = wait_state(world, "pure", "online", virtualization="degraded")
        other = start(world, forced_hypervisor="pure")
        waiting = world.wait_for(other, "stopped", reason="NoHypervisor")
        assert f"pure: it does not see the storage {groups}" in waiting["message"]
        failed = next(one for one in seen["checks"] if one["level"] == "failed")
        assert failed["name"] == f"storage {groups}"
        assert f"mount SERVER:EXPORT {groups}" in failed["remedy"]
        assert world.observed(running)["state"] == "started"
        elsewhere = start(world)
        world.wait_for(elsewhere, "started", hypervisor="mixed")
    finally:
        pure.exec(["umount", "-l", groups])
    world.wait_for(other, "started", hypervisor="pure")
    wait_state(world, "pure", "online", virtualization="online")
    remove(world, running, early, other, elsewhere)


@pytest.mark.parametrize("trouble", ["read-only", "full"])
def test_of_two_disk_hosts_the_one_that_can_works(world: World, trouble: str) -> None:
    groups = str(world.folder / "storage" / "groups")
    how = {
        "read-only": ["mount", "--bind", "-o", "ro", groups, groups],
        "full": ["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", groups],
    }[trouble]
    nas = world.hosts["nas"]
    nas.exec(how)
    try:
        wait_state(world, "nas", "online", disk_operations="degraded")
        made = [world.add_desktop(world.template) for _ in range(3)]
        assert all(world.disk_of(one).exists() for one in made)
    finally:
        nas.exec(["umount", "-l", groups])
    wait_state(world, "nas", "online", disk_operations="online")
    remove(world, *made)


def test_of_two_disk_hosts_one_may_be_dead(world: World) -> None:
    world.hosts["nas"].freeze()
    try:
        wait_state(world, "nas", "offline")
        made = [world.add_desktop(world.template) for _ in range(3)]
    finally:
        world.hosts["nas"].thaw()
    world.wait_online("nas")
    remove(world, *made)


def test_the_speed_of_every_path_is_measured_where_it_is_wished(world: World) -> None:
    update(world, "pure", {"measure": {"at": r.now()}})
    update(world, "nas", {"measure": {"at": r.now()}})
    for name in ("pure", "nas"):
        world.wait_until(lambda name=name: measured(world, name), f"{name} measured")
        speeds = seen_of(world, name)["speeds"]
        assert speeds["is_measuring"] is False
        assert {Path(one["path"]).name for one in speeds["paths"]} == {
            *("bases", "groups", "media", "templates")
        }
        fast = [one for one in speeds["paths"] if not one["message"]]
        assert {Path(one["path"]).name for one in fast} >= {"groups", "templates"}
        assert all(one["write_bytes_s"] > 0 and one["read_bytes_s"] > 0 for one in fast)
    left = subprocess.run(
        ["find", str(world.folder / "storage"), "-name", ".isard-speed*"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert left.stdout == ""
    assert world.running(world.hosts["pure"]) == set()


def measured(world: World, name: str) -> bool:
    wished = world.database.run(r.table("hypervisors").get(name)["measure"]["at"])
    return bool((seen_of(world, name).get("speeds") or {}).get("for") == wished)
