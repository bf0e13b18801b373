"""`make bench`: where the time from click to running goes, beside a bare libvirt script.

Starts a whole product of its own (as `make run` does), makes one desktop from the Demo template and
starts it again and again through the REST API, watching the row with a changefeed of its own. After
each of our starts the same domain XML is started by a bare libvirt-python script over the same
qemu+ssh connection, so the two see the same machine at the same moment.

    python -m tests.bench [ROUNDS]
"""

from __future__ import annotations

import contextlib
import queue
import re
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
from rethinkdb.errors import ReqlDriverError

from db.connection import Database, r
from tests.e2e.product import Api, Product
from tests.servers import wait_until

ROUNDS = 15
STEPS = (
    ("request", "the PATCH is answered: login checked, wish on disk"),
    ("feed", "the wish has reached a changefeed"),
    ("queue", "the engine has decided, placed and said `starting`"),
    ("libvirt", "createXML over qemu+ssh (libvirt and QEMU)"),
    ("report", "console on record, `started` written and seen on a feed"),
    ("total", "click to running"),
    ("own", "total less libvirt: our share"),
    ("bare", "the same start by a bare libvirt-python script"),
)
MEMORY_OF = ("db", "engine", "webapp")


class Watch:
    """Notes when each change of one desktop's row arrives."""

    def __init__(self, database: Database, desktop_id: str) -> None:
        self.changes: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue()
        self._feed = r.table("domains").get(desktop_id).changes().run(database.connect())
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(ReqlDriverError):  # the product stops before we do
            for change in self._feed:
                self.changes.put((time.perf_counter(), change["new_val"]))

    def until(self, is_it: Callable[[dict[str, Any]], bool]) -> float:
        while True:
            at, row = self.changes.get(timeout=60)
            if is_it(row):
                return at


def read_libvirt_ms(product: Product, starts: int) -> float:
    """What the engine logged of its last start, once that line is there."""
    pattern = re.compile(r"event=desktop_created_on_host .*libvirt_ms=([\d.]+)")

    def look() -> float | None:
        text = (product.data / "logs" / "engine.log").read_text()
        found = pattern.findall(text)
        return float(found[-1]) if len(found) >= starts else None

    answer = wait_until(look, 10, "the engine's line about the start")
    assert isinstance(answer, float)
    return answer


def start_once(
    product: Product, api: Api, watch: Watch, row_id: str, starts: int
) -> dict[str, float]:
    clicked = time.perf_counter()
    api.wish(row_id, "started")
    answered = time.perf_counter()
    wished = watch.until(lambda row: row["desired"]["state"] == "started")
    said = watch.until(
        lambda row: (row["observed"].get("activity") or {}).get("name") == "starting"
    )
    running = watch.until(lambda row: row["observed"].get("state") == "started")
    libvirt_ms = read_libvirt_ms(product, starts)
    total = (running - clicked) * 1000
    return {
        "request": (answered - clicked) * 1000,
        "feed": (wished - clicked) * 1000,
        "queue": (said - wished) * 1000,
        "libvirt": libvirt_ms,
        "report": (running - said) * 1000 - libvirt_ms,
        "total": total,
        "own": total - libvirt_ms,
    }


def stop(api: Api, watch: Watch, row_id: str) -> None:
    api.wish(row_id, "stopped", force=True)
    watch.until(
        lambda row: (
            row["observed"].get("state") == "stopped" and not row["observed"].get("activity")
        )
    )


def bare_uri(product: Product) -> str:
    """The same connection the engine uses: its key, its pinned host key, its ssh options."""
    from engine.hypervisor.host import HostAddress
    from engine.hypervisor.ssh_program import SshProgram
    from engine.settings import EngineSettings

    database = product.database()
    row = database.run(r.table("hypervisors").get("local"))
    address = HostAddress("bench", row["hostname"], row["port"], row["user"], row["host_key"])
    settings = EngineSettings.from_environment(product.environment)
    return SshProgram(address, settings).uri


def start_bare(connection: Any, xml: str) -> float:
    """Milliseconds of one createXML. It bears another name and no mark of ours, or the engine,
    which wishes this desktop stopped, would switch it off at once.
    """
    xml = re.sub(r"<metadata>.*?</metadata>", "", xml, flags=re.DOTALL)
    xml = re.sub(r"<(name|uuid)>.*?</\1>", "", xml)
    own_id = uuid.uuid4()
    xml = xml.replace("<memory", f"<name>{own_id}</name><uuid>{own_id}</uuid><memory", 1)
    begun = time.perf_counter()
    domain = connection.createXML(xml, 0)
    took_ms = (time.perf_counter() - begun) * 1000
    domain.destroy()
    return took_ms


def resident_mib(pid: int) -> float:
    """Proportional set size: shared pages are divided among those who share them."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory(prefix="isard-bench-") as folder:
        product = Product(Path(folder) / "data")
        print("Starting a product of its own …", flush=True)
        try:
            begun = time.monotonic()
            product.start()
            print(f"  up in {time.monotonic() - begun:.1f} s (first start)", flush=True)
            measure(product, rounds)
            product.stop()
            begun = time.monotonic()
            product.start()
            print(f"Second start: {time.monotonic() - begun:.1f} s")
        finally:
            product.stop()
    return 0


def measure(product: Product, rounds: int) -> None:
    api = Api(product.url)
    row_id = api.create("Bench")["id"]
    api.wait_for(row_id, "stopped")
    watch = Watch(product.database(), row_id)
    connection = libvirt.open(bare_uri(product))
    figures: dict[str, list[float]] = {name: [] for name, _ in STEPS}
    for number in range(1, rounds + 1):
        once = start_once(product, api, watch, row_id, number)
        flags = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_MIGRATABLE
        xml = connection.lookupByUUIDString(row_id).XMLDesc(flags)
        stop(api, watch, row_id)
        once["bare"] = start_bare(connection, xml)
        for name, value in once.items():
            figures[name].append(value)
    print(f"\nFrom click to running, {rounds} starts, milliseconds:\n")
    print(f"  {'':9}{'min':>8}{'median':>9}{'max':>8}")
    for name, meaning in STEPS:
        values = figures[name]
        middle = statistics.median(values)
        print(f"  {name:9}{min(values):8.1f}{middle:9.1f}{max(values):8.1f}  {meaning}")
    print("\n  No command is sent over SSH for a start: the overlay was made when the desktop was.")
    memory = {name: resident_mib(product.pid_of(name)) for name in MEMORY_OF}
    shown = ", ".join(f"{name} {size:.0f}" for name, size in memory.items())
    print(f"\nMemory in MiB: {shown}; together {sum(memory.values()):.0f}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
