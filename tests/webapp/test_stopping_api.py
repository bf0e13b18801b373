"""Stopping the desktops of a hypervisor: all, or those nobody watches. By REST and by script."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from db import desired
from db.connection import Database, r
from db.states import Desired
from tests.servers import ROOT
from tests.webapp.conftest import Api, Rows

PAGE = (ROOT / "docs" / "hypervisors.md").read_text()


@pytest.fixture
def seen(rows: Rows) -> Callable[..., dict[str, Any]]:
    """A running desktop of `host-a` whose viewers the engine has counted so many seconds ago."""

    def make(viewers: int | None, ago_s: float = 5, **observed: Any) -> dict[str, Any]:
        row = rows.running("ana")
        stats = {"id": row["id"], "hypervisor": "host-a", "viewers": viewers}
        rows.put("domain_stats", {**stats, "at": r.now() - ago_s})
        return rows.reach(row["id"], hypervisor="host-a", **observed) if observed else row

    return make


def wishes(rows: Rows, *found: dict[str, Any]) -> list[str]:
    return [rows.get(row["id"])["desired"]["state"] for row in found]


def test_all_desktops_of_a_hypervisor_are_asked_to_stop(root: Api, ana: Api, rows: Rows) -> None:
    rows.hypervisor()
    one, two = rows.running("ana"), rows.running("ben")
    lost = rows.running("ana")
    rows.reach(lost["id"], state="unknown", hypervisor="host-a")
    starting = rows.running("ana")
    activity = {"name": "starting", "step": "create"}
    rows.observe(starting["id"], state="stopped", hypervisor="host-a", activity=activity)
    elsewhere = rows.running("ana")
    rows.reach(elsewhere["id"], hypervisor="host-b")
    down = rows.desktop("ana")
    rows.put("domains", {"id": "odd", "kind": "desktop", "desired": 5, "observed": "host-a"})
    assert root("GET", "/hypervisors/host-a/stop").json == {"all": 4, "unwatched": 0}
    before = rows.get(down["id"])
    answer = root("POST", "/hypervisors/host-a/stop", {"which": "all"})
    assert (answer.status_code, answer.json) == (202, {"stopped": 4, "kept": 0})
    assert wishes(rows, one, two, lost, starting, elsewhere) == ["stopped"] * 4 + ["started"]
    wish = rows.get(one["id"])["desired"]
    assert wish["by"] == {"id": "user/root", "at": wish["at"]}
    assert wish["force"] is False
    assert rows.get(down["id"]) == before
    shown = ana("GET", f"/desktops/{one['id']}/events").json["items"]
    assert (shown[0]["text"], shown[0]["who"]) == ("A shutdown was asked for", "root")


def test_what_is_being_stopped_or_deleted_keeps_its_wish(
    root: Api, rows: Rows, database: Database
) -> None:
    rows.hypervisor()
    stopping, deleting, stuck = (rows.running("ana") for _ in range(3))
    for row, state in ((stopping, Desired.STOPPED), (deleting, Desired.DELETED)):
        desired.wish_domain(database, row["id"], state, "user/ana", force=True)
    desired.wish_domain(database, stuck["id"], Desired.STOPPED, "user/ana")
    failure = {"reason": "StopFailed", "terminal": True}
    rows.observe(stuck["id"], state="started", hypervisor="host-a", failure=failure)
    before = [rows.get(row["id"])["desired"] for row in (stopping, deleting, stuck)]
    assert root("POST", "/hypervisors/host-a/stop", {"which": "all"}).json["stopped"] == 1
    after = [rows.get(row["id"])["desired"] for row in (stopping, deleting, stuck)]
    assert after[:2] == before[:2]
    assert after[2]["at"] > before[2]["at"], "one that could not be stopped is tried again"


def test_a_desktop_that_somebody_watches_is_kept(
    root: Api, ana: Api, rows: Rows, seen: Callable[..., dict[str, Any]]
) -> None:
    rows.hypervisor()
    alone, paused = seen(0), seen(0, state="paused")
    watched = seen(2)
    uncounted, stale, fresh = seen(None), seen(0, ago_s=3600), rows.running("ana")
    moved = seen(0)
    rows.put("domain_stats", {**rows.get(moved["id"], "domain_stats"), "hypervisor": "host-b"})
    entering = seen(0)
    viewed = {"id": "v", "what": "desktop.view", "target": f"domain/{entering['id']}"}
    rows.put("events", {**viewed, "at": r.now() - 5})
    left = seen(0)
    rows.put("events", {**viewed, "id": "w", "target": f"domain/{left['id']}", "at": r.now() - 300})
    assert root("GET", "/hypervisors/host-a/stop").json == {"all": 9, "unwatched": 3}
    answer = root("POST", "/hypervisors/host-a/stop", {"which": "unwatched"})
    assert (answer.status_code, answer.json) == (202, {"stopped": 3, "kept": 6})
    assert wishes(rows, alone, paused, left) == ["stopped"] * 3
    kept = (watched, uncounted, stale, fresh, moved, entering)
    assert wishes(rows, *kept) == ["started"] * 6
    again = root("POST", "/hypervisors/host-a/stop", {"which": "unwatched"})
    assert again.json == {"stopped": 0, "kept": 6}


def test_stopping_is_refused_to_others_and_for_what_is_not_there(
    root: Api, ana: Api, rows: Rows
) -> None:
    rows.hypervisor()
    row = rows.running("ana")
    assert ana("GET", "/hypervisors/host-a/stop").status_code == 403
    assert ana("POST", "/hypervisors/host-a/stop", {"which": "all"}).status_code == 403
    assert root("POST", "/hypervisors/nowhere/stop", {"which": "all"}).status_code == 404
    assert root("GET", "/hypervisors/nowhere/stop").status_code == 404
    wrong = root("POST", "/hypervisors/host-a/stop", {"which": "some"})
    assert (wrong.status_code, wrong.json["field"]) == (422, "which")
    assert wishes(rows, row) == ["started"]


def test_a_script_stops_what_nobody_watches_as_the_page_tells(
    rows: Rows, database: Database, seen: Callable[..., dict[str, Any]]
) -> None:
    alone, watched, unknown = seen(0), seen(1), rows.running("ana")
    script = re.search(r"```python stop-unwatched\n(.*?)```", PAGE, re.DOTALL)
    assert script, "the script is in docs/hypervisors.md"
    with database.connect() as conn:
        exec(script[1].replace("hyper-1", "host-a"), {"r": r, "conn": conn})  # noqa: S102
    assert wishes(rows, alone, watched, unknown) == ["stopped", "started", "started"]
