"""Whose things may be in which pool: asked wherever something is made or placed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from db.connection import r
from db.defaults import EVERYBODY, NOBODY
from tests.webapp.conftest import Api, Rows
from tests.webapp.test_pools_api import pool_row

LAB = {"placement": {"pool": "lab"}}


@pytest.fixture
def lab(rows: Rows) -> Callable[..., None]:
    """A pool that is shared as said."""

    def share(**allowed: Any) -> None:
        rows.put("hypervisors_pools", pool_row("lab", allowed={**NOBODY, **allowed}))

    share()
    return share


def test_a_user_is_shown_the_pools_they_may_use(
    ana: Api, root: Api, rows: Rows, lab: Callable[..., None]
) -> None:
    def names(api: Api) -> list[str]:
        return [item["id"] for item in api("GET", "/pools").json["items"]]

    rows.put("hypervisors_pools", {**pool_row("old"), "description": "Says nothing of sharing"})
    rows.put("hypervisors_pools", pool_row("odd", allowed="all"))
    assert names(ana) == ["default", "old"]
    assert names(root) == ["default", "lab", "odd", "old"]
    lab(users=["ana"])
    items = ana("GET", "/pools").json["items"]
    assert items[1] == {"id": "lab", "name": "Lab", "description": ""}


def test_an_administrator_edits_with_whom_it_is_shared(root: Api, rows: Rows) -> None:
    made = root("POST", "/pools", {"id": "lab"})
    assert made.status_code == 201, made.json
    assert (made.json["shared"], rows.get("lab", "hypervisors_pools")["allowed"]["roles"]) == (
        "everybody",
        [],
    )
    rows.put("groups", {"id": "class-1A", "category": "default"})
    changed = root("PATCH", "/pools/lab", {"allowed": {"groups": ["class-1A"]}})
    assert changed.status_code == 200, changed.json
    assert (changed.json["shared"], changed.json["shared_with"]) == ("some", ["group class-1A"])
    assert rows.get("lab", "hypervisors_pools")["allowed"] == {**NOBODY, "groups": ["class-1A"]}
    refused = root("PATCH", "/pools/lab", {"allowed": {"groups": "class-1A"}})
    assert refused.status_code == 422
    assert refused.json["field"].startswith("allowed.groups")


def test_a_row_whose_sharing_is_odd_is_told_by_field(root: Api, rows: Rows) -> None:
    rows.put("hypervisors_pools", pool_row("odd", allowed={"users": 5}))
    found = root("GET", "/pools/odd").json
    assert found["problem"]["field"].startswith("allowed.users")
    assert found["shared"] == "nobody"


def test_nothing_is_made_in_a_pool_that_is_not_shared(
    api_of: Callable[[str], Api], root: Api, rows: Rows, lab: Callable[..., None]
) -> None:
    rows.database.run(_role_of("ana", "advanced"))
    ana = api_of("ana")
    template = rows.template(**LAB)["id"]
    desktop = rows.desktop(**LAB)["id"]
    rows.reach(desktop, state="stopped")
    iso = rows.medium(pool="lab", kind="iso")["id"]
    disk = rows.medium(pool="lab", kind="disk")["id"]
    for one in (iso, disk):
        rows.available(one)
    asked: list[tuple[str, dict[str, Any], str | None]] = [
        ("/desktops", {"name": "A", "origin": {"template": template}}, "origin.template"),
        (
            "/desktops/bulk",
            {"name": "A", "count": 2, "origin": {"template": template}},
            "origin.template",
        ),
        ("/desktops", {"name": "A", "origin": {"media": iso}, "os": "other"}, "origin.media"),
        ("/templates", {"name": "A", "origin": {"desktop": desktop}}, "origin.desktop"),
        (
            "/media",
            {"name": "A", "kind": "iso", "pool": "lab", "source": {"url": "https://a.test/a.iso"}},
            "pool",
        ),
        (f"/media/{disk}/tasks", {"kind": "import", "args": {"name": "A"}}, "pool"),
        (f"/desktops/{desktop}/tasks", {"kind": "duplicate", "args": {"name": "A"}}, "pool"),
        (f"/desktops/{desktop}/tasks", {"kind": "export", "args": {}}, "pool"),
    ]
    counts = [rows.count(table) for table in ("domains", "media", "tasks")]
    for path, body, field in asked:
        answer = ana("POST", path, body)
        assert answer.status_code == 422, (path, answer.json)
        assert (answer.json["reason"], answer.json["field"]) == ("PoolRefused", field), path
        assert "'Lab' is not shared with ana" in answer.json["detail"]
    assert [rows.count(table) for table in ("domains", "media", "tasks")] == counts
    lab(**EVERYBODY)
    for path, body, _field in asked:
        answer = ana("POST", path, body)
        assert answer.status_code in (201, 202), (path, answer.json)


def test_a_desktop_is_placed_only_in_a_pool_of_its_owner(
    root: Api, rows: Rows, lab: Callable[..., None]
) -> None:
    desktop = rows.desktop()["id"]
    answer = root("PATCH", f"/desktops/{desktop}", LAB)
    assert (answer.status_code, answer.json["reason"]) == (422, "PoolRefused"), answer.json
    assert rows.get(desktop)["placement"] == {"pool": "default"}
    lab(users=["ana"])
    assert root("PATCH", f"/desktops/{desktop}", LAB).status_code == 202


def _role_of(user: str, role: str) -> Any:
    return r.table("users").get(user).update({"role": role})
