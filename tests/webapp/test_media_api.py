"""Media over REST: who may do what, uploads in pieces, and the disk host's one look at them."""

from __future__ import annotations

import fcntl
import os
import time
from threading import get_native_id
from typing import Any

import pytest
from flask import Flask

from db import upload_tickets
from db.connection import r
from tests.webapp.conftest import Api, Rows
from webapp.services import uploads
from webapp.settings import WebSettings

BY_URL = {"name": "Debian", "source": {"url": "https://h.example/debian.iso"}}


def make_advanced(rows: Rows, user: str) -> None:
    rows.database.run(r.table("users").get(user).update({"role": "advanced"}))


def test_adding_takes_an_advanced_user_and_a_decent_address(ana: Api, rows: Rows) -> None:
    assert ana("POST", "/media", BY_URL).status_code == 403
    make_advanced(rows, "ana")
    made = ana("POST", "/media", {**BY_URL, "description": "12.11"})
    assert made.status_code == 201
    assert made.headers["Location"].endswith(made.json["id"])
    row = rows.get(made.json["id"], "media")
    assert row["desired"]["state"] == "available"
    assert (row["user"], row["kind"], row["pool"]) == ("ana", "iso", "default")
    for source, field in (
        ({"url": "file:///etc/passwd"}, "source.url"),
        ({"url": "http://0x7f.1/"}, "source.url"),
        ({"url": "https://h.example/x", "sha256": "12"}, "source.sha256"),
        ({"url": "https://h.example/x", "upload": True, "size": 1}, "source"),
        ({"upload": True}, "source"),
        ({"upload": True, "size": 2**50}, "source.size"),
    ):
        refused = ana("POST", "/media", {"name": "x", "source": source})
        assert (refused.status_code, refused.json["field"]) == (422, field), source
    assert ana("POST", "/media", {**BY_URL, "pool": "no"}).json["reason"] == "NoSuchPool"


def test_a_disk_beyond_the_owners_limit_is_an_administrators(
    ana: Api, root: Api, rows: Rows
) -> None:
    make_advanced(rows, "ana")
    rows.put("os_profiles", {"id": "other", "name": "Other", "spec": {"memory_mib": 512}})
    body = {"name": "x", "origin": {"media": rows.medium("ana")["id"], "size_gib": 501}}
    refused = ana("POST", "/desktops", body)
    assert (refused.status_code, refused.json["field"]) == (422, "origin.size_gib")
    assert rows.count("domains") == 0
    assert root("POST", "/desktops", body).status_code == 201
    body["origin"]["size_gib"] = 500
    assert ana("POST", "/desktops", body).status_code == 201


def test_nobody_is_shown_the_secrets_of_an_address(ana: Api, root: Api, rows: Rows) -> None:
    medium = rows.medium("ana")
    for api in (ana, root):
        text = api("GET", f"/media/{medium['id']}").get_data(as_text=True)
        assert "https://h.example/x.iso" in text
        assert "s3cret" not in text
        assert "t0ken" not in text


def test_what_is_shared_is_seen_and_used_but_not_changed(ana: Api, ben: Api, rows: Rows) -> None:
    medium = rows.medium("ana")
    assert ben("GET", f"/media/{medium['id']}").status_code == 404
    some = {"allowed": {"groups": ["default"]}}
    assert ana("PATCH", f"/media/{medium['id']}", some).status_code == 202
    assert ben("GET", f"/media/{medium['id']}").status_code == 200
    nobody = {"allowed": {"roles": False}}
    assert not ana("PATCH", f"/media/{medium['id']}", nobody).json["shared"]
    assert ben("GET", f"/media/{medium['id']}").status_code == 404
    everybody = {"allowed": {"roles": []}}
    assert ana("PATCH", f"/media/{medium['id']}", everybody).status_code == 202
    seen = ben("GET", f"/media/{medium['id']}").json
    assert seen["shared"]
    assert seen["actions"] == []
    assert "allowed" not in seen
    assert ben("DELETE", f"/media/{medium['id']}").status_code == 403
    assert ben("PATCH", f"/media/{medium['id']}", {"name": "mine"}).status_code == 403
    assert [item["id"] for item in ben("GET", "/media").json["items"]] == [medium["id"]]


