"""The API's networks: administrators only, judged as the engine judges them."""

from __future__ import annotations

from typing import Any

import pytest

from db.defaults import EVERYBODY, NOBODY
from tests.webapp.conftest import Api, Rows


def test_people_who_are_no_administrators_get_403(ana: Api, rows: Rows) -> None:
    rows.put("interfaces", {"id": "lab", "kind": "isolated"})
    for method, path, body in (
        ("GET", "/networks", None),
        ("POST", "/networks", {"id": "x"}),
        ("GET", "/networks/lab", None),
        ("PATCH", "/networks/lab", {"model": "e1000"}),
        ("DELETE", "/networks/lab", None),
    ):
        answer = ana(method, path, body)
        assert (answer.status_code, answer.json["reason"]) == (403, "AdministratorsOnly")
    assert rows.get("lab", "interfaces") == {"id": "lab", "kind": "isolated"}


def test_a_network_is_added_edited_and_deleted(root: Api, rows: Rows) -> None:
    made = root("POST", "/networks", {"id": "lab", "name": "Laboratory", "kind": "isolated"})
    assert made.status_code == 201, made.json
    assert (made.json["source"], made.json["addresses"]) == ("isard-lab", "first")
    assert (made.json["shared"], made.json["shared_with"]) == ("nobody", [])
    again = root("POST", "/networks", {"id": "lab"})
    assert (again.status_code, again.json["reason"]) == (409, "Exists")
    rows.put("groups", {"id": "class-1A", "category": "default"})
    allowed = {"groups": ["class-1A"], "users": ["ana", "ben"]}
    changed = root("PATCH", "/networks/lab", {"allowed": allowed, "addresses": "any"})
    assert changed.status_code == 200, changed.json
    assert changed.json["shared_with"] == ["group class-1A", "user ana", "user ben"]
    row = rows.get("lab", "interfaces")
    assert row["allowed"] == {**NOBODY, **allowed}
    assert (row["name"], row["kind"]) == ("Laboratory", "isolated")
    rows.put("interfaces", {**row, "allowed": {"users": ["a", "b", "c", "d"], "roles": ["user"]}})
    assert root("GET", "/networks/lab").json["shared_with"] == ["role user", "4 users"]
    shared = root("PATCH", "/networks/lab", {"allowed": EVERYBODY}).json
    assert (shared["shared"], shared["shared_with"]) == ("everybody", [])
    assert root("DELETE", "/networks/lab").status_code == 204
    assert root("GET", "/networks/lab").status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "wormhole"}, "kind"),
        ({"kind": "bridge"}, "bridge"),
        ({"kind": "bridge", "bridge": "br0; id"}, "bridge"),
        ({"kind": "bridge", "bridge": "a-name-that-is-too-long"}, "bridge"),
        ({"network": "x' y"}, "network"),
        ({"model": "ne2k"}, "model"),
        ({"addresses": "some"}, "addresses"),
        ({"name": None}, "body"),
        ({"mac": "52:54:00:00:00:01"}, "mac"),
    ],
)
def test_a_bad_network_is_refused_by_field(
    root: Api, rows: Rows, change: dict[str, Any], field: str
) -> None:
    rows.put("interfaces", {"id": "lab", "kind": "network"})
    answer = root("PATCH", "/networks/lab", change)
    assert (answer.status_code, answer.json.get("field")) == (422, field), answer.json
    assert rows.get("lab", "interfaces") == {"id": "lab", "kind": "network"}


def test_a_network_with_cards_on_it_is_not_deleted(root: Api, rows: Rows) -> None:
    rows.put("interfaces", {"id": "lab", "kind": "isolated"})
    rows.desktop(spec={"interfaces": [{"id": "lab"}]})
    rows.put("domains", {"id": "odd", "spec": 5})
    refused = root("DELETE", "/networks/lab")
    assert (refused.status_code, refused.json["reason"]) == (409, "InUse")
    assert "1 desktop or template has a card" in refused.json["detail"]


def test_a_network_row_full_of_nonsense_is_still_shown(root: Api, rows: Rows) -> None:
    rows.put("interfaces", {"id": "odd", "name": 5, "kind": ["x"], "allowed": "all", "bridge": {}})
    shown = root("GET", "/networks/odd").json
    assert shown["problem"]["field"]
    assert shown["shared"] == "nobody"
