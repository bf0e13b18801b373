"""Many feeds on one table: how long until a write has reached all of them, and in what memory.

Starts an embedded server, fills a table with documents like desktops, opens the feeds, each on a
connection of its own, and writes one document again and again; a round is over when every feed has
told of the write. Then the same for feeds that filter. `tests/db/embedded/test_many_feeds.py` holds
the bounds.

    python -m tests.bench.feeds [FEEDS [ROWS [ROUNDS]]]
"""

from __future__ import annotations

import contextlib
import resource
import select
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rethinkdb import RethinkDB

from tests.db.embedded.wire_client import WireClient
from tests.servers import EmbeddedServer

r = RethinkDB()
TABLE = [15, ["rows"]]
START, CONTINUE = 1, 2
# What the feeds follow: the table, or the rows of one group (as the product's pages do).
FOLLOWED: dict[str, Any] = {
    "the whole table": TABLE,
    "a filter": [39, [TABLE, {"group": "g1"}]],
}


@dataclass(frozen=True)
class Figures:
    """Of one kind of feed: milliseconds from the write until the last feed has told of it."""

    followed: str
    feeds: int
    milliseconds: list[float]
    server_mib: float


def row(number: int) -> dict[str, Any]:
    return {
        "id": f"d{number:06}",
        "name": f"Desktop {number}",
        "group": f"g{number % 20}",
        "spec": {"vcpus": 2, "memory_mib": 2048, "disks": [{"bus": "virtio"}]},
        "observed": {"state": "stopped", "history": [{"at": 1.0 * i} for i in range(5)]},
    }


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no such process")


def open_feeds(port: int, count: int, followed: Any) -> list[WireClient]:
    clients = []
    for _ in range(count):
        client = WireClient(port, timeout_s=60)
        client.shake()
        client.ask(1, [START, [152, [followed]], {"db": [14, ["test"]]}])
        client.answer()
        client.ask(1, [CONTINUE])
        clients.append(client)
    return clients


def hear(poll: select.epoll, by_descriptor: dict[int, WireClient], timeout_s: float) -> float:
    """Wait until each client has one more batch; the moment the last one had it."""
    missing = set(by_descriptor)
    deadline = time.perf_counter() + timeout_s
    heard_at = 0.0
    heard: list[WireClient] = []
    while missing:
        events = poll.poll(max(0.0, deadline - time.perf_counter()))
        assert events, f"{len(missing)} feeds did not hear of the write"
        for descriptor, _ in events:
            by_descriptor[descriptor].answer()
            heard_at = time.perf_counter()
            missing.discard(descriptor)
            heard.append(by_descriptor[descriptor])
    for client in heard:
        client.ask(1, [CONTINUE])
    return heard_at


def measure(server: EmbeddedServer, followed: str, feeds: int, rounds: int) -> Figures:
    """Open feeds on the table `rows` of the server and write while they listen."""
    writer = r.connect(port=server.port)
    clients = open_feeds(server.port, feeds, FOLLOWED[followed])
    with contextlib.ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        by_descriptor = {client.socket.fileno(): stack.enter_context(client) for client in clients}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.EPOLLIN)
        taken = []
        for number in range(rounds):
            began = time.perf_counter()
            r.table("rows").get("d000001").update({"turn": number}).run(writer)
            taken.append(1000 * (hear(poll, by_descriptor, 60) - began))
        figures = Figures(followed, feeds, taken, resident_mib(server.pid))
    writer.close()
    return figures


def fill(server: EmbeddedServer, rows: int) -> None:
    connection = r.connect(port=server.port)
    r.table_create("rows").run(connection)
    for start in range(0, rows, 500):
        some = [row(number) for number in range(start, min(rows, start + 500))]
        r.table("rows").insert(some, durability="soft").run(connection)
    r.table("rows").index_create("group").run(connection)
    connection.close()


def allow_descriptors() -> None:
    """A thousand connections need a thousand descriptors; the server sees to its own."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(feeds: int = 1000, rows: int = 10_000, rounds: int = 10) -> None:
    allow_descriptors()
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder) / "reql")
        server.start()
        try:
            fill(server, rows)
            print(f"{rows} rows, {resident_mib(server.pid):.0f} MiB without feeds")  # noqa: T201
            for followed in FOLLOWED:
                figures = measure(server, followed, feeds, rounds)
                times = figures.milliseconds
                print(  # noqa: T201
                    f"{feeds} feeds on {followed}: {min(times):.0f} / "
                    f"{statistics.median(times):.0f} / {max(times):.0f} ms "
                    f"(min / median / max), {figures.server_mib:.0f} MiB"
                )
        finally:
            server.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