def test_wishes_follow_the_condition(ana: Api, rows: Rows) -> None:
    media_id = rows.medium("ana")["id"]
    path = f"/media/{media_id}"
    wish: Any = lambda state: ana("PATCH", path, {"desired": {"state": state}})  # noqa: E731
    assert wish("available").json["condition"] == "waiting"
    assert rows.get(media_id, "media")["desired"]["by"]["id"] == "user/ana"
    assert wish("absent").json["condition"] == "absent"
    assert wish("available").json["desired"]["state"] == "available"
    rows.available(media_id)
    assert ana("GET", path).json["condition"] == "available"
    assert wish("absent").json["reason"] == "NotAllowedNow"
    at = rows.get(media_id, "media")["desired"]["at"]
    failure = {"terminal": True, "reason": "DownloadFailed", "message": "x"}
    rows.observe(media_id, "media", state="failed", failure=failure)
    assert "retry" in ana("GET", path).json["actions"]
    assert wish("available").status_code == 202
    assert rows.get(media_id, "media")["desired"]["at"] > at


def test_a_medium_in_a_drive_is_not_deleted(ana: Api, rows: Rows) -> None:
    media_id = rows.medium("ana")["id"]
    rows.desktop("ana", spec={"media": [{"id": media_id}]})
    refused = ana("DELETE", f"/media/{media_id}")
    assert (refused.status_code, refused.json["reason"]) == (409, "InUse")
    other = rows.medium("ana")["id"]
    for odd in ({"spec": "x"}, {"spec": {"media": [other, 7, None]}}, {"origin": other}):
        rows.put("domains", {"id": f"odd {odd}", **odd})
    deleted = ana("DELETE", f"/media/{other}")
    assert (deleted.status_code, deleted.json["condition"]) == (202, "deleting")
    assert ana("DELETE", f"/media/{other}").status_code == 202


@pytest.fixture
def upload(ana: Api, rows: Rows) -> str:
    make_advanced(rows, "ana")
    source = {"upload": True, "size": 10, "file": "small.iso"}
    made = ana("POST", "/media", {"name": "Small", "source": source})
    assert made.status_code == 201, made.json
    assert made.json["condition"] == "uploading"
    media_id: str = made.json["id"]
    return media_id


def send(api: Api, media_id: str, offset: int, data: bytes) -> Any:
    headers = {"Upload-Offset": str(offset)}
    path = f"/media/{media_id}/upload"
    return api("PUT", path, data=data, content_length=len(data), headers=headers)


def test_an_upload_comes_in_pieces_and_goes_on_where_it_was(
    ana: Api, ben: Api, rows: Rows, upload: str, web_settings: WebSettings
) -> None:
    assert ana("GET", f"/media/{upload}/upload").json == {"offset": 0, "size": 10}
    assert send(ana, upload, 0, b"01234").json == {"offset": 5, "size": 10}
    assert send(ana, upload, 0, b"01234").json["reason"] == "WrongOffset"
    too_long = send(ana, upload, 5, b"too long")
    assert too_long.status_code == 413
    assert "beyond its end" in too_long.json["detail"]
    assert send(ben, upload, 5, b"56789").status_code == 404
    early = ana("PATCH", f"/media/{upload}", {"desired": {"state": "available"}})
    assert early.status_code == 409
    assert send(ana, upload, 5, b"56789").json == {"offset": 10, "size": 10}
    row = rows.get(upload, "media")
    assert row["desired"]["state"] == "available"
    assert (web_settings.spool / upload).read_bytes() == b"0123456789"
    assert rows.get(upload, "uploads")["url"].endswith(f"/uploads/{upload}")
    # Sent once more, nothing is doubled.
    assert send(ana, upload, 5, b"56789").json == {"offset": 10, "size": 10}


def test_an_upload_that_is_here_is_finished_by_an_empty_piece(
    ana: Api, rows: Rows, upload: str, web_settings: WebSettings
) -> None:
    """The database was away after the last byte; or the host's fetching was called off."""
    web_settings.spool.mkdir(parents=True, exist_ok=True)
    (web_settings.spool / upload).write_bytes(b"0123456789")
    assert send(ana, upload, 10, b"").json == {"offset": 10, "size": 10}
    assert rows.get(upload, "uploads")["size"] == 10
    assert rows.get(upload, "media")["desired"]["state"] == "available"
    off = ana("PATCH", f"/media/{upload}", {"desired": {"state": "absent"}})
    assert (off.status_code, off.json["condition"]) == (202, "uploading")
    assert send(ana, upload, 10, b"").json == {"offset": 10, "size": 10}
    assert rows.get(upload, "media")["desired"]["state"] == "available"


