"""Statistics and history over REST, from the rows the engine writes."""

from __future__ import annotations

import time
from typing import Any

from db.connection import Database, r
from db.windows import DOMAIN_METRICS, WINDOWS
from tests.webapp.conftest import Api, Rows
from tests.webapp.pages import rows as drawn


def test_a_window_has_its_points_in_order_and_none_that_is_too_old(ana: Api, rows: Rows) -> None:
    desktop = rows.running()
    for row in drawn.stats("domain", desktop["id"], minutes=15):
        rows.put("domain_windows", row)
    found = ana("GET", f"/desktops/{desktop['id']}/stats?window=10m").json
    assert found["metrics"] == list(DOMAIN_METRICS)
    assert (found["step_s"], found["length_s"]) == (5, 600)
    times = [point[0] for point in found["points"]]
    assert times == sorted(times)
    assert len(times) > 90, "ten minutes less the pause"
    assert time.time() - 601 <= times[0]
    assert all(len(point) == 1 + len(DOMAIN_METRICS) for point in found["points"])
    assert ana("GET", f"/desktops/{desktop['id']}/stats?window=24h").json["points"] == []


def test_what_is_damaged_is_left_out(ana: Api, rows: Rows) -> None:
    desktop = rows.running()
    window = WINDOWS["10m"]
    chunk = window.chunk_of(time.time())
    row: dict[str, Any] = {
        "id": window.row_id(chunk, desktop["id"]),
        "domain": desktop["id"],
        "metrics": list(DOMAIN_METRICS),
        "points": ["x", [], ["y"], [time.time(), "many", *[1.0] * 7]],
    }
    rows.put("domain_windows", row)
    (point,) = ana("GET", f"/desktops/{desktop['id']}/stats").json["points"]
    assert point[1] is None


def test_only_who_sees_a_desktop_sees_its_numbers_and_its_history(
    ana: Api, ben: Api, rows: Rows
) -> None:
    desktop = rows.running()
    rows.hypervisor()
    for what in ("stats", "events"):
        path = f"/desktops/{desktop['id']}/{what}"
        assert ana("GET", path).status_code == 200
        assert ben("GET", path).status_code == 404
    assert ana("GET", "/hypervisors/host-a/stats").status_code == 403


def test_a_window_nobody_keeps_is_refused_by_name(ana: Api, rows: Rows) -> None:
    desktop = rows.running()
    for query in ("window=1y", "windows=10m"):
        answer = ana("GET", f"/desktops/{desktop['id']}/stats?{query}")
        assert answer.status_code == 422
        assert answer.json["field"] == query.partition("=")[0]


def test_history_tells_what_was_asked_and_what_came_of_it(
    ana: Api, root: Api, rows: Rows, database: Database
) -> None:
    desktop = rows.desktop()
    message = "The file /isard/groups/x/disk.qcow2 is not there."
    failed = {"message": message, "reason": "DiskMissing", "hypervisor": "host-a"}
    lines = [("engine", "domain.failed", failed), ("engine", "domain.started", failed)]
    for at, (who, what, detail) in enumerate(lines):
        event = {
            "id": f"{at}",
            "at": r.now() - 30 + 60 * at,
            "who": who,
            "what": what,
            "target": f"domain/{desktop['id']}",
            "detail": detail,
        }
        database.run(r.table("events").insert(event))
    ana("PATCH", f"/desktops/{desktop['id']}", {"desired": {"state": "started"}})
    path = f"/desktops/{desktop['id']}/events"
    shown = ana("GET", path).json["items"]
    assert [item["text"] for item in shown] == [
        "It started",
        "A start was asked for",
        "It failed",
    ]
    asked = next(item for item in shown if item["tone"] == "asked")
    assert asked["who"] == "ana"
    assert shown[0]["tone"] == "good"
    failure = next(item for item in shown if item["tone"] == "bad")
    assert failure["detail"] == "The file (a file) is not there."
    for_root = root("GET", path).json["items"]
    assert for_root[0]["text"] == "It started (host-a)"
    assert next(item for item in for_root if item["tone"] == "bad")["detail"] == message
