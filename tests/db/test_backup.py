"""Backup and restore: what goes in comes out; nothing damaged, newer or dangerous is written."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from db import backup, desired, observed, queries, schema
from db.backup import BackupError
from db.cli import main
from db.connection import Database, r
from db.settings import Settings

DESKTOP = {
    "id": "0b0f3b3e-54a7-4c3b-9d9e-0d6b5d9f2f10",
    "kind": "desktop",
    "name": 'Quotes " and ünïcode',
    "user": "ana",
    "group": "default",
    "category": "default",
    "origin": {"template": "5f0f3b3e-54a7-4c3b-9d9e-0d6b5d9f2f10"},
}


def ignore(_line: str) -> None:
    """Progress is for people."""


@pytest.fixture
def other(settings: Settings) -> Iterator[Database]:
    """An empty database beside the first."""
    handle = Database(replace(settings, db_name=settings.db_name + "_other"))
    yield handle
    if handle.settings.db_name in handle.run(r.db_list()):
        handle.run(r.db_drop(handle.settings.db_name))
    handle.close()


@pytest.fixture
def archive(database: Database, tmp_path: Path) -> Path:
    desired.create_domain(database, DESKTOP, "user/ana")
    seen = {"state": "started", "disks": [{"id": "d", "path": "/x"}]}
    observed.write_observed(database, "domains", DESKTOP["id"], seen, epoch=7)
    database.run(r.table("credentials").insert({"id": "ana", "argon2": "hash"}))
    database.run(r.table("groups").insert({"id": "g", "blob": r.binary(b"\x00\xff")}))
    path = tmp_path / "all.jsonl"
    backup.backup(database, path, report=ignore)
    return path


def test_what_goes_in_comes_out(archive: Path, database: Database, other: Database) -> None:
    summary = backup.restore(other, archive, report=ignore)
    assert summary.rows > 5
    for table in sorted(set(schema.TABLES) - {"engine", "domains"} - backup.VOLATILE_TABLES):
        before = database.run(r.table(table).order_by(index="id"))
        assert other.run(r.table(table).order_by(index="id")) == before, table
    row = queries.get_row(other, "domains", DESKTOP["id"])
    assert row is not None
    assert row["name"] == DESKTOP["name"]
    assert row["desired"] == database.run(r.table("domains").get(DESKTOP["id"])["desired"])
    assert set(other.run(r.table("domains").index_list())) == set(schema.TABLES["domains"])


def test_observations_are_unknown_until_seen_again(archive: Path, other: Database) -> None:
    backup.restore(other, archive, report=ignore)
    row = queries.get_row(other, "domains", DESKTOP["id"])
    assert row is not None
    assert row["observed"]["state"] == "unknown"
    assert row["observed"]["disks"] == [{"id": "d", "path": "/x"}]
    lease = queries.get_row(other, "engine", "lease")
    assert lease is not None
    assert lease["epoch"] > 7


def test_the_web_sides_lease_is_not_brought_back(
    database: Database, other: Database, tmp_path: Path
) -> None:
    """A web side that runs meanwhile takes it anew: the old row must not be in its way."""
    database.run(r.table("engine").insert({"id": "clock", "holder": "old", "epoch": 3}))
    backup.backup(database, tmp_path / "all.jsonl", report=ignore)
    backup.restore(other, tmp_path / "all.jsonl", report=ignore)
    assert queries.get_row(other, "engine", "clock") is None


def test_an_archive_is_private_and_never_overwritten(archive: Path, database: Database) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    before = archive.read_bytes()
    with pytest.raises(BackupError, match="exists already"):
        backup.backup(database, archive, report=ignore)
    assert archive.read_bytes() == before
    assert list(archive.parent.glob("*.partial")) == []


def test_secrets_can_be_left_out(archive: Path, database: Database, tmp_path: Path) -> None:
    assert b'"argon2"' in archive.read_bytes()
    path = tmp_path / "public.jsonl"
    backup.backup(database, path, secrets=False, report=ignore)
    assert b'"argon2"' not in path.read_bytes()


@pytest.mark.parametrize("cut", [0, 1, 50, 0.5, 0.9, -2])
def test_a_torn_archive_writes_nothing(
    archive: Path, other: Database, tmp_path: Path, cut: float
) -> None:
    whole = archive.read_bytes()
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(whole[: int(len(whole) * cut) if 0 < cut < 1 else int(cut)])
    with pytest.raises(BackupError):
        backup.restore(other, torn, report=ignore)
    assert other.settings.db_name not in other.run(r.db_list())


def test_a_changed_row_is_noticed(archive: Path, other: Database) -> None:
    archive.write_bytes(archive.read_bytes().replace(b'"user":"ana"', b'"user":"eve"'))
    with pytest.raises(BackupError, match="table domains is damaged"):
        backup.restore(other, archive, report=ignore)


def test_a_file_of_something_else_is_named(other: Database, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"hello": "world"}\n')
    with pytest.raises(BackupError, match="no backup of this product"):
        backup.restore(other, path, report=ignore)


def test_a_database_in_use_is_not_overwritten_unasked(archive: Path, database: Database) -> None:
    database.run(r.table("groups").insert({"id": "later"}))
    with pytest.raises(BackupError, match="not empty"):
        backup.restore(database, archive, report=ignore)
    backup.restore(database, archive, replace=True, report=ignore)
    assert queries.get_row(database, "groups", "later") is None


def test_a_working_engine_refuses_a_restore(archive: Path, database: Database) -> None:
    database.run(r.table("engine").insert({"id": "lease", "counter": 0}))
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(0.2):
            database.run(r.table("engine").get("lease").update({"counter": r.row["counter"] + 1}))

    engine = threading.Thread(target=renew)
    engine.start()
    try:
        with pytest.raises(BackupError, match="engine is at work"):
            backup.restore(database, archive, replace=True, report=ignore)
    finally:
        stop.set()
        engine.join(10)


def test_the_commands_say_what_they_did(
    archive: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ISARD_DB_HOST", settings.db_host)
    monkeypatch.setenv("ISARD_DB_PORT", str(settings.db_port))
    monkeypatch.setenv("ISARD_DB_NAME", settings.db_name)
    assert main(["verify", str(archive)]) == 0
    assert "is whole" in capsys.readouterr().out
    assert main(["version"]) == 0
    assert capsys.readouterr().out.strip() == str(schema.newest_version())
    assert main(["restore", str(archive.with_name("none.jsonl"))]) == 1
    assert "cannot be read" in capsys.readouterr().err
