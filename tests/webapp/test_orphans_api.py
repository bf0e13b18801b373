"""What belongs to no row, over REST: only administrators, only what is ours."""

from __future__ import annotations

from typing import Any

from db.connection import Database, r
from tests.webapp.conftest import Api, Rows

FILE: dict[str, Any] = {"kind": "file", "hypervisor": "host-a", "domain": "x", "message": "No row."}


def test_ours_is_wished_gone_and_kept_in_the_audit_log(
    root: Api, rows: Rows, database: Database
) -> None:
    rows.put("orphans", {"id": "/p/a.qcow2", "path": "/p/a.qcow2", "ours": True, **FILE})
    answer = root("POST", "/orphans/removals", {"id": "/p/a.qcow2"})
    assert answer.status_code == 202
    assert answer.json["is_wanted_gone"] is True
    row = rows.get("/p/a.qcow2", "orphans")
    assert row["desired"]["state"] == "removed"
    assert row["desired"]["by"]["id"] == "user/root"
    found = database.run(r.table("events").get_all("orphan//p/a.qcow2", index="target"))
    assert [event["what"] for event in found] == ["orphan.remove"]


def test_what_is_anothers_stays(root: Api, rows: Rows) -> None:
    rows.put("orphans", {"id": "host-a/x", "ours": False, **FILE})
    answer = root("POST", "/orphans/removals", {"id": "host-a/x"})
    assert (answer.status_code, answer.json["reason"]) == (409, "NotOurs")
    assert "desired" not in rows.get("host-a/x", "orphans")
    assert root("POST", "/orphans/removals", {"id": "nobody"}).status_code == 404


def test_a_refusal_is_told_until_somebody_asks_again(root: Api, rows: Rows) -> None:
    rows.put("orphans", {"id": "/p/b.qcow2", "ours": True, **FILE})
    root("POST", "/orphans/removals", {"id": "/p/b.qcow2"})
    wish = rows.get("/p/b.qcow2", "orphans")["desired"]
    answered = {"state": wish["state"], "at": wish["at"]}
    rows.observe("/p/b.qcow2", "orphans", message="In use.", **{"for": answered})
    (item,) = root("GET", "/orphans").json["items"]
    assert (item["is_wanted_gone"], item["refusal"]) == (False, "In use.")
    root("POST", "/orphans/removals", {"id": "/p/b.qcow2"})
    (item,) = root("GET", "/orphans").json["items"]
    assert (item["is_wanted_gone"], item["refusal"]) == (True, None)


def test_others_do_not_even_see_the_list(ana: Api) -> None:
    assert ana("GET", "/orphans").status_code == 403
    assert ana("POST", "/orphans/removals", {"id": "x"}).status_code == 403
