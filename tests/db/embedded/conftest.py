"""What the tests of the language share: a connection, a small table, and how errors are looked at.

They go through the ordinary driver, so that they also run against a real RethinkDB
(`RETHINKDB_URL`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rethinkdb import RethinkDB
from rethinkdb.errors import ReqlError

from tests.servers import EmbeddedServer

r = RethinkDB()

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def reql(reql_address: tuple[str, int]) -> Iterator[Run]:
    """`reql(query, **options)`: what a query yields, a sequence as a list."""
    host, port = reql_address
    connection = r.connect(host=host, port=port)

    def run(query: Any, **options: Any) -> Any:
        answer = r.expr(query).run(connection, **options)
        is_plain = answer is None or isinstance(answer, dict | list | str | bytes | int | float)
        return answer if is_plain or not hasattr(answer, "__next__") else list(answer)

    yield run
    connection.close()


@pytest.fixture(scope="module")
def people(reql: Run) -> Iterator[Any]:
    """Eight people with a town, an age and hobbies, with indexes on town and hobbies."""
    name = "people_" + uuid.uuid4().hex[:8]
    database = "language_" + uuid.uuid4().hex[:8]
    reql(r.db_create(database))
    reql(r.db(database).table_create(name))
    table = r.db(database).table(name)
    reql(table.index_create("town"))
    reql(table.index_create("hobbies", multi=True))
    reql(table.index_wait())
    towns = ("Alp", "Berga", "Cubelles")
    hobbies = (["chess"], ["chess", "ski"], [], ["ski"])
    reql(
        table.insert(
            [
                {"id": i, "town": towns[i % 3], "age": 20 + i, "hobbies": hobbies[i % 4]}
                for i in range(8)
            ]
        )
    )
    yield table
    reql(r.db_drop(database))


@pytest.fixture
def refusal(reql: Run) -> Callable[..., tuple[str, str]]:
    """`refusal(query)`: the class of the error a query ends with and its first line."""

    def refuse(query: Any, **options: Any) -> tuple[str, str]:
        with pytest.raises(ReqlError) as caught:
            reql(query, **options)
        return type(caught.value).__name__, str(caught.value.message).splitlines()[0]

    return refuse


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of its own for a test that stops, kills, limits or breaks it."""
    own = EmbeddedServer(tmp_path / "reql")
    own.start()
    yield own
    own.stop()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """An embedded server for a module's tests, whatever RETHINKDB_URL says."""
    shared = EmbeddedServer(tmp_path_factory.mktemp("embedded") / "reql")
    shared.start()
    yield shared
    shared.stop()
