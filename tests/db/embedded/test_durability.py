"""What is acknowledged is on disk, after kill -9 and after an orderly end, and synced before it is
said.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rethinkdb.errors import ReqlDriverError, ReqlError

from tests.db.embedded.conftest import r
from tests.servers import ROOT, EmbeddedServer, free_port, wait_until

pytestmark = pytest.mark.embedded_only("kills and traces the server")


class Writer(threading.Thread):
    """Writes hard, one after the other, and remembers what was acknowledged."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(daemon=True)
        self.port, self.label = port, name
        self.acknowledged: dict[str, int | None] = {}  # None: deleted
        self.asked: dict[str, int | None] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            connection = r.connect(port=self.port, timeout=5)
            for number in range(100_000):
                self.write(connection, f"{self.label}-{random.randrange(40)}", number)
        except (ReqlError, ReqlDriverError, OSError):
            pass  # the server was killed under us, which is the point
        finally:
            self.ended.set()

    def write(self, connection: Any, key: str, number: int) -> None:
        """One write of some kind: what is asked, then what was acknowledged."""
        row = r.table("kept").get(key)
        kind = random.choices(("insert", "update", "delete"), (6, 2, 2))[0]
        self.asked[key] = None if kind == "delete" else number
        if kind == "insert":
            document = {"id": key, "number": number, "pad": "x" * random.randrange(200)}
            query = r.table("kept").insert(document, conflict="replace")
        else:
            query = row.update({"number": number}) if kind == "update" else row.delete()
        answer = query.run(connection)
        assert answer["errors"] == 0
        if not answer["skipped"]:
            self.acknowledged[key] = self.asked[key]


def kill_under_load(data: Path, rounds: int) -> None:
    """Start, write from three clients, kill -9 at a random moment, look; again and again."""
    known: dict[str, int | None] = {}
    possible: dict[str, set[int | None]] = {}
    for round_number in range(rounds):
        server = EmbeddedServer(data)
        server.start()
        connection = r.connect(port=server.port)
        if round_number == 0:
            r.table_create("kept").run(connection)
            r.table("kept").index_create("number").run(connection)
        found = {row["id"]: row["number"] for row in r.table("kept").run(connection)}
        for key, number in known.items():
            assert found.get(key) in {number, *possible.get(key, set())}, (round_number, key)
        by_index = r.table("kept").order_by(index="number")["id"].run(connection)
        assert sorted(by_index) == sorted(found)
        known = dict(found)
        writers = [Writer(server.port, f"w{i}") for i in range(3)]
        for writer in writers:
            writer.start()
        time.sleep(random.uniform(0.02, 0.25))  # the moment of the kill is the random input
        server.kill()
        for writer in writers:
            assert writer.ended.wait(20)
            known.update(writer.acknowledged)
        possible = {key: {number} for writer in writers for key, number in writer.asked.items()}


def test_no_acknowledged_write_is_lost_by_kill_9(tmp_path: Path) -> None:
    kill_under_load(tmp_path / "reql", rounds=40)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_no_acknowledged_write_is_lost_by_kill_9_a_few_hundred_times(tmp_path: Path) -> None:
    kill_under_load(tmp_path / "reql", rounds=400)


def test_soft_writes_reach_the_disk_within_the_bound(server: EmbeddedServer) -> None:
    connection = r.connect(port=server.port)
    r.table_create("soft", durability="soft").run(connection)
    r.table("soft").insert({"id": 1}).run(connection)

    def is_on_disk() -> bool:
        with sqlite3.connect(f"file:{server.data}/reql.sqlite?mode=ro", uri=True) as file:
            rows = file.execute("SELECT value FROM rows WHERE space > 0").fetchall()
        return rows == [(b'{"id":1}',)]

    wait_until(is_on_disk, 30, "the soft write is on disk")
    server.kill()
    server.start()
    connection = r.connect(port=server.port)
    assert list(r.table("soft").run(connection)) == [{"id": 1}]


