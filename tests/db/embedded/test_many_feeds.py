"""A thousand feeds and thousands of connections on one server: how fast, and in what memory.

The figures are in docs/performance.md and come from `python -m tests.bench.feeds`. Here the best of
several rounds is held to the bounds, because the machine is shared with other work.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from tests.bench import feeds
from tests.db.embedded.conftest import r
from tests.db.embedded.wire_client import V1_0, WireClient
from tests.servers import EmbeddedServer

pytestmark = pytest.mark.embedded_only("measures this server")

MOST_MS = 250
MOST_MIB = 400


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server with 10,000 rows."""
    feeds.allow_descriptors()
    server = EmbeddedServer(tmp_path_factory.mktemp("feeds") / "reql")
    server.start()
    feeds.fill(server, 10_000)
    yield server
    server.stop()


def test_a_write_reaches_a_thousand_feeds_in_a_quarter_of_a_second(filled: EmbeddedServer) -> None:
    figures = feeds.measure(filled, "a filter", feeds=1000, rounds=20)
    assert min(figures.milliseconds) < MOST_MS
    assert figures.server_mib < MOST_MIB


def test_thousands_of_idle_connections_cost_little(filled: EmbeddedServer) -> None:
    before = feeds.resident_mib(filled.pid)
    idle = [WireClient(filled.port) for _ in range(3000)]
    for client in idle[::2]:  # half of them in the middle of the handshake
        client.send(struct.pack("<I", V1_0))
    connection = r.connect(port=filled.port, timeout=60)
    assert r.table("rows").count().run(connection) == 10_000
    assert feeds.resident_mib(filled.pid) - before < 100
    for client in idle:
        client.socket.close()
    assert r.table("rows").get("d000002")["name"].run(connection) == "Desktop 2"


def test_rewriting_everything_again_and_again_takes_no_more_memory_or_disk(
    filled: EmbeddedServer,
) -> None:
    connection = r.connect(port=filled.port)

    def rewrite(rounds: int) -> None:
        for number in range(rounds):
            table = r.table("rows")
            table.update({"turn": number, "group": f"h{number % 7}"}).run(connection)
            table.get_all("h1", index="group").count().run(connection)

    rewrite(2)
    before = feeds.resident_mib(filled.pid)
    rewrite(6)
    assert feeds.resident_mib(filled.pid) - before < 60
    assert sum(path.stat().st_size for path in filled.data.iterdir()) < 100 * 1024 * 1024
