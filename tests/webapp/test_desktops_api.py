"""The API's desktops: what is shown of them to whom, and how they are changed.

How they are made is in test_desktop_creation_api.py, what is wished of them in
test_desktop_wishes_api.py.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.connection import Database, r
from tests.webapp.conftest import Api, Rows
from tests.webapp.desktop_calls import assert_problem, create, patch_state

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 10


def test_somebody_elses_desktop_is_not_there_in_any_way(ana: Api, ben: Api, rows: Rows) -> None:
    desktop = rows.running("ana")
    path = f"/desktops/{desktop['id']}"
    rows.put("thumbnails", {"id": desktop["id"], "png": r.binary(PNG), "at": r.now()})
    requests: list[tuple[str, str, Any]] = [
        ("GET", path, None),
        ("PATCH", path, {"desired": {"state": "stopped"}}),
        ("PATCH", path, {"name": "Mine now"}),
        ("DELETE", path, None),
        ("POST", path + "/viewer", {"kind": "browser"}),
        ("GET", path + "/thumbnail", None),
    ]
    before = rows.get(desktop["id"])
    unknown = str(uuid.uuid4())
    for method, address, body in requests:
        theirs = ben(method, address, body)
        assert_problem(theirs, 404, "NotFound")
        nowhere = ben(method, address.replace(desktop["id"], unknown), body)
        assert theirs.json == nowhere.json, "nobody can tell it from one that does not exist"
    assert rows.get(desktop["id"]) == before
    assert ben("GET", "/desktops").json["items"] == []


def test_an_administrator_sees_and_does_everything(root: Api, rows: Rows) -> None:
    mine, hers = rows.desktop("root", name="A"), rows.running("ana", name="B")
    assert [item["id"] for item in root("GET", "/desktops").json["items"]] == [
        mine["id"],
        hers["id"],
    ]
    seen = root("GET", f"/desktops/{hers['id']}").json
    assert seen["observed"]["hypervisor"] == "host-a"
    assert seen["observed"]["disks"][0]["path"].endswith("system.qcow2")
    assert patch_state(root, hers["id"], "stopped").status_code == 202


def test_nobody_in_particular_gets_nothing(ana: Api) -> None:
    for method, path in (
        ("GET", "/desktops"),
        ("POST", "/desktops"),
        ("GET", "/templates"),
        ("GET", "/hypervisors"),
        ("GET", "/me"),
        ("DELETE", f"/desktops/{uuid.uuid4()}"),
    ):
        answer = ana.client.open("/api/v1" + path, method=method)
        assert_problem(answer, 401, "NotLoggedIn")


@pytest.mark.parametrize("desktop_id", ["1", "x" * 500, "%00", "..%2f..", "<script>", "☃"])
def test_an_id_that_is_no_id_is_not_there(ana: Api, desktop_id: str) -> None:
    answer = ana("GET", f"/desktops/{desktop_id}")
    assert answer.status_code == 404
    assert answer.json["reason"] == "NotFound"


def test_a_desktop_is_renamed(ana: Api, rows: Rows) -> None:
    desktop = rows.desktop("ana")
    path = f"/desktops/{desktop['id']}"
    answer = ana("PATCH", path, {"name": "New name", "description": "Two\nlines"})
    assert (answer.status_code, answer.json["name"]) == (202, "New name")
    row = rows.get(desktop["id"])
    assert (row["name"], row["description"]) == ("New name", "Two\nlines")
    assert row["desired"] == desktop["desired"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"name": None}, "body"),
        ({"desired": {"state": "started"}, "name": "x"}, "body"),
        ({"desired": {"state": "exploded"}}, "desired.state"),
        ({"desired": {"state": "started", "force": "yes"}}, "desired.force"),
        ({"desired": {"state": "started", "force": True}}, "desired.force"),
        ({"desired": {"state": "started", "at": "2030"}}, "desired.at"),
        ({"desired": "started"}, "desired"),
        ({"observed": {"state": "started"}}, "observed"),
        ({"name": "x" * 81}, "name"),
        ({"description": "<img src=x>"}, "description"),
        ({"user": "ben"}, "user"),
    ],
)
def test_a_bad_change_is_refused_by_field(ana: Api, rows: Rows, body: Any, field: str) -> None:
    desktop = rows.desktop("ana")
    assert_problem(ana("PATCH", f"/desktops/{desktop['id']}", body), 422, "InvalidField", field)
    assert rows.get(desktop["id"]) == desktop


def test_people_see_no_paths_hosts_ports_or_commands(ana: Api, rows: Rows) -> None:
    desktop = rows.running("ana", placement={"pool": "default", "forced_hypervisor": "host-a"})
    text = ana("GET", f"/desktops/{desktop['id']}").get_data(as_text=True)
    for hidden in ("/opt/isard", "host-a", "5901", "cons0le", "epoch", "backing", "ports"):
        assert hidden not in text, hidden
    disks = json.loads(text)["observed"]["disks"]
    assert disks == [{"id": "system", "size": 1 << 30}]


@pytest.mark.parametrize(
    "damage",
    [
        {"name": 5, "description": ["x"], "spec": "none", "placement": 7},
        {"observed": "started"},
        {"observed": {"state": ["started"], "failure": 5, "activity": [1], "disks": {"a": 1}}},
        {"observed": {"state": "started", "for": "x", "reason": {"a": 1}, "message": 5}},
        {"desired": "started"},
        {"desired": {"state": "exploded", "at": "now", "by": [1], "force": {"x": 1}}},
        {"desired": {"state": {"a": 1}}},
        {"origin": "x", "parents": 3, "allowed": "everybody", "created_at": "yesterday"},
    ],
)
def test_a_row_full_of_nonsense_is_still_shown_and_can_be_deleted(
    ana: Api, rows: Rows, database: Database, damage: dict[str, Any]
) -> None:
    desktop = rows.desktop("ana")
    literal = {key: r.literal(value) for key, value in damage.items()}
    database.run(r.table("domains").get(desktop["id"]).update(literal))
    shown = ana("GET", f"/desktops/{desktop['id']}")
    assert shown.status_code == 200, shown.json
    assert len(ana("GET", "/desktops").json["items"]) == 1
    deleted = ana("DELETE", f"/desktops/{desktop['id']}")
    assert deleted.status_code == 202, deleted.json
    assert rows.get(desktop["id"])["desired"]["state"] == "deleted"


def test_a_wrong_row_says_which_field(ana: Api, rows: Rows, database: Database) -> None:
    desktop = rows.desktop("ana")
    database.run(r.table("domains").get(desktop["id"]).update({"desired": {"state": "exploded"}}))
    shown = ana("GET", f"/desktops/{desktop['id']}").json
    assert shown["problem"]["field"] == "desired.state"
    assert shown["condition"] == "failed"


def test_a_thumbnail_is_a_private_picture_with_a_tag(ana: Api, rows: Rows) -> None:
    desktop = rows.running("ana")
    path = f"/desktops/{desktop['id']}"
    assert_problem(ana("GET", path + "/thumbnail"), 404, "NotFound")
    assert ana("GET", path).json["thumbnail_url"] is None
    taken_at = datetime.now(UTC)
    rows.put("thumbnails", {"id": desktop["id"], "png": r.binary(PNG), "at": taken_at})
    url = ana("GET", path).json["thumbnail_url"]
    assert url.startswith(f"/api/v1{path}/thumbnail?at=")
    answer = ana("GET", url.removeprefix("/api/v1"))
    assert (answer.status_code, answer.data) == (200, PNG)
    assert answer.content_type == "image/png"
    assert "private" in answer.headers["Cache-Control"]
    tag = answer.headers["ETag"]
    assert ana("GET", path + "/thumbnail", headers={"If-None-Match": tag}).status_code == 304
    later = {"id": desktop["id"], "png": r.binary(PNG), "at": taken_at + timedelta(seconds=2)}
    rows.put("thumbnails", later)
    assert ana("GET", path + "/thumbnail", headers={"If-None-Match": tag}).status_code == 200
    rows.put("thumbnails", {"id": desktop["id"], "png": r.binary(b"<svg>"), "at": r.now()})
    assert_problem(ana("GET", path + "/thumbnail"), 404, "NotFound")


def test_what_was_asked_is_in_the_audit(ana: Api, rows: Rows, database: Database) -> None:
    made = create(ana, rows.template()["id"]).json
    patch_state(ana, made["id"], "started")
    rows.reach(made["id"])
    patch_state(ana, made["id"], "stopped")
    ana("DELETE", f"/desktops/{made['id']}")
    target = f"domain/{made['id']}"
    events = database.run(r.table("events").get_all(target, index="target").order_by("at"))
    assert [(event["who"], event["what"]) for event in events] == [
        ("user/ana", "desktop.create"),
        ("user/ana", "desktop.wish_started"),
        ("user/ana", "desktop.shutdown"),
        ("user/ana", "desktop.delete"),
    ]


def test_an_unknown_path_and_a_wrong_method_are_problems_too(ana: Api) -> None:
    assert_problem(ana("GET", "/nothing"), 404, "NotFound")
    wrong = ana("PUT", "/desktops", {})
    assert_problem(wrong, 405, "MethodNotAllowed")
    assert "POST" in wrong.headers["Allow"]
