"""Backups over REST: for administrators, secrets only when asked, never out of the folder."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from db import backup, backup_rows
from db.connection import Database, r
from tests.servers import wait_until
from tests.webapp.conftest import Api, Rows
from webapp.clock.backups import BackupKeeper
from webapp.clock.holder import Clock
from webapp.settings import WebSettings

SECRET = b'"argon2"'


@pytest.fixture
def clock(database: Database, web_settings: WebSettings) -> Iterator[None]:
    clock = Clock(database, [BackupKeeper(database, web_settings)])
    clock.start()
    yield
    clock.stop()


def wait_for(root: Api, backup_id: str, state: str) -> dict[str, Any]:
    def found() -> Any:
        item = root("GET", f"/backups/{backup_id}").json
        return item if item.get("state") == state else None

    return wait_until(found, 60, f"it is {state}")  # type: ignore[return-value]


def put(rows: Rows, settings: WebSettings, backup_id: str, state: str = "verified") -> Path:
    """A backup that has been made, with its file."""
    file = settings.backups / f"{backup_id}.jsonl"
    settings.backups.mkdir(parents=True, exist_ok=True)
    backup.backup(rows.database, file, report=lambda _: None)
    wish = {"state": "available", "at": None}
    observed = {"state": state, "secrets": True, "for": wish}
    row = {"id": backup_id, "kind": "hand", "desired": {"state": "available"}}
    rows.put("backups", {**row, "observed": observed})
    return file


@pytest.mark.usefixtures("clock")
def test_one_is_ordered_followed_downloaded_and_deleted(
    root: Api, web_settings: WebSettings, tmp_path: Path
) -> None:
    answer = root("POST", "/backups", {})
    assert (answer.status_code, answer.json["state"]) == (202, "waiting")
    backup_id = answer.json["id"]
    seen = wait_for(root, backup_id, "verified")
    assert (seen["kind"], seen["is_open"], seen["can_download"]) == ("hand", False, True)
    assert seen["rows"] > 5
    assert seen["made_at"].endswith("Z")
    assert seen["created_at"][:16] <= seen["made_at"][:16]
    assert [item["id"] for item in root("GET", "/backups").json["items"]] == [backup_id]

    copy = tmp_path / "copy.jsonl"
    got = root("GET", f"/backups/{backup_id}/file")
    copy.write_bytes(got.data)
    assert SECRET not in copy.read_bytes()
    assert not backup.verify(copy).secrets
    assert f"{backup_id}-without-secrets.jsonl" in got.headers["Content-Disposition"]

    whole = root("GET", f"/backups/{backup_id}/file?secrets=true")
    file = web_settings.backups / f"{backup_id}.jsonl"
    assert whole.data == file.read_bytes()
    assert whole.content_length == file.stat().st_size
    assert SECRET in whole.data
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    assert root("DELETE", f"/backups/{backup_id}").json["state"] == "deleting"
    wait_until(lambda: root("GET", f"/backups/{backup_id}").status_code == 404, 30, "it is deleted")
    assert not file.exists()


@pytest.mark.usefixtures("clock")
def test_one_without_secrets_never_had_them(root: Api, web_settings: WebSettings) -> None:
    backup_id = root("POST", "/backups", {"secrets": False}).json["id"]
    assert wait_for(root, backup_id, "verified")["secrets"] is False
    assert SECRET not in (web_settings.backups / f"{backup_id}.jsonl").read_bytes()
    assert SECRET not in root("GET", f"/backups/{backup_id}/file?secrets=true").data


@pytest.mark.usefixtures("clock")
def test_a_file_that_spoils_is_told_when_tried_again(
    root: Api, rows: Rows, web_settings: WebSettings
) -> None:
    file = put(rows, web_settings, "spoilt", "unverified")
    file.write_bytes(file.read_bytes().replace(b'"admin"', b'"eve"'))
    assert root("POST", "/backups/spoilt/trials").status_code == 202
    wait_until(
        lambda: root("GET", "/backups/spoilt").json["reason"] == "Damaged", 60, "it is tried"
    )
    assert "Make another backup" in root("GET", "/backups/spoilt").json["message"]
    refused = root("GET", "/backups/spoilt/file")
    assert (refused.status_code, refused.json["reason"]) == (409, "Damaged")
    assert root("GET", "/backups/spoilt/file?secrets=true").status_code == 200


def test_a_download_does_not_leave_the_folder(
    root: Api, rows: Rows, web_settings: WebSettings
) -> None:
    outside = put(rows, web_settings, "real").rename(web_settings.kernel.data / "outside.jsonl")
    (web_settings.backups / "real.jsonl").symlink_to(outside)
    refused = root("GET", "/backups/real/file?secrets=true")
    assert (refused.status_code, refused.json["reason"]) == (409, "FileMissing")
    row = rows.get("real", "backups")
    for name in ("..%2Foutside", ".hidden", "real%0A"):
        rows.put("backups", {**row, "id": name.replace("%2F", "/").replace("%0A", "\n")})
        answer = root("GET", f"/backups/{name}/file?secrets=true")
        assert answer.status_code in (404, 409), name
    (web_settings.backups / "real.jsonl").unlink()
    (web_settings.backups / "real.jsonl").mkdir()
    assert root("GET", "/backups/real/file?secrets=true").status_code == 409


def test_what_is_not_made_yet_cannot_be_downloaded(root: Api) -> None:
    backup_id = root("POST", "/backups", {}).json["id"]
    refused = root("GET", f"/backups/{backup_id}/file")
    assert (refused.status_code, refused.json["reason"]) == (409, "NoFile")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"every_hours": 0}, "every_hours"),
        ({"every_hours": 721}, "every_hours"),
        ({"every_hours": 1.5}, "every_hours"),
        ({"at": "24:00"}, "at"),
        ({"at": "2:30"}, "at"),
        ({"keep_count": 0}, "keep_count"),
        ({"keep_days": "9"}, "keep_days"),
        ({"enabled": 1}, "enabled"),
        ({"often": True}, "often"),
        ({}, "body"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_by_its_field(
    root: Api, body: dict[str, Any], field: str
) -> None:
    before = root("GET", "/backup-schedule").json
    answer = root("PATCH", "/backup-schedule", body)
    assert answer.status_code == 422
    assert answer.json.get("field") == field
    assert root("GET", "/backup-schedule").json == before


def test_the_schedule_is_changed_and_what_a_script_set_wrongly_is_named(
    root: Api, database: Database
) -> None:
    assert root("GET", "/backup-schedule").json["every_hours"] == 24
    changed = root("PATCH", "/backup-schedule", {"every_hours": 6, "keep_days": 9}).json
    assert (changed["every_hours"], changed["keep_days"], changed["at"]) == (6, 9, "02:30")
    assert changed["next_at"] is not None
    assert not backup_rows.made_by_schedule(backup_rows.list_backups(database))
    off = root("PATCH", "/backup-schedule", {"enabled": False}).json
    assert (off["enabled"], off["next_at"], off["problem"]) == (False, None, None)
    database.run(r.table("config").get("backups").update({"every_hours": "often"}))
    told = root("GET", "/backup-schedule").json
    assert told["every_hours"] == 24
    assert told["field_problems"] == ["every_hours is 'often': 24 counts instead."]


def test_rows_of_a_script_are_shown_as_far_as_they_go(root: Api, database: Database) -> None:
    odd: list[dict[str, Any]] = [
        {"id": "a"},
        {"id": "b", "desired": 5, "observed": [], "created_at": "x", "kind": {}},
        {"id": "c", "observed": {"state": "writing", "progress": {"done": "x", "of": 0}}},
        {"id": "d", "kind": [], "observed": {"size": "big", "secrets": 3}},
        {"id": 7},
    ]
    database.run(r.table("backups").insert(odd))
    shown = root("GET", "/backups").json["items"]
    assert sorted(item["id"] for item in shown) == ["a", "b", "c", "d"]


def test_others_see_nothing_of_them(ana: Api, rows: Rows, web_settings: WebSettings) -> None:
    put(rows, web_settings, "one")
    for method, path, body in (
        ("GET", "/backups", None),
        ("POST", "/backups", {}),
        ("GET", "/backups/one", None),
        ("GET", "/backups/one/file", None),
        ("POST", "/backups/one/trials", None),
        ("DELETE", "/backups/one", None),
        ("GET", "/backup-schedule", None),
        ("PATCH", "/backup-schedule", {"enabled": False}),
    ):
        assert ana(method, path, body).status_code == 403, (method, path)


def test_a_browser_needs_the_pages_proof(browser: FlaskClient, database: Database) -> None:
    with browser.session_transaction() as session:
        session["user"], session["epoch"] = "root", 1
    assert browser.get("/api/v1/backups").status_code == 200
    assert browser.post("/api/v1/backups", json={}).status_code == 403
    assert database.run(r.table("backups").count()) == 0


def test_what_is_asked_is_in_the_audit_log(
    root: Api, rows: Rows, web_settings: WebSettings, database: Database
) -> None:
    put(rows, web_settings, "one")
    root("GET", "/backups/one/file?secrets=true")
    root("DELETE", "/backups/one")
    events = database.run(r.table("events").get_all("backup/one", index="target").order_by("at"))
    assert [(event["what"], event["who"]) for event in events] == [
        ("backup.download", "user/root"),
        ("backup.delete", "user/root"),
    ]
    assert events[0]["detail"] == {"secrets": True}
