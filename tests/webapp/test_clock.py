"""Backups by the clock: made when due, tried, deleted when too old, by one web side of several."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from db import backup, backup_rows
from db.backup_schedule import failing
from db.cli import main
from db.connection import Database, r
from tests.servers import wait_until
from tests.webapp.test_realtime import WebServer
from webapp.clock.backups import BackupKeeper
from webapp.clock.holder import TAKE_OVER_S, Clock
from webapp.settings import WebSettings

MADE_S = 60.0
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@contextmanager
def running(database: Database, settings: WebSettings) -> Iterator[None]:
    """A clock in this process, as `python -m webapp` has one."""
    clock = Clock(database, [BackupKeeper(database, settings)])
    clock.start()
    try:
        yield
    finally:
        clock.stop()


@pytest.fixture
def clock(database: Database, web_settings: WebSettings) -> Iterator[None]:
    with running(database, web_settings):
        yield


def state_of(database: Database, backup_id: Any) -> str:
    row = database.run(r.table("backups").get(backup_id)) or {}
    return str(row.get("observed", {}).get("state")) if row else "gone"


def wait_for(database: Database, backup_id: Any, state: str, timeout_s: float = MADE_S) -> None:
    wait_until(lambda: state_of(database, backup_id) == state, timeout_s, f"it is {state}")


def make_due(database: Database, **fields: Any) -> None:
    row = {"every_hours": 1, "changed_at": LONG_AGO, **fields}
    database.run(r.table("config").get("backups").update(row))


@pytest.mark.usefixtures("clock")
def test_a_script_orders_one_and_has_it_deleted(
    database: Database, web_settings: WebSettings
) -> None:
    wish = {"desired": {"state": "available"}}
    backup_id = database.run(r.table("backups").insert(wish))["generated_keys"][0]
    wait_for(database, backup_id, "verified")
    file = web_settings.backups / f"{backup_id}.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(web_settings.backups.stat().st_mode) == 0o700
    row = database.run(r.table("backups").get(backup_id))
    assert row["observed"]["size"] == file.stat().st_size
    assert row["observed"]["rows"] == backup.verify(file).rows
    database.run(r.table("backups").get(backup_id).update({"desired": {"state": "deleted"}}))
    wait_for(database, backup_id, "gone")
    assert not file.exists()


@pytest.mark.usefixtures("clock")
def test_a_row_whose_id_leads_elsewhere_is_refused_and_stops_nothing(
    database: Database, web_settings: WebSettings
) -> None:
    outside = web_settings.kernel.data / "outside.jsonl"
    outside.parent.mkdir(parents=True, exist_ok=True)
    outside.write_text("not ours to touch")
    for odd in ("../outside", 7, "a/b"):
        database.run(r.table("backups").insert({"id": odd, "desired": {"state": "available"}}))
        wait_for(database, odd, "failed")
    good = backup_rows.order(database, "user/root")["id"]
    wait_for(database, good, "verified")
    assert database.run(r.table("backups").get(7)["observed"]["reason"]) == "InvalidRow"
    for odd in ("../outside", 7):
        database.run(r.table("backups").get(odd).update({"desired": {"state": "deleted"}}))
        wait_for(database, odd, "gone")
    assert outside.read_text() == "not ours to touch"


def test_files_without_a_row_get_one_and_are_tried(
    database: Database, web_settings: WebSettings
) -> None:
    folder = web_settings.backups
    folder.mkdir(parents=True)
    backup.backup(database, folder / "by-hand.jsonl", report=lambda _: None)
    (folder / "torn.jsonl").write_bytes((folder / "by-hand.jsonl").read_bytes()[:-200])
    with running(database, web_settings):
        wait_for(database, "by-hand", "verified")
        wait_for(database, "torn", "unverified")
        told = database.run(r.table("backups").get("torn")["observed"])
        assert told["reason"] == "Damaged"
        assert "incomplete" in told["message"] or "not JSON" in told["message"]
        (folder / "by-hand.jsonl").unlink()
        wait_for(database, "by-hand", "missing")


def test_what_is_too_old_goes_and_what_was_made_by_hand_stays(
    database: Database, web_settings: WebSettings
) -> None:
    folder = web_settings.backups
    folder.mkdir(parents=True)
    first = folder / "by-hand.jsonl"
    backup.backup(database, first, report=lambda _: None)
    for day in range(4):
        copy = folder / f"isard-2020010{day}T023000Z-scheduled-aa.jsonl"
        copy.write_bytes(first.read_bytes())
        at = (LONG_AGO + timedelta(days=day)).timestamp()
        os.utime(copy, (at, at))
    os.utime(first, (0, 0))
    database.run(r.table("config").get("backups").update({"enabled": False, "keep_count": 2}))
    kept = {"by-hand.jsonl", "isard-20200103T023000Z-scheduled-aa.jsonl"}
    with running(database, web_settings):
        # All are older than 30 days: the newest verified one stays, and what a person made.
        wait_until(
            lambda: {path.name for path in folder.glob("*.jsonl")} == kept,
            MADE_S,
            "the old ones are gone",
        )
    assert first.exists()


def test_a_failing_schedule_is_told_with_the_reason(
    database: Database, web_settings: WebSettings
) -> None:
    web_settings.kernel.data.mkdir(parents=True, exist_ok=True)
    web_settings.backups.write_text("a file where the folder should be")
    make_due(database)
    with running(database, web_settings):
        wait_until(
            lambda: database.run(r.table("backups").filter({"kind": "scheduled"})["observed"]),
            MADE_S,
            "it is ordered",
        )
        backup_id = database.run(r.table("backups")["id"])[0]
        wait_for(database, backup_id, "failed")
    made = backup_rows.made_by_schedule(backup_rows.list_backups(database))
    told = failing(backup_rows.schedule_of(database), made, datetime.now(UTC))
    assert told is not None
    assert str(web_settings.backups) in told


def test_the_commands_order_list_and_change_the_schedule(
    database: Database,
    web_settings: WebSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    s = database.settings
    monkeypatch.setenv("ISARD_DB_PORT", str(s.db_port))
    monkeypatch.setenv("ISARD_DB_HOST", s.db_host)
    monkeypatch.setenv("ISARD_DB_NAME", s.db_name)
    with running(database, web_settings):
        assert main(["backups", "now"]) == 0
        said = capsys.readouterr().out.splitlines()
        backup_id = next(line for line in said if line.startswith("isard-")).split(":")[0]
        assert state_of(database, backup_id) == "verified"
        assert main(["backups"]) == 0
        assert f"{backup_id}  verified" in capsys.readouterr().out
        assert main(["backups", "delete", backup_id]) == 0
        wait_for(database, backup_id, "gone")
    assert main(["backups", "schedule", "--every-hours", "6", "--keep-count", "3"]) == 0
    assert "Every 6 h" in capsys.readouterr().out
    assert main(["backups", "schedule", "--at", "25:00"]) == 1
    assert "at must be like 02:30" in capsys.readouterr().err
    assert main(["backups", "delete", "none"]) == 1


class WebSides:
    """Two real web sides on one database and one folder."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.servers = [WebServer(database) for _ in range(2)]

    def holder(self) -> WebServer | None:
        row = self._database.run(r.table("engine").get("clock")) or {}
        pids = [server.pid for server in self.servers if server.is_running()]
        for server in self.servers:
            if server.pid in pids and f":{server.pid}:" in str(row.get("holder")):
                return server
        return None


