"""What is refused of `allowed`, the same wherever something is shared."""

from __future__ import annotations

from typing import Any

import pytest

from db.defaults import NOBODY
from tests.webapp.conftest import Api, Rows
from tests.webapp.test_pools_api import pool_row

TABLES = {
    "networks": "interfaces",
    "pools": "hypervisors_pools",
    "templates": "domains",
    "media": "media",
}


def put(rows: Rows, kind: str, **allowed: Any) -> str:
    """One of the kind, shared as said. Returns its id."""
    lists = {**NOBODY, **allowed}
    if kind == "networks":
        rows.put("interfaces", {"id": "lab", "kind": "isolated", "allowed": lists})
        return "lab"
    if kind == "pools":
        rows.put("hypervisors_pools", pool_row("lab", allowed=lists))
        return "lab"
    made = rows.template(allowed=lists) if kind == "templates" else rows.medium(allowed=lists)
    return str(made["id"])


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize(
    ("allowed", "reason", "field"),
    [
        ({"users": ["ana", "bne", "ben", "anna"]}, "NoSuchUser", "allowed.users"),
        ({"groups": ["default", "class-9"]}, "NoSuchGroup", "allowed.groups"),
        ({"users": ["ana"], "categories": ["day"]}, "NoSuchCategory", "allowed.categories"),
        ({"roles": ["teacher"], "groups": []}, "NoSuchRole", "allowed.roles"),
    ],
)
def test_who_is_not_there_is_refused_and_nothing_is_written(
    root: Api, rows: Rows, kind: str, allowed: dict[str, Any], reason: str, field: str
) -> None:
    row_id = put(rows, kind, users=["ben"])
    answer = root("PATCH", f"/{kind}/{row_id}", {"allowed": allowed})
    assert (answer.status_code, answer.json["reason"]) == (422, reason), answer.json
    assert answer.json["field"] == field
    if reason == "NoSuchUser":
        assert answer.json["detail"] == "There is no user 'bne' or 'anna'."
    assert rows.get(row_id, TABLES[kind])["allowed"] == {**NOBODY, "users": ["ben"]}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("users", [["x" * 65], ["ana", ""], [7], True, "ana", {}, ["a"] * 1001])
def test_what_is_no_list_of_ids_is_told_in_one_sentence(
    root: Api, rows: Rows, kind: str, users: object
) -> None:
    answer = root("PATCH", f"/{kind}/{put(rows, kind)}", {"allowed": {"users": users}})
    assert (answer.status_code, answer.json["field"]) == (422, "allowed.users")
    sentence = "give false, or a list of at most 1000 ids of 1 to 64 characters"
    assert sentence in answer.json["detail"]


@pytest.mark.parametrize("kind", TABLES)
def test_nothing_is_made_that_names_who_is_not_there(root: Api, rows: Rows, kind: str) -> None:
    desktop = rows.desktop()["id"]
    rows.reach(desktop, state="stopped")
    body = {
        "networks": {"id": "lab"},
        "pools": {"id": "lab"},
        "templates": {"name": "A", "origin": {"desktop": desktop}},
        "media": {"name": "A", "source": {"url": "https://a.test/a.iso"}},
    }[kind]
    number = rows.count(TABLES[kind])
    for users, status in ((["bne"], 422), (["ben"], 201)):
        answer = root("POST", f"/{kind}", {**body, "allowed": {"users": users}})
        assert answer.status_code == status, answer.json
        if status == 422:
            assert answer.json["field"] == "allowed.users"
            assert rows.count(TABLES[kind]) == number
    assert rows.count(TABLES[kind]) == number + 1


@pytest.mark.parametrize("kind", TABLES)
def test_what_a_script_has_named_already_may_stay(root: Api, rows: Rows, kind: str) -> None:
    row_id = put(rows, kind, groups=["gone"])
    more = {"groups": ["gone", "default"], "users": ["ana"]}
    answer = root("PATCH", f"/{kind}/{row_id}", {"allowed": more})
    assert answer.status_code < 300, answer.json
    assert rows.get(row_id, TABLES[kind])["allowed"] == {**NOBODY, **more}
