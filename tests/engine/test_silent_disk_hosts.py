"""A host that only works on disks falls silent in the middle of its checks. No libvirt connection
tells of it, and each check may wait for hours here: it is noticed all the same, and shown at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from db.connection import r
from tests.engine.test_host_faults import NOTICED_WITHIN_S, without_network
from tests.engine.test_hypervisors import wish
from tests.engine.world import World
from tests.lab import LabHost

CALL_TIMEOUT_S = 3600.0
SHOWN_WITHIN_S = 120.0
SLACK_S = 4.0
"""For a machine of two cores on which other tests run; below what the kernel needs to give up."""
DISKS_ALONE = {"hypervisor": False, "disk_operations": True}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(hosts=(), call_timeout_s=CALL_TIMEOUT_S) as world:
        yield world


@contextmanager
def checks_that_hang(host: LabHost) -> Iterator[Path]:
    """The check of its disk tools does not end. A file that is there once it is being made."""
    asked = host.settings.data / "asked"
    instead = host.settings.data / "qemu-img"
    instead.write_text(f"#!/bin/sh\n: >{asked}\nexec sleep 3600\n")
    instead.chmod(0o755)
    host.exec(["sh", "-c", f'mount --bind {instead} "$(command -v qemu-img)"'])
    try:
        yield asked
    finally:
        host.exec(["sh", "-c", 'umount "$(command -v qemu-img)"'])


def first_offline(changes: Any) -> dict[str, Any]:
    """What the row showed when it first said so."""
    while True:
        change = changes.next(wait=SHOWN_WITHIN_S)
        observed = change["new_val"].get("observed") or {}
        if observed.get("state") == "offline":
            return dict(observed)


def test_one_that_hangs_in_its_very_first_checks_is_shown_before_it_is_looked_into(
    world: World,
) -> None:
    host = world.hosts["nas"] = world.lab.start("nas")
    with checks_that_hang(host) as asked, world.database.connect() as connection:
        world.add_hypervisor(host, capabilities=DISKS_ALONE)
        changes = r.table("hypervisors").get("nas").changes().run(connection)
        world.wait_until(asked.exists, "the check that hangs")
        host.freeze()
        try:
            shown = first_offline(changes)
        finally:
            host.thaw()
    assert (shown["disk_operations"], shown["reason"]) == ("offline", "HostUnreachable")
    assert shown["checks"] == [], "what is wrong is found out afterwards"
    world.wait_online("nas")


def test_one_whose_network_drops_is_noticed_within_ten_seconds(world: World) -> None:
    host = world.hosts["store"] = world.lab.start("store")
    world.add_hypervisor(host, capabilities=DISKS_ALONE)
    world.wait_online("store")
    with checks_that_hang(host) as asked, world.database.connect() as connection:
        changes = r.table("hypervisors").get("store").changes().run(connection)
        wish(world, "store", "enabled")
        world.wait_until(asked.exists, "the check that hangs")
        with without_network(host):
            dropped_at = datetime.now(UTC)
            shown = first_offline(changes)
    assert (shown["disk_operations"], shown["reason"]) == ("offline", "HostUnreachable")
    noticed_s = (shown["at"] - dropped_at).total_seconds()
    assert noticed_s < NOTICED_WITHIN_S + SLACK_S
    world.wait_online("store")