def test_sync_waits_for_soft_writes(server: EmbeddedServer) -> None:
    connection = r.connect(port=server.port)
    r.table_create("soft").run(connection)
    r.table("soft").insert([{"id": i} for i in range(200)], durability="soft").run(connection)
    assert r.table("soft").sync().run(connection) == {"synced": 1}
    server.kill()
    server.start()
    assert r.table("soft").count().run(r.connect(port=server.port)) == 200


def test_an_orderly_end_loses_nothing(server: EmbeddedServer) -> None:
    connection = r.connect(port=server.port)
    r.table_create("soft").run(connection)
    r.table("soft").insert([{"id": i} for i in range(200)], durability="soft").run(connection)
    server.stop()
    server.start()
    assert r.table("soft").count().run(r.connect(port=server.port)) == 200


def test_tables_indexes_hooks_and_users_survive(server: EmbeddedServer) -> None:
    connection = r.connect(port=server.port)
    r.db_create("d").run(connection)
    table = r.db("d").table("t")
    r.db("d").table_create("t", primary_key="key").run(connection)
    table.insert([{"key": i, "tags": ["a", "b"][: i % 3]} for i in range(6)]).run(connection)
    limit = 3
    table.index_create("tags", multi=True).run(connection)
    r.expr(limit).do(lambda bound: table.index_create("small", lambda row: row["key"] < bound)).run(
        connection
    )
    table.set_write_hook(lambda context, old, new: new.merge({"hooked": True})).run(connection)
    r.db("rethinkdb").table("users").insert({"id": "eve", "password": "x"}).run(connection)
    r.grant("eve", {"read": True}).run(connection)
    server.kill()
    server.start()
    connection = r.connect(port=server.port, user="eve", password="x")
    assert table.get_all("b", index="tags")["key"].run(connection) is not None
    assert sorted(table.get_all("b", index="tags")["key"].run(connection)) == [2, 5]
    assert sorted(table.get_all(True, index="small")["key"].run(connection)) == [0, 1, 2]
    connection = r.connect(port=server.port)
    table.insert({"key": 9}).run(connection)
    assert table.get(9).run(connection) == {"key": 9, "hooked": True}


def test_hard_writes_are_synced_before_they_are_acknowledged_and_in_groups(tmp_path: Path) -> None:
    """Counts the system calls: at least one sync for each batch acknowledged alone, and far
    fewer than writes when many clients write at once, or one query writes many times."""
    trace, port = tmp_path / "trace", free_port()
    command = [sys.executable, "-m", "db.embedded", "--data", str(tmp_path / "reql")]
    traced = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", "trace=fdatasync,fsync", "-o", str(trace), *command,
         "--port", str(port)],
        cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert traced.stdout is not None
        assert b"Listening" in traced.stdout.readline()
        connection = r.connect(port=port)
        r.table_create("t").run(connection)

        def syncs() -> int:
            return len(re.findall(r"f(?:data)?sync\(\d+", trace.read_text()))

        before = syncs()
        for number in range(20):
            r.table("t").insert({"id": number}).run(connection)
        assert syncs() - before >= 20
        before = syncs()
        together = [r.table("t").get(number).update({"more": True}) for number in range(20)]
        answers = r.expr(together).run(connection)
        assert sum(answer["replaced"] for answer in answers) == 20
        assert 1 <= syncs() - before < 10
        before = syncs()
        for number in range(20, 40):
            r.table("t").insert({"id": number}, durability="soft").run(connection)
        soft = syncs() - before
        assert soft < 20
        before = syncs()

        def write_many(base: int) -> None:
            own = r.connect(port=port)
            for number in range(base, base + 25):
                r.table("t").insert({"id": number}).run(own)

        threads = [threading.Thread(target=write_many, args=(1000 * i,)) for i in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert r.table("t").count().run(connection) == 240
        assert syncs() - before < 200
    finally:
        os.killpg(traced.pid, signal.SIGKILL)
        traced.wait(10)
