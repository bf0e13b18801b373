"""What is acknowledged is on disk; what cannot be used is refused and left as it is."""

from __future__ import annotations

import hashlib
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rethinkdb.errors import ReqlDriverError, ReqlError, ReqlOpFailedError

from db.connection import Database
from db.errors import DatabaseCannotWrite
from db.settings import Settings
from tests.db.embedded.conftest import r
from tests.servers import ROOT, EmbeddedServer, free_port, wait_until

pytestmark = pytest.mark.embedded_only("kills, limits and damages the server and its files")


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


# --- one commit, one sync -----------------------------------------------------------------


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


# --- a commit that fails ------------------------------------------------------------------


@pytest.fixture
def full_disk(server: EmbeddedServer) -> Iterator[Any]:
    """`full_disk(True)`: the server's files cannot grow any more; False: they can again."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    def limit(is_full: bool) -> None:
        size = max(path.stat().st_size for path in server.data.iterdir())
        wanted = (size, resource.RLIM_INFINITY) if is_full else unlimited
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, wanted)

    yield limit
    limit(False)


def test_a_failed_commit_is_undone_and_reported(server: EmbeddedServer, full_disk: Any) -> None:
    connection = r.connect(port=server.port)
    table = r.table("t")
    r.table_create("t").run(connection)
    table.index_create("n").run(connection)
    table.insert([{"id": 1, "n": 1}, {"id": 2, "n": 2}]).run(connection)
    feed = table.changes().run(r.connect(port=server.port))
    full_disk(True)
    with pytest.raises(ReqlOpFailedError, match="not saved and has been undone"):
        table.insert([{"id": i, "n": 7, "pad": "x" * 1000} for i in range(1, 3000)],
                     conflict="replace").run(connection)  # fmt: skip
    assert sorted(row["n"] for row in table.run(connection)) == [1, 2]
    assert table.get_all(7, index="n").count().run(connection) == 0
    issues = list(r.db("rethinkdb").table("current_issues").run(connection))
    assert [issue["type"] for issue in issues] == ["write_failure"]
    database = Database(Settings.from_environment({"ISARD_DB_PORT": str(server.port)}))
    large = {"id": 4, "pad": "x" * 4_000_000}
    with pytest.raises(DatabaseCannotWrite, match="full or read-only"):
        database.run(r.db("test").table("t").insert(large))
    assert "Writes are not saved and are undone. The disk of" in server.log_text()
    full_disk(False)
    assert table.insert({"id": 3, "n": 3}).run(connection)["inserted"] == 1
    assert list(r.db("rethinkdb").table("current_issues").run(connection)) == []
    assert "Writes are saved again" in server.log_text()
    database.close()
    assert feed.next(wait=10)["new_val"] == {"id": 3, "n": 3}
    server.kill()
    server.start()
    rows = r.table("t").order_by("id")["n"].run(r.connect(port=server.port))
    assert rows == [1, 2, 3]


def test_a_query_of_several_writes_is_saved_or_undone_as_one(
    server: EmbeddedServer, full_disk: Any
) -> None:
    connection = r.connect(port=server.port)
    table = r.table("t")
    r.table_create("t").run(connection)
    table.insert([{"id": 1}, {"id": 2}]).run(connection)
    full_disk(True)
    first = table.get(1).update({"n": 7})
    second = table.insert([{"id": i, "pad": "x" * 1000} for i in range(3, 3000)])
    with pytest.raises(ReqlOpFailedError, match="not saved and has been undone"):
        r.expr([first, second]).run(connection)
    with pytest.raises(ReqlOpFailedError, match="not saved and has been undone"):
        r.expr([second, r.error("answered after what was written is judged")]).run(connection)
    assert list(table.order_by("id").run(connection)) == [{"id": 1}, {"id": 2}]
    full_disk(False)
    answers = r.expr([first, table.insert({"id": 3})]).run(connection)
    assert [answer["errors"] for answer in answers] == [0, 0]
    server.kill()
    server.start()
    rows = r.table("t").order_by("id").run(r.connect(port=server.port))
    assert list(rows) == [{"id": 1, "n": 7}, {"id": 2}, {"id": 3}]


def test_a_table_whose_creation_was_not_saved_is_not_there(
    server: EmbeddedServer, full_disk: Any
) -> None:
    connection = r.connect(port=server.port)
    r.table_create("kept").run(connection)
    r.table("kept").insert({"id": 1}).run(connection)
    wal = server.data / "reql.sqlite-wal"
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE,
                     (wal.stat().st_size, resource.RLIM_INFINITY))  # fmt: skip
    with pytest.raises(ReqlOpFailedError, match="not saved"):
        r.table_create("lost").run(connection)
    with pytest.raises(ReqlOpFailedError, match="not saved"):
        r.table_drop("kept").run(connection)
    assert r.table_list().run(connection) == ["kept"]
    assert list(r.table("kept").run(connection)) == [{"id": 1}]
    full_disk(False)
    r.table_create("found").run(connection)
    assert r.table_list().run(connection) == ["found", "kept"]


# --- the folder and the file --------------------------------------------------------------


def start_and_read_refusal(data: Path) -> str:
    """What the server says when it will not start."""
    ended = subprocess.run(
        [sys.executable, "-m", "db.embedded", "--data", str(data), "--port", "0"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_second_process_on_the_folder_is_refused(server: EmbeddedServer) -> None:
    refusal = start_and_read_refusal(server.data)
    assert f"in use by another server (process {server.pid})" in refusal
    assert r.db_list().run(r.connect(port=server.port)) == ["rethinkdb", "test"]


def contents(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name.startswith("reql.sqlite") and not path.name.endswith("-shm")
    }


@pytest.fixture
def stopped(server: EmbeddedServer) -> Path:
    """A data folder with some hundred documents, and nobody using it."""
    connection = r.connect(port=server.port)
    r.table_create("t").run(connection)
    rows = [{"id": i, "pad": "x" * 500} for i in range(500)]
    r.table("t").insert(rows).run(connection)
    server.stop()
    return server.data


def foreign_sqlite(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE other (x)")


def overwrite_the_middle(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(size // 2)
        opened.write(b"\x5a" * (size // 4))


DAMAGE = {
    "torn to a third": lambda file: os.truncate(file, file.stat().st_size // 3),
    "empty": lambda file: os.truncate(file, 0),
    "a text": lambda file: file.write_text("my diary\n" * 100),
    "another program's database": foreign_sqlite,
    "written over in the middle": overwrite_the_middle,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_or_foreign_file_is_refused_and_left_as_it_is(stopped: Path, kind: str) -> None:
    DAMAGE[kind](stopped / "reql.sqlite")
    before = contents(stopped)
    refusal = start_and_read_refusal(stopped)
    assert "left as it is" in refusal
    assert contents(stopped) == before


def test_a_newer_format_is_refused(stopped: Path) -> None:
    with sqlite3.connect(stopped / "reql.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "format 99" in start_and_read_refusal(stopped)


def test_a_missing_file_beside_its_log_is_refused(stopped: Path) -> None:
    (stopped / "reql.sqlite").rename(stopped / "elsewhere")
    (stopped / "reql.sqlite-wal").write_bytes(b"log")
    assert "its log" in start_and_read_refusal(stopped)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "Cannot use the data folder" in start_and_read_refusal(tmp_path / "file" / "below")


def test_a_taken_port_is_refused(server: EmbeddedServer, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "db.embedded", "--data", str(tmp_path / "other"),
         "--port", str(server.port)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{server.port}" in ended.stderr


def test_a_copied_folder_is_a_working_server(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "copy")
    copy = EmbeddedServer(tmp_path / "copy")
    copy.start()
    try:
        assert r.table("t").count().run(r.connect(port=copy.port)) == 500
    finally:
        copy.stop()
