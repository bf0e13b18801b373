"""RETHINKDB_URL takes the tests of the database to another server; what stays at home says why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.connection import r
from tests.servers import ROOT, EmbeddedServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Stands for the RethinkDB that somebody points the tests at."""
    other = EmbeddedServer(tmp_path / "other")
    other.start()
    yield other
    other.stop()


@pytest.mark.embedded_only("is itself what sets RETHINKDB_URL")
def test_the_tests_go_where_rethinkdb_url_points(server: EmbeddedServer) -> None:
    files = ["test_terms_joins.py", "test_writes.py", "test_language_bounds.py"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         *(f"tests/db/embedded/{file}" for file in files)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "RETHINKDB_URL": f"rethinkdb://127.0.0.1:{server.port}"},
    )  # fmt: skip
    told = re.search(r"(\d+) passed, (\d+) deselected", ended.stdout)
    assert ended.returncode == 0, ended.stdout
    assert told is not None
    passed, stayed = map(int, told.groups())
    assert passed > 10
    assert stayed > 10
    connection = r.connect(port=server.port)
    stats = r.db("rethinkdb").table("stats").get(["cluster"]).run(connection)
    assert stats["query_engine"]["queries_total"] > 200
