"""One query that is too much is ended or waits; everybody else is served meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rethinkdb.errors import ReqlDriverError, ReqlError, ReqlResourceLimitError

from tests.db.embedded.conftest import r
from tests.servers import EmbeddedServer, wait_until

pytestmark = pytest.mark.embedded_only("bounds that RethinkDB does not have")

LONG_S = 15.0
"""An answer may take this on a machine that stands still at times; a blocked server gives none."""


@pytest.fixture(scope="module")
def connection(embedded: EmbeddedServer) -> Iterator[Any]:
    """A connection to a server with a table `t` of a hundred rows."""
    connection = r.connect(port=embedded.port)
    r.table_create("t").run(connection)
    r.table("t").insert([{"id": i} for i in range(100)]).run(connection)
    yield connection
    connection.close()


ENDLESS = {
    "a huge range": r.range(10**12).count(),
    "a huge filter": r.range(10**12).filter(lambda n: n < 0),
    "a fold that goes on": r.range(10**12).fold(0, lambda total, n: total + n),
    "a product of the table": r.table("t").concat_map(
        lambda a: r.table("t").concat_map(
            lambda b: r.table("t").concat_map(lambda c: r.range(1000).map(lambda d: d))
        )
    ).count(),
    "an infinite stream": r.range().filter(lambda n: n < 0),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDLESS)
def test_others_are_served_while_a_query_runs_for_ever(
    embedded: EmbeddedServer, connection: Any, what: str
) -> None:
    ended = threading.Event()

    def run(hog: Any) -> None:
        try:
            list(ENDLESS[what].run(hog))
        except (ReqlError, ReqlDriverError, OSError):
            ended.set()

    jobs = r.db("rethinkdb").table("jobs")
    with contextlib.closing(r.connect(port=embedded.port)) as hog:
        threading.Thread(target=run, args=(hog,), daemon=True).start()
        wait_until(lambda: jobs.count().run(connection) == 2, 30, "the long query runs")
        slowest = 0.0
        for i in range(20):
            began = time.monotonic()
            r.table("t").get(i).update({"n": r.row["n"].default(0) + 1}).run(connection)
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < LONG_S
        longest = jobs.order_by(r.desc("duration_sec"))[0]["id"].run(connection)
        assert jobs.get(longest).delete().run(connection)["deleted"] == 1
        assert ended.wait(60)
    wait_until(lambda: jobs.count().run(connection) == 1, 30, "the long query is gone")


def test_a_query_that_eats_memory_is_ended(embedded: EmbeddedServer, connection: Any) -> None:
    rows = r.range(100_000).map(lambda _: r.range(100_000).coerce_to("array"))
    with pytest.raises(ReqlResourceLimitError, match="more than 512 MiB of memory"):
        rows.coerce_to("array").count().run(connection)
    assert r.table("t").count().run(connection) == 100


def test_an_index_function_that_runs_for_ever_leaves_the_document_out(connection: Any) -> None:
    endless = lambda row: r.branch(row["id"] == 7, r.range(10**12).count(), row["id"])  # noqa: E731
    r.table("t").index_create("endless", endless).run(connection)
    assert r.table("t").get_all(8, index="endless")["id"].run(connection).next() == 8
    assert r.table("t").order_by(index="endless").count().run(connection) == 99
    r.table("t").index_drop("endless").run(connection)


def test_an_option_that_is_a_long_query_ends(connection: Any) -> None:
    with pytest.raises(ReqlResourceLimitError, match="takes too long"):
        r.expr(1).run(connection, array_limit=r.range(10**12).count())


def test_an_index_is_made_while_others_write(embedded: EmbeddedServer, connection: Any) -> None:
    rows, busy = 30_000, r.connect(port=embedded.port)
    table = r.table("big")
    r.table_create("big", durability="soft").run(connection)
    table.insert(r.range(rows).map(lambda i: {"id": i, "n": i})).run(connection)
    maker = threading.Thread(
        target=lambda: table.index_create("n", lambda row: row["n"]).run(busy), daemon=True
    )
    maker.start()
    slowest, turn = 0.0, 0
    while maker.is_alive() or turn < 30:
        began = time.monotonic()
        key = turn * 997 % rows
        table.get(key).update({"n": -turn}).run(connection)
        table.get(key + 1).delete().run(connection)
        table.insert({"id": rows + turn, "n": -turn}).run(connection)
        slowest = max(slowest, time.monotonic() - began)
        turn += 1
    assert slowest < LONG_S
    by_scan = table.group("n").count().ungroup().count().run(connection)
    assert table.distinct(index="n").count().run(connection) == by_scan
    assert table.order_by(index="n").count().run(connection) == table.count().run(connection)
    assert table.get_all(0, index="n").count().run(connection) == table.filter(
        {"n": 0}
    ).count().run(connection)
