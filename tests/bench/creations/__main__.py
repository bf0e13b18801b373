"""A hundred desktops from one template on one disk host, beside a bare loop of the same commands.

Database, engine and one lab host are started as the engine's tests do; the desktops are inserted
at once, as a script does for a school, and the clock runs until the last of them is shown as
stopped. The bare loop makes the same overlays with the same `qemu-img create`, one after the other,
over one SSH connection. Both are done in turns, so that they see the same machine. The processor's
time of all that takes part is told too: other work on the machine disturbs it less.

    python -m tests.bench.creations [NUMBER [ROUNDS]]
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from db.connection import r
from engine.hypervisor.ssh import SshSession
from engine.storage import qemu_img
from tests.engine.hosts import address_of, engine_settings
from tests.engine.world import World

NUMBER = 100
ROUNDS = 3


def spent_ms(world: World) -> int:
    """The processor's time spent so far by engine, database, this process and the whole host."""
    of_host = Path(f"/proc/{world.host.init_pid}/ns/pid").readlink()
    ours = {str(world.engine.pid), str(world.server.pid), str(os.getpid())}
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.name not in ours and (folder / "ns/pid").readlink() != of_host:
                continue
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            # Its own, and that of the children it has waited for.
            ticks += sum(int(field) for field in fields[11:15])
    return ticks * 1000 // os.sysconf("SC_CLK_TCK")


def create_by_engine(world: World, template: str, number: int) -> tuple[float, int]:
    """Seconds from the insert until all are there, and what that took of the processor, in ms."""
    rows: list[dict[str, Any]] = [
        {
            "id": str(uuid.uuid4()),
            "kind": "desktop",
            "name": f"Bench {at}",
            "user": "ana",
            "group": "bench",
            "category": "default",
            "origin": {"template": template},
            "spec": {"memory_mib": 16},
            "desired": {"state": "stopped"},
        }
        for at in range(number)
    ]
    ids = [row["id"] for row in rows]
    ready = r.table("domains").get_all(*ids).filter({"observed": {"state": "stopped"}}).count()
    before, begun = spent_ms(world), time.perf_counter()
    world.database.run(r.table("domains").insert(rows))
    while world.database.run(ready) < number:
        time.sleep(0.1)
    took_s, used_ms = time.perf_counter() - begun, spent_ms(world) - before
    world.database.run(r.table("domains").get_all(*ids).update({"desired": {"state": "deleted"}}))
    while world.database.run(r.table("domains").get_all(*ids).count()):
        time.sleep(0.1)
    return took_s, used_ms


def create_bare(world: World, ssh: SshSession, template: str, number: int) -> tuple[float, int]:
    """The same of the same `qemu-img create`, one after the other."""
    folder = world.folder / "storage" / "groups" / f"bare-{uuid.uuid4().hex[:6]}"
    folder.mkdir()
    backing = str(world.disk_of(template))
    before, begun = spent_ms(world), time.perf_counter()
    for at in range(number):
        ssh.run(qemu_img.create_overlay(f"{folder}/{at}.qcow2", backing), timeout_s=30)
    return time.perf_counter() - begun, spent_ms(world) - before


def main() -> int:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else NUMBER
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    shares = []
    with World() as world:
        template = world.add_template()
        settings = engine_settings(world.host, world.data)
        ssh = SshSession(address_of(world.host), settings)
        ssh.run(["true"], timeout_s=30)
        create_by_engine(world, template, 3)
        print(f"{number} desktops from one template, a second, and processor's ms for each:\n")
        print(f"  {'engine':>8}{'bare':>8}{'share':>8}{'engine':>12}{'bare':>8}")
        for _ in range(rounds):
            ours_s, ours_ms = create_by_engine(world, template, number)
            bare_s, bare_ms = create_bare(world, ssh, template, number)
            shares.append(bare_s / ours_s)
            rates = f"{number / ours_s:8.1f}{number / bare_s:8.1f}{shares[-1]:8.2f}"
            print(f"  {rates}{ours_ms / number:12.1f}{bare_ms / number:8.1f}", flush=True)
        ssh.close()
    print(f"\nMedian share: {statistics.median(shares):.2f} (the aim is 0.8)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
