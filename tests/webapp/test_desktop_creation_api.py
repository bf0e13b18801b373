"""Desktops made through the API: from which templates, and every kind of bad input."""

from __future__ import annotations

import uuid

import pytest

from db import desired
from db.states import Desired
from tests.webapp.conftest import Api, Rows
from tests.webapp.desktop_calls import assert_problem, create


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
