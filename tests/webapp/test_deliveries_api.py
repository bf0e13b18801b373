"""A medium's file for the browser: ordered, sent once by a disk host, saved by who may."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from flask import Flask

from db import upload_tickets
from db.connection import Database, r
from tests.webapp.conftest import Api, Rows
from webapp.services import deliveries, uploads
from webapp.settings import WebSettings

CONTENT = b"0123456"


@pytest.fixture
def medium(rows: Rows) -> dict[str, Any]:
    """An export of ana's."""
    row = rows.medium("ana", kind="disk", name='Box "1"/2', source={"task": "t"})
    path = f"/m/{row['id']}/{row['id']}.ova"
    return rows.available(row["id"], size=len(CONTENT), path=path)


def bring(api: Api, medium: dict[str, Any]) -> Any:
    return api("POST", f"/media/{medium['id']}/file")


def save(api: Api, medium: dict[str, Any], **headers: str) -> Any:
    return api("GET", f"/media/{medium['id']}/file", headers=headers)


def send(app: Flask, task: str, ticket: str, data: bytes = CONTENT) -> int:
    """As a disk host does."""
    headers = {"Authorization": f"Delivery {ticket}"}
    return app.test_client().put(f"/deliveries/{task}", data=data, headers=headers).status_code


def ticket_for(rows: Rows, task: str, ago_s: float = 0) -> str:
    key = rows.get(task, "uploads")["key"]
    return upload_tickets.sign(key, task, time.time() - ago_s)


def test_a_file_is_ordered_sent_once_and_saved(
    app: Flask, ana: Api, root: Api, rows: Rows, medium: dict[str, Any]
) -> None:
    assert save(ana, medium).json["reason"] == "NotHere"
    asked = bring(ana, medium)
    assert (asked.status_code, asked.json["ready"]) == (202, False)
    task = asked.json["task"]["id"]
    order = rows.get(task, "tasks")
    assert (order["kind"], order["target"], order["args"]) == ("deliver", medium["id"], {})
    assert "key" not in asked.get_data(as_text=True)
    assert bring(root, medium).json["task"]["id"] == task, "nothing is ordered twice"
    ticket = ticket_for(rows, task)
    assert send(app, task, ticket) == 204
    assert send(app, task, ticket) == 404, "a ticket is good for once"
    assert bring(ana, medium).json == {
        "ready": True,
        "url": f"/api/v1/media/{medium['id']}/file",
        "task": None,
    }
    answer = save(ana, medium)
    assert (answer.status_code, answer.data) == (200, CONTENT)
    assert "Box _1_2.ova" in answer.headers["Content-Disposition"]
    assert answer.headers["Content-Disposition"].startswith("attachment")
    part = save(ana, medium, **{"Range": "bytes=4-", "If-Range": answer.headers["ETag"]})
    assert (part.status_code, part.data) == (206, b"456"), "a broken download goes on"
    assert save(root, medium).data == CONTENT


def test_a_file_is_for_who_may_change_the_medium(
    ana: Api, ben: Api, rows: Rows, medium: dict[str, Any], web_settings: WebSettings
) -> None:
    web_settings.deliveries.mkdir(parents=True)
    (web_settings.deliveries / medium["id"]).write_bytes(CONTENT)
    assert save(ana, medium).status_code == 200
    for ask in (bring, save):
        assert ask(ben, medium).status_code == 404
    rows.database.run(r.table("media").get(medium["id"]).update({"allowed": {"roles": []}}))
    for ask in (bring, save):
        assert ask(ben, medium).json["reason"] == "NotYours"
    assert ben("GET", f"/media/{medium['id']}").json["can_save"] is False
    assert ana("GET", f"/media/{medium['id']}").json["can_save"] is True
    coming = rows.medium("ana")
    assert bring(ana, coming).json["reason"] == "NotReady"
    for odd in ("nothing", "..%2f..%2fetc", "00000000-0000-0000-0000-000000000000"):
        assert ana("GET", f"/media/{odd}/file").status_code == 404


def test_nothing_is_taken_without_a_good_ticket_or_of_another_size(
    app: Flask, ana: Api, rows: Rows, medium: dict[str, Any], web_settings: WebSettings
) -> None:
    task = bring(ana, medium).json["task"]["id"]
    other = rows.get(task, "uploads")["key"]
    assert send(app, task, "nonsense") == 404
    assert send(app, task, ticket_for(rows, task, ago_s=2 * upload_tickets.LIFE_S)) == 404
    assert send(app, task, upload_tickets.sign(other, medium["id"], time.time())) == 404
    assert send(app, medium["id"], ticket_for(rows, task)) == 404
    assert send(app, "..", ticket_for(rows, task)) == 404
    assert send(app, task, ticket_for(rows, task), CONTENT + b"7") == 413
    assert send(app, task, ticket_for(rows, task), b"012") == 413
    assert not (web_settings.deliveries / medium["id"]).exists()
    assert send(app, task, ticket_for(rows, task)) == 204


def test_an_upload_and_its_tickets_are_another_thing(
    app: Flask, ana: Api, rows: Rows, medium: dict[str, Any]
) -> None:
    task = bring(ana, medium).json["task"]["id"]
    headers = {"Authorization": f"Upload {ticket_for(rows, task)}"}
    assert app.test_client().get(f"/uploads/{task}", headers=headers).status_code == 404


def test_without_room_nothing_is_ordered(ana: Api, rows: Rows, medium: dict[str, Any]) -> None:
    rows.available(medium["id"], size=2**60)
    assert bring(ana, medium).json["reason"] == "NoSpace"
    assert rows.count("tasks") == 0
    assert rows.count("uploads") == 0


def test_a_file_goes_with_its_medium_or_after_a_day(
    app: Flask, ana: Api, rows: Rows, medium: dict[str, Any], database: Database
) -> None:
    task = bring(ana, medium).json["task"]["id"]
    assert send(app, task, ticket_for(rows, task)) == 204
    with app.app_context():
        path = deliveries.backend().settings.deliveries / medium["id"]
        part = path.with_suffix(".part")
        assert (deliveries.sweep(), uploads.sweep()) == (0, 0)
        assert rows.get(task, "uploads"), "its task is still open"
        rows.observe(task, "tasks", state="done")
        old = time.time() - deliveries.KEPT_S - 1
        os.utime(path, (old, old))
        assert save(ana, medium).status_code == 200
        assert deliveries.sweep() == 0, "it was asked for just now"
        assert rows.get(task, "uploads") is None
        os.utime(path, (old, old))
        part.write_bytes(b"cut off long ago")
        os.utime(part, (old, old))
        assert deliveries.sweep() == 2
        path.write_bytes(CONTENT)
        database.run(r.table("media").get(medium["id"]).delete())
        assert deliveries.sweep() == 1
        assert list(path.parent.iterdir()) == []


def test_one_that_is_cut_off_leaves_nothing_to_save(
    app: Flask, ana: Api, rows: Rows, medium: dict[str, Any]
) -> None:
    task = bring(ana, medium).json["task"]["id"]
    headers = {"Authorization": f"Delivery {ticket_for(rows, task)}"}
    promised = {"CONTENT_LENGTH": str(len(CONTENT))}
    client = app.test_client()
    url = f"/deliveries/{task}"
    answer = client.put(url, data=b"012", headers=headers, environ_overrides=promised)
    assert answer.status_code == 400
    assert save(ana, medium).json["reason"] == "NotHere"
    assert send(app, task, ticket_for(rows, task)) == 204
    assert save(ana, medium).data == CONTENT