def test_two_web_sides_do_not_write_one_file(
    ana: Api, upload: str, web_settings: WebSettings
) -> None:
    assert send(ana, upload, 0, b"01234").status_code == 200
    with (web_settings.spool / upload).open("ab") as elsewhere:
        fcntl.flock(elsewhere, fcntl.LOCK_EX)
        refused = send(ana, upload, 5, b"56789")
        assert (refused.status_code, refused.json["reason"]) == (409, "Busy")
    assert send(ana, upload, 5, b"56789").status_code == 200


def test_a_full_disk_of_the_server_is_said(
    ana: Api, upload: str, web_settings: WebSettings
) -> None:
    web_settings.spool.mkdir(parents=True, exist_ok=True)
    (web_settings.spool / upload).symlink_to("/dev/full")
    refused = send(ana, upload, 0, b"0123456789")
    assert (refused.status_code, refused.json["reason"]) == (503, "NoSpace")
    assert "No space left on device" in refused.json["detail"]
    (web_settings.spool / upload).unlink()
    assert send(ana, upload, 0, b"0123456789").json == {"offset": 10, "size": 10}


def test_the_disk_is_waited_for_off_the_loop(
    ana: Api, upload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, fsync = [], os.fsync

    def note(descriptor: int) -> None:
        threads.append(get_native_id())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    assert send(ana, upload, 0, b"0123456789").status_code == 200
    assert threads
    assert get_native_id() not in threads


def test_a_disk_host_fetches_it_once_for_each_ticket(
    app: Flask, ana: Api, rows: Rows, upload: str
) -> None:
    send(ana, upload, 0, b"0123456789")
    key = rows.get(upload, "uploads")["key"]
    client = app.test_client()

    def fetch(ticket: str, **more: str) -> Any:
        headers = {"Authorization": f"Upload {ticket}", **more}
        return client.get(f"/uploads/{upload}", headers=headers)

    ticket = upload_tickets.sign(key, upload, time.time())
    assert fetch(ticket).data == b"0123456789"
    assert fetch(ticket).status_code == 404
    late = upload_tickets.sign(key, upload, time.time() - 2 * upload_tickets.LIFE_S)
    assert fetch(late).status_code == 404
    assert fetch("nonsense").status_code == 404
    assert client.get(f"/uploads/{upload}").status_code == 404
    part = fetch(upload_tickets.sign(key, upload, time.time()), Range="bytes=4-")
    assert (part.status_code, part.data) == (206, b"456789")


def test_the_file_goes_when_it_is_needed_no_more(
    app: Flask, ana: Api, rows: Rows, upload: str, web_settings: WebSettings
) -> None:
    send(ana, upload, 0, b"0123456789")
    with app.app_context():
        assert uploads.sweep() == 0
        rows.available(upload)
        assert uploads.sweep() == 1
        assert not (web_settings.spool / upload).exists()
        other = web_settings.spool / "0b9c3c6e-8d53-4b3f-9d0e-2f3a4b5c6d7e"
        other.write_bytes(b"of a row that is gone")
        assert uploads.sweep() == 1


def test_what_a_script_broke_still_has_a_payload(root: Api, rows: Rows) -> None:
    for odd in ({"source": 7}, {"observed": []}, {"desired": "x"}, {"name": None, "kind": 3}):
        media_id = rows.medium("ana")["id"]
        rows.database.run(r.table("media").get(media_id).update(odd))
        assert root("GET", f"/media/{media_id}").json["id"] == media_id
    assert root("GET", "/media").status_code == 200


def test_networks_inside_are_allowed_by_administrators_alone(root: Api, ana: Api) -> None:
    assert ana("GET", "/downloads").status_code == 403
    assert root("GET", "/downloads").json == {"allow": []}
    given = {"allow": [" 10.20.3.4/16", "fd00::1", "10.20.0.0/16"]}
    assert root("PUT", "/downloads", given).json == {"allow": ["10.20.0.0/16", "fd00::1/128"]}
    refused = root("PUT", "/downloads", {"allow": ["everything"]})
    assert (refused.status_code, refused.json["field"]) == (422, "allow")
    assert root("GET", "/downloads").json["allow"] == ["10.20.0.0/16", "fd00::1/128"]
