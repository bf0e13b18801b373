"""The API's desktops: the contract, who may do what, and every kind of bad input."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db import desired
from db.connection import Database, r
from db.states import Desired, read_wish
from tests.webapp.conftest import Api, Rows

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 10


def create(api: Api, template_id: str, name: str = "Mine", **more: Any) -> Any:
    return api("POST", "/desktops", {"name": name, "origin": {"template": template_id}, **more})


def patch_state(api: Api, desktop_id: str, state: str, **more: Any) -> Any:
    return api("PATCH", f"/desktops/{desktop_id}", {"desired": {"state": state, **more}})


def assert_problem(answer: Any, status: int, reason: str, field: str | None = None) -> None:
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.content_type == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["reason"] == reason
    assert answer.json["detail"]
    assert answer.json.get("field") == field


def test_templates_are_listed_to_those_they_are_shared_with(
    ana: Api, root: Api, rows: Rows
) -> None:
    shared = rows.template(name="Shared")
    private = rows.template(name="Private", shared=False)
    for_ana = rows.template(
        name="For Ana",
        allowed={"roles": False, "categories": False, "groups": False, "users": ["ana"]},
    )
    listed = ana("GET", "/templates").json
    assert [item["id"] for item in listed["items"]] == [for_ana["id"], shared["id"]]
    assert listed["items"][0]["is_ready"] is True
    assert listed["items"][0]["allowed"] is None
    assert {item["id"] for item in root("GET", "/templates").json["items"]} == {
        shared["id"],
        private["id"],
        for_ana["id"],
    }
    assert_problem(ana("GET", f"/templates/{private['id']}"), 404, "NotFound")


def test_a_desktop_is_made_from_a_template(ana: Api, rows: Rows) -> None:
    template = rows.template()
    answer = create(ana, template["id"], "  Ana's first  ", description="for maths")
    assert answer.status_code == 201
    made = answer.json
    assert answer.headers["Location"] == f"/api/v1/desktops/{made['id']}"
    assert made["name"] == "Ana's first"
    assert made["kind"] == "desktop"
    assert made["user"] == "ana"
    assert made["origin"] == {"template": template["id"]}
    assert made["desired"]["state"] == "stopped"
    assert made["desired"]["by"] == "user/ana"
    assert made["observed"]["state"] == "absent"
    assert made["condition"] == "creating"
    assert made["spec"]["memory_mib"] == 64
    row = rows.get(made["id"])
    assert row["parents"] == [template["id"]]
    assert row["observed"] == {}
    assert "mac" not in row["spec"]["interfaces"][0], "a machine's own address is not copied"
    assert ana("GET", f"/desktops/{made['id']}").json["id"] == made["id"]
    assert [item["id"] for item in ana("GET", "/desktops").json["items"]] == [made["id"]]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "short"),
        ("   ", "blank"),
        ("x" * 81, "long"),
        ("<b>x</b>", "markup"),
        ("a\x00b", "nul"),
    ],
)
def test_a_bad_name_is_refused_by_field(ana: Api, rows: Rows, name: str, problem: str) -> None:
    assert_problem(create(ana, rows.template()["id"], name), 422, "InvalidField", "name")
    assert rows.count("domains", kind="desktop") == 0, problem


@pytest.mark.parametrize(
    ("body", "status", "reason", "field"),
    [
        (b"{", 400, "MalformedJson", None),
        (b"", 400, "MalformedJson", None),
        (b'"\\ud800"', 400, "MalformedJson", None),
        (b"\xff\xfe", 400, "MalformedJson", None),
        (b"[]", 422, "InvalidField", "body"),
        (b"null", 422, "InvalidField", "body"),
        (b"{}", 422, "InvalidField", "name"),
        (b'{"name": 5, "origin": {"template": "x"}}', 422, "InvalidField", "name"),
        (b'{"name": "a", "origin": {}}', 422, "InvalidField", "origin"),
        (b'{"name": "a", "origin": "x"}', 422, "InvalidField", "origin"),
        (b'{"name": "a", "origin": {"template": "x"}}', 422, "NoSuchTemplate", "origin.template"),
        (
            b'{"name": "a", "origin": {"image": "/etc/passwd"}}',
            422,
            "InvalidField",
            "origin.image",
        ),
        (
            b'{"name": "a", "origin": {"template": "x"}, "user": "ben"}',
            422,
            "InvalidField",
            "user",
        ),
        (b"[" * 100_000, 413, "TooLarge", None),
        (b"[" * 50_000, 400, "MalformedJson", None),
    ],
)
def test_a_bad_body_is_refused(
    ana: Api, rows: Rows, body: bytes, status: int, reason: str, field: str | None
) -> None:
    answer = ana("POST", "/desktops", data=body, content_type="application/json")
    assert_problem(answer, status, reason, field)
    assert rows.count("domains") == 0


def test_a_form_is_no_json(ana: Api) -> None:
    answer = ana("POST", "/desktops", data={"name": "x"})
    assert_problem(answer, 415, "UnsupportedMediaType")


def test_a_template_that_is_not_shared_or_no_template_is_not_there(
    ana: Api, ben: Api, rows: Rows
) -> None:
    private = rows.template(shared=False)
    desktop = rows.desktop("ana")
    for template_id in (private["id"], desktop["id"], str(uuid.uuid4()), "../../etc"):
        assert_problem(create(ana, template_id), 422, "NoSuchTemplate", "origin.template")
    desired.wish_domain(rows.database, private["id"], Desired.DELETED, "user/root")


def test_nothing_is_made_from_a_template_that_is_being_deleted(ana: Api, rows: Rows) -> None:
    template = rows.template()
    desired.wish_domain(rows.database, template["id"], Desired.DELETED, "user/root")
    assert_problem(create(ana, template["id"]), 409, "BeingDeleted")
    assert ana("GET", "/templates").json["items"] == []


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


def test_wishes_follow_the_table_of_actions(ana: Api, rows: Rows) -> None:
    desktop_id = rows.desktop("ana")["id"]
    started = patch_state(ana, desktop_id, "started")
    assert started.status_code == 202
    assert started.json["desired"]["state"] == "started"
    assert started.json["condition"] == "starting"
    assert read_wish(rows.get(desktop_id)["desired"]).by == "user/ana"
    rows.reach(desktop_id)
    paused = patch_state(ana, desktop_id, "paused")
    assert paused.json["condition"] == "pausing"
    rows.reach(desktop_id)
    assert patch_state(ana, desktop_id, "started").json["condition"] == "resuming"
    rows.reach(desktop_id)
    assert patch_state(ana, desktop_id, "stopped").json["condition"] == "stopping"
    forced = patch_state(ana, desktop_id, "stopped", force=True)
    assert forced.status_code == 202
    assert forced.json["desired"]["force"] is True
    rows.reach(desktop_id)
    assert ana("GET", f"/desktops/{desktop_id}").json["condition"] == "stopped"


def test_what_the_condition_does_not_allow_is_refused_and_changes_nothing(
    ana: Api, rows: Rows
) -> None:
    stopped, running = rows.desktop("ana"), rows.running("ana")
    refused = patch_state(ana, stopped["id"], "paused")
    assert_problem(refused, 409, "NotAllowedNow")
    assert "stopped" in refused.json["detail"]
    assert_problem(ana("POST", f"/desktops/{stopped['id']}/viewer", {}), 409, "NotAllowedNow")
    patch_state(ana, running["id"], "stopped")
    before = rows.get(running["id"])
    assert_problem(patch_state(ana, running["id"], "started"), 409, "NotAllowedNow")
    assert_problem(patch_state(ana, running["id"], "paused"), 409, "NotAllowedNow")
    assert rows.get(running["id"]) == before


def test_asking_twice_is_asking_once(ana: Api, rows: Rows) -> None:
    desktop_id = rows.desktop("ana")["id"]
    patch_state(ana, desktop_id, "started")
    once = rows.get(desktop_id)
    again = patch_state(ana, desktop_id, "started")
    assert again.status_code == 202
    assert rows.get(desktop_id) == once
    rows.reach(desktop_id)
    reached = rows.get(desktop_id)
    assert patch_state(ana, desktop_id, "started").status_code == 202
    assert rows.get(desktop_id) == reached
    assert ana("DELETE", f"/desktops/{desktop_id}").status_code == 202
    deleted = rows.get(desktop_id)
    assert ana("DELETE", f"/desktops/{desktop_id}").status_code == 202
    assert rows.get(desktop_id) == deleted


def test_a_desktop_being_created_can_be_wished_started(ana: Api, rows: Rows) -> None:
    made = create(ana, rows.template()["id"]).json
    ahead = patch_state(ana, made["id"], "started")
    assert (ahead.status_code, ahead.json["condition"]) == (202, "creating")
    assert rows.get(made["id"])["desired"]["state"] == "started"
    assert patch_state(ana, made["id"], "stopped").status_code == 202
    assert rows.get(made["id"])["desired"]["state"] == "stopped"


def test_what_is_deleted_is_not_started(ana: Api, rows: Rows, database: Database) -> None:
    desktop_id = rows.desktop("ana")["id"]
    deleted = ana("DELETE", f"/desktops/{desktop_id}")
    assert (deleted.status_code, deleted.json["condition"]) == (202, "deleting")
    assert deleted.json["actions"] == []
    assert_problem(patch_state(ana, desktop_id, "started"), 409, "BeingDeleted")
    renamed = ana("PATCH", f"/desktops/{desktop_id}", {"name": "Other"})
    assert_problem(renamed, 409, "BeingDeleted")
    assert rows.get(desktop_id)["desired"]["state"] == "deleted"
    database.run(r.table("domains").get(desktop_id).delete())
    assert_problem(patch_state(ana, desktop_id, "started"), 404, "NotFound")


def test_a_failed_start_can_be_tried_again_by_wishing_it_again(ana: Api, rows: Rows) -> None:
    desktop_id = rows.desktop("ana")["id"]
    patch_state(ana, desktop_id, "started")
    failure = {
        "reason": "StartFailed",
        "message": "libvirt refused /opt/isard/groups/x/system.qcow2: no memory.",
        "step": "start",
        "command": "virsh create",
        "answer": "internal error",
        "terminal": True,
        "attempts": 3,
    }
    rows.reach(desktop_id, state="stopped", failure=failure)
    failed = ana("GET", f"/desktops/{desktop_id}").json
    assert failed["condition"] == "failed"
    assert failed["observed"]["failure"] == {
        "reason": "StartFailed",
        "message": "libvirt refused (a file): no memory.",
        "terminal": True,
        "retry_at": None,
        "attempts": 3,
    }
    first = rows.get(desktop_id)["desired"]["at"]
    assert patch_state(ana, desktop_id, "started").status_code == 202
    assert rows.get(desktop_id)["desired"]["at"] > first


def test_waiting_for_room_can_be_called_off(ana: Api, rows: Rows) -> None:
    desktop_id = rows.desktop("ana")["id"]
    patch_state(ana, desktop_id, "started")
    rows.observe(desktop_id, state="stopped", reason="NoCapacity", message="No room: memory.")
    waiting = ana("GET", f"/desktops/{desktop_id}").json
    assert waiting["condition"] == "waiting"
    assert "call_off" in waiting["actions"]
    assert patch_state(ana, desktop_id, "stopped").status_code == 202
    assert rows.get(desktop_id)["desired"]["state"] == "stopped"


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


def test_only_administrators_force_a_deletion(ana: Api, root: Api, rows: Rows) -> None:
    lost = rows.running("ana")
    rows.observe(lost["id"], state="unknown", reason="HostUnreachable")
    refused = patch_state(ana, lost["id"], "deleted", force=True)
    assert_problem(refused, 403, "AdministratorsOnly")
    assert patch_state(root, lost["id"], "deleted", force=True).status_code == 202
    assert read_wish(rows.get(lost["id"])["desired"]).force is True


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