@pytest.fixture
def web_sides(database: Database) -> Iterator[WebSides]:
    sides = WebSides(database)
    try:
        for server in sides.servers:
            server.start()
        wait_until(sides.holder, 30, "one of them holds the clock")
        yield sides
    finally:
        for server in sides.servers:
            server.stop()


def test_one_web_side_makes_what_was_missed_and_the_other_takes_over(
    database: Database, web_sides: WebSides, web_settings: WebSettings
) -> None:
    make_due(database)
    wait_until(
        lambda: database.run(
            r.table("backups").filter({"observed": {"state": "verified"}}).count()
        ),
        MADE_S,
        "the missed backup is made",
    )
    assert database.run(r.table("backups").count()) == 1
    assert len(list(web_settings.backups.glob("*.jsonl"))) == 1
    first = web_sides.holder()
    assert first is not None
    first.kill()
    ordered = backup_rows.order(database, "user/root")["id"]
    wait_for(database, ordered, "verified", TAKE_OVER_S + MADE_S)
    second = web_sides.holder()
    assert second is not None
    assert second is not first
    assert database.run(r.table("backups").count()) == 2


def jobs_of(folder: Path) -> list[int]:
    """Processes at work in the folder of backups: the job, and its private database."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(str(folder).encode() in word for word in words):
            found.append(int(entry.parent.name))
    return found


@pytest.mark.parametrize("cut_in", ["writing", "checking"])
def test_a_web_side_killed_in_the_middle_leaves_no_half_file_and_is_resumed(
    database: Database, web_settings: WebSettings, cut_in: str
) -> None:
    rows = [{"id": n, "text": "x" * 500} for n in range(20_000)]
    for at in range(0, len(rows), 2000):
        database.run(r.table("events").insert(rows[at : at + 2000], durability="soft"))
    folder = web_settings.backups
    server = WebServer(database)
    server.start()
    try:
        ordered = backup_rows.order(database, "user/root")["id"]
        left = f"{ordered}.jsonl.partial" if cut_in == "writing" else ".trial-*"
        wait_until(lambda: list(folder.glob(left)), MADE_S, f"it is {cut_in}", every_s=0.002)
        server.kill()
        wait_until(lambda: not jobs_of(folder), 30, "its processes end with it")
        whole = list(folder.glob("*.jsonl"))
        assert len(whole) == (cut_in == "checking")
        for file in whole:
            backup.verify(file)
        assert state_of(database, ordered) not in ("verified", "unverified", "failed")
        server.start()
        wait_for(database, ordered, "verified", TAKE_OVER_S + MADE_S)
    finally:
        server.stop()
    assert {path.name for path in folder.iterdir()} == {".lock", f"{ordered}.jsonl"}
    assert backup.verify(folder / f"{ordered}.jsonl").rows > len(rows)


@pytest.mark.usefixtures("clock")
def test_an_epoch_from_nowhere_stops_nothing(database: Database) -> None:
    wish = {"desired": {"state": "available"}, "observed": {"epoch": 10**9}}
    backup_id = database.run(r.table("backups").insert(wish))["generated_keys"][0]
    wait_for(database, backup_id, "verified")


def test_a_stopped_web_side_lets_the_next_one_begin_at_once(
    database: Database, web_settings: WebSettings
) -> None:
    with running(database, web_settings):
        wait_until(lambda: database.run(r.table("engine").get("clock")), 30, "it is held")
    assert database.run(r.table("engine").get("clock")["released"]) is True
