"""The data folder: one server uses it; what cannot be used, as a port that is taken, is refused and
left as it is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.db.embedded.conftest import r
from tests.servers import ROOT, EmbeddedServer

pytestmark = pytest.mark.embedded_only("stops the server and damages its files")


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
