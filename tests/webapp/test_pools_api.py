"""The API's pools: administrators only, judged as the engine judges them, never deleted in use."""

from __future__ import annotations

from typing import Any

import pytest

from db import defaults
from tests.webapp.conftest import Api, Rows

GIB = 1024**3


def pool_row(pool_id: str, **more: Any) -> dict[str, Any]:
    paths = {use: [{"path": f"/isard/{pool_id}/{use}"}] for use in ("templates", "groups")}
    return {"id": pool_id, "name": pool_id.title(), "paths": paths, **more}


def test_people_who_are_no_administrators_get_403(ana: Api, rows: Rows) -> None:
    rows.put("hypervisors_pools", pool_row("lab"))
    for method, path, body in (
        ("POST", "/pools", {"id": "x"}),
        ("GET", "/pools/lab", None),
        ("PATCH", "/pools/lab", {"name": "Mine"}),
        ("DELETE", "/pools/lab", None),
    ):
        answer = ana(method, path, body)
        assert (answer.status_code, answer.json["reason"]) == (403, "AdministratorsOnly")
    assert rows.get("lab", "hypervisors_pools")["name"] == "Lab"


def test_a_pool_is_added_edited_and_deleted(root: Api, rows: Rows) -> None:
    rows.hypervisor("nas")
    body = {
        "id": "lab",
        "balancer": "round_robin",
        "paths": {"groups": [{"path": "/mnt/nvme0", "disk_operations": ["nas"], "weight": 10}]},
    }
    made = root("POST", "/pools", body)
    assert made.status_code == 201, made.json
    assert made.headers["Location"] == "/api/v1/pools/lab"
    assert made.json["name"] == "lab"
    assert made.json["paths"]["groups"] == body["paths"]["groups"]  # type: ignore[index]
    again = root("POST", "/pools", body)
    assert (again.status_code, again.json["reason"]) == (409, "Exists")
    paths = {"groups": [{"path": "/mnt/nvme1"}], "media": [{"path": "/mnt/media"}]}
    edited = root("PATCH", "/pools/lab", {"paths": paths, "cpu_mode": "host-model"})
    assert edited.status_code == 200, edited.json
    row = rows.get("lab", "hypervisors_pools")
    assert [entry["path"] for entry in row["paths"]["groups"]] == ["/mnt/nvme1"]
    assert row["paths"]["groups"][0]["weight"] == 100
    assert (row["balancer"], row["cpu_mode"]) == ("round_robin", "host-model")
    assert root("PATCH", "/pools/lab", {"cpu_mode": None}).json["cpu_mode"] is None
    assert root("DELETE", "/pools/lab").status_code == 204
    assert root("GET", "/pools/lab").status_code == 404
    assert root("DELETE", "/pools/lab").status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"paths": {"groups": [{"path": "isard"}]}}, "paths.groups.0.path"),
        ({"paths": {"groups": [{"path": "/isard/../etc"}]}}, "paths.groups.0.path"),
        ({"paths": {"groups": [{"path": "/isard//x"}]}}, "paths.groups.0.path"),
        ({"paths": {"groups": [{"path": "/"}]}}, "paths.groups.0.path"),
        ({"paths": {"groups": [{"path": "/a$(id)"}]}}, "paths.groups.0.path"),
        ({"paths": {"groups": [{"path": "/a"}, {"path": "/a"}]}}, "paths.groups.1.path"),
        (
            {"paths": {"groups": [{"path": "/a"}], "media": [{"path": "/a/media"}]}},
            "paths.media.0.path",
        ),
        ({"paths": {"groups": [{"path": "/a", "weight": -1}]}}, "paths.groups.0.weight"),
        (
            {"paths": {"groups": [{"path": "/a", "disk_operations": ["nowhere"]}]}},
            "paths.groups.0.disk_operations",
        ),
        ({"paths": {"elsewhere": []}}, "paths.elsewhere"),
        ({"balancer": "fastest"}, "balancer"),
        ({"name": None}, "body"),
        ({"observed": {}}, "observed"),
    ],
)
def test_a_bad_pool_is_refused_by_field(
    root: Api, rows: Rows, change: dict[str, Any], field: str
) -> None:
    rows.put("hypervisors_pools", pool_row("lab"))
    answer = root("PATCH", "/pools/lab", change)
    assert (answer.status_code, answer.json.get("field")) == (422, field), answer.json
    assert rows.get("lab", "hypervisors_pools") == pool_row("lab")


def test_what_is_used_is_neither_deleted_nor_taken_off(root: Api, rows: Rows) -> None:
    rows.put("hypervisors_pools", pool_row("lab"))
    rows.hypervisor(pools=["lab"])
    path = "/isard/lab/groups"
    rows.put("hypervisors", {"id": "odd", "pools": "lab"})
    rows.put("domains", {"id": "odd", "placement": 5})
    disk = {"id": "d/disk0", "domain": "d", "pool": "lab", "path": f"{path}/d/disk0.qcow2"}
    rows.put("disks", disk)
    refused = root("DELETE", "/pools/lab")
    assert (refused.status_code, refused.json["reason"]) == (409, "InUse")
    assert "1 hypervisor and 1 disk." in refused.json["detail"]
    refused = root("PATCH", "/pools/lab", {"paths": {"groups": [{"path": "/elsewhere"}]}})
    assert (refused.status_code, refused.json["reason"]) == (409, "InUse")
    assert f"1 disk lies in {path}" in refused.json["detail"]
    more = {"groups": [{"path": path, "weight": 0}, {"path": "/elsewhere"}]}
    assert root("PATCH", "/pools/lab", {"paths": more}).status_code == 200
    defaults.insert_missing(rows.database)
    assert root("DELETE", "/pools/default").status_code == 409


def test_what_the_hosts_see_is_shown_beside_each_path(root: Api, rows: Rows) -> None:
    rows.put("hypervisors_pools", pool_row("lab"))
    seen = {
        "use": "groups",
        "path": "/isard/lab/groups",
        "state": "degraded",
        "hosts": [{"id": "a", "owner": True, "ok": False, "message": "is not connected"}],
        "same_storage": True,
        "free_bytes": 10 * GIB,
        "size_bytes": 100 * GIB,
        "disks": 4,
        "message": "a is not connected",
        "remedy": "See the hypervisor's own page.",
    }
    rows.observe("lab", "hypervisors_pools", state="degraded", paths=[seen], waiting=2)
    shown = root("GET", "/pools/lab").json
    entry = next(one for one in shown["storage"] if one["use"] == "groups")["entries"][0]
    assert (entry["used_percent"], entry["space"], entry["proof"]) == (90.0, "warn", "same")
    assert entry["hosts"] == seen["hosts"]
    other = next(one for one in shown["storage"] if one["use"] == "templates")["entries"][0]
    assert (other["state"], other["proof"]) == ("unknown", "unproved")
    assert shown["observed"]["waiting"] == 2


def test_a_pool_row_full_of_nonsense_is_still_shown(root: Api, rows: Rows) -> None:
    odd = {
        "id": "odd",
        "name": 5,
        "paths": {"groups": [{"path": 7}, "x"]},
        "observed": {"paths": 3},
    }
    rows.put("hypervisors_pools", odd)
    shown = root("GET", "/pools/odd").json
    assert shown["problem"]["field"]
    assert shown["observed"]["state"] == "unknown"
