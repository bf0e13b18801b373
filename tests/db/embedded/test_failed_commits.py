"""A commit that fails is undone as a whole and said, and writes go on once they can be kept."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Any

import pytest
from rethinkdb.errors import ReqlOpFailedError

from db.connection import Database
from db.errors import DatabaseCannotWrite
from db.settings import Settings
from tests.db.embedded.conftest import r
from tests.servers import EmbeddedServer

pytestmark = pytest.mark.embedded_only("limits the server's files")


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
