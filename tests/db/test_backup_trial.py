"""A backup is restored into a private empty database and compared; the job that makes one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from db import backup, backup_files, backup_trial, desired
from db.backup import BackupError
from db.cli import main
from db.connection import Database, r
from tests.db.test_backup import DESKTOP, ignore
from tests.servers import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir()
    return made


@pytest.fixture
def archive(database: Database, folder: Path) -> Path:
    desired.create_domain(database, DESKTOP, "user/ana")
    database.run(r.table("credentials").insert({"id": "ana", "argon2": "hash"}))
    rows = [{"id": n, "blob": r.binary(b"\x00"), "share": n / 3} for n in range(300)]
    database.run(r.table("groups").insert(rows))
    database.run(r.table("engine").insert({"id": "lease", "epoch": 5, "counter": 3}))
    path = folder / "all.jsonl"
    backup.backup(database, path, report=ignore)
    return path


def test_a_good_backup_has_no_differences_and_leaves_nothing(archive: Path, folder: Path) -> None:
    trial = backup_trial.try_restore(archive, folder, ignore)
    assert trial.differences == ()
    assert trial.summary.rows > 300
    assert [path.name for path in folder.iterdir()] == ["all.jsonl"]


def test_what_is_not_restored_as_it_was_is_named(archive: Path, database: Database) -> None:
    """The same archive against a database in which a row is lost, another and one too many."""
    found = backup_trial._differences(database, archive, exact=True)
    assert list(found) == []
    database.run(r.table("groups").get(7).delete())
    database.run(r.table("groups").get(8).update({"share": 0}))
    database.run(r.table("users").insert({"id": "eve"}))
    database.run(r.table("credentials").insert([{"id": "eve"}, {"id": "mallory"}]))
    assert list(backup_trial._differences(database, archive, exact=True)) == [
        "credentials: 1 rows in the archive, 3 after the restore.",
        "groups: row 7 was not restored.",
        "groups: row 8 is another one after the restore.",
        "groups: 301 rows in the archive, 300 after the restore.",
    ]


def test_an_archive_of_a_newer_program_cannot_be_tried(archive: Path, folder: Path) -> None:
    header, rest = archive.read_bytes().split(b"\n", 1)
    newer = folder / "newer.jsonl"
    newer.write_bytes(json.dumps({**json.loads(header), "schema": 999}).encode() + b"\n" + rest)
    with pytest.raises(BackupError):
        backup_trial.try_restore(newer, folder, ignore)


def test_secrets_are_left_out_of_a_copy_that_is_whole_all_the_same(
    archive: Path, folder: Path
) -> None:
    copy = folder / "copy.jsonl"
    with archive.open("rb") as file:
        copy.write_bytes(b"".join(backup.without_secrets(file, archive)))
    assert b"argon2" in archive.read_bytes()
    assert b"argon2" not in copy.read_bytes()
    summary = backup.verify(copy)
    assert not summary.secrets
    assert summary.rows == backup.verify(archive).rows - 1
    assert backup_trial.try_restore(copy, folder, ignore).differences == ()


def test_the_command_tries_a_restore(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(archive), "--restore"]) == 0
    assert "is whole" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["", ".x", "../x", "a/b", "a\x00b", "a" * 101, 5, None, "x\n", "..", "/etc/passwd"]
)
def test_no_name_leads_out_of_the_folder(folder: Path, name: object) -> None:
    assert not backup_files.is_id(name)
    with pytest.raises(ValueError, match="no id of a backup"):
        backup_files.path_of(folder, name)  # type: ignore[arg-type]


def test_links_are_neither_listed_nor_opened(archive: Path, folder: Path) -> None:
    (folder / "link.jsonl").symlink_to("/etc/passwd")
    assert list(backup_files.list_files(folder)) == ["all"]
    with pytest.raises(OSError, match="symbolic link"):
        backup_files.open_backup(folder, "link")


def run_job(database: Database, folder: Path, *arguments: str) -> list[dict[str, object]]:
    s = database.settings
    environment = {
        "PATH": "/usr/bin:/bin",
        "ISARD_DB_PORT": str(s.db_port),
        "ISARD_DB_HOST": s.db_host,
        "ISARD_DB_NAME": s.db_name,
    }
    argv = [sys.executable, "-m", "db.backup_job", "--folder", str(folder), *arguments]
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_job_tells_how_far_it_is_and_what_came_of_it(database: Database, folder: Path) -> None:
    (folder / "isard-x.jsonl.partial").write_text("half")
    (folder / ".trial-x").mkdir()
    (folder / "by-hand.jsonl.partial").write_text("somebody else's")
    told = run_job(database, folder, "isard-1")
    assert [line["step"] for line in told[:2]] == ["writing", "writing"]
    end = told[-1]
    assert (end["step"], end["verified"]) == ("done", True)
    assert end["size"] == (folder / "isard-1.jsonl").stat().st_size
    assert (folder / "isard-1.jsonl").stat().st_mode & 0o777 == 0o600
    names = {path.name for path in folder.iterdir()}
    assert names == {".lock", "isard-1.jsonl", "by-hand.jsonl.partial"}


def test_a_job_says_why_a_backup_is_no_good(database: Database, folder: Path) -> None:
    (folder / "isard-1.jsonl").write_text("torn")
    end = run_job(database, folder, "isard-1")[-1]
    assert (end["step"], end["verified"], end["reason"]) == ("done", False, "Damaged")
    assert "Make another backup." in str(end["message"])
    assert run_job(database, folder, "--only-try", "isard-2")[-1]["reason"] == "FileMissing"
    nowhere = folder / "isard-1.jsonl" / "below"
    assert run_job(database, nowhere, "isard-3")[-1]["reason"] == "FolderUnusable"
