"""Where a desktop runs is an administrator's to say; its networks its owner's, as far as shared."""

from __future__ import annotations

from typing import Any

import pytest

from db.defaults import EVERYBODY, NOBODY
from tests.webapp.conftest import Api, Rows
from tests.webapp.test_pools_api import pool_row


@pytest.fixture
def hosts(rows: Rows) -> None:
    for name in ("a", "b"):
        rows.hypervisor(name)
    rows.hypervisor("elsewhere", pools=["lab"])
    rows.put("hypervisors_pools", pool_row("default"))
    rows.put("hypervisors_pools", pool_row("lab"))


def test_a_desktop_is_placed_and_what_is_not_given_stays(
    root: Api, rows: Rows, hosts: None
) -> None:
    path = f"/desktops/{rows.desktop()['id']}"
    answer = root("PATCH", path, {"placement": {"forced_hypervisor": "a"}})
    assert answer.status_code == 202, answer.json
    answer = root("PATCH", path, {"placement": {"favourite_hypervisor": "b"}})
    assert answer.json["placement"] == {
        "pool": "default",
        "forced_hypervisor": "a",
        "favourite_hypervisor": "b",
    }
    answer = root("PATCH", path, {"placement": {"forced_hypervisor": None}})
    assert answer.json["placement"]["forced_hypervisor"] is None
    assert answer.json["placement"]["favourite_hypervisor"] == "b"


@pytest.mark.parametrize(
    ("placement", "field"),
    [
        ({"forced_hypervisor": "nowhere"}, "placement.forced_hypervisor"),
        ({"favourite_hypervisor": "elsewhere"}, "placement.favourite_hypervisor"),
        ({"pool": "nowhere"}, "placement.pool"),
        ({"forced_hypervisor": "a; id"}, "placement.forced_hypervisor"),
        ({"host": "a"}, "placement.host"),
    ],
)
def test_a_place_that_is_not_there_is_refused_by_field(
    root: Api, rows: Rows, hosts: None, placement: dict[str, Any], field: str
) -> None:
    desktop = rows.desktop()
    answer = root("PATCH", f"/desktops/{desktop['id']}", {"placement": placement})
    assert (answer.status_code, answer.json["field"]) == (422, field), answer.json
    assert rows.get(desktop["id"])["placement"] == {"pool": "default"}


def test_a_pool_is_taken_only_where_the_disks_lie_on_its_paths(
    root: Api, rows: Rows, hosts: None
) -> None:
    desktop = rows.desktop()["id"]
    disk = {"id": f"{desktop}/disk0", "domain": desktop, "pool": "default"}
    rows.put("disks", {**disk, "path": f"/isard/default/groups/{desktop}/disk0.qcow2"})
    refused = root("PATCH", f"/desktops/{desktop}", {"placement": {"pool": "lab"}})
    assert (refused.status_code, refused.json["reason"]) == (409, "InUse")
    assert "/isard/default/groups" in refused.json["detail"]
    rows.put("disks", {**disk, "path": f"/isard/lab/groups/{desktop}/disk0.qcow2"})
    taken = root("PATCH", f"/desktops/{desktop}", {"placement": {"pool": "lab"}})
    assert taken.json["placement"]["pool"] == "lab"


def test_only_administrators_place_desktops(ana: Api, ben: Api, rows: Rows, hosts: None) -> None:
    path = f"/desktops/{rows.desktop('ana')['id']}"
    refused = ana("PATCH", path, {"placement": {"forced_hypervisor": "a"}})
    assert (refused.status_code, refused.json["reason"]) == (403, "AdministratorsOnly")
    assert ben("PATCH", path, {"placement": {"forced_hypervisor": "a"}}).status_code == 404


def test_an_owner_chooses_among_the_networks_that_are_shared(
    ana: Api, root: Api, rows: Rows
) -> None:
    for name, allowed in (("a", EVERYBODY), ("b", {**NOBODY, "users": ["ana"]}), ("c", NOBODY)):
        rows.put("interfaces", {"id": name, "allowed": allowed})
    card = {"id": "a", "mac": "52:54:00:00:00:09"}
    desktop = rows.desktop("ana", spec={"vcpus": 1, "memory_mib": 64, "interfaces": [card]})
    path = f"/desktops/{desktop['id']}"
    answer = ana("PATCH", path, {"networks": ["b", "a"]})
    assert answer.status_code == 202, answer.json
    row = rows.get(desktop["id"])
    assert row["spec"]["interfaces"] == [{"id": "b"}, card], "a card that stays keeps its address"
    assert row["spec"]["memory_mib"] == 64
    for networks in (["c"], ["nowhere"]):
        refused = ana("PATCH", path, {"networks": networks})
        assert (refused.status_code, refused.json["field"]) == (422, "spec.interfaces")
    refused = root("PATCH", path, {"networks": ["c"]})
    assert (refused.status_code, refused.json["field"]) == (422, "spec.interfaces")
    assert "ana" in refused.json["detail"], "it would never start: the network is not for her"
    assert root("PATCH", path, {"networks": ["b"]}).status_code == 202
    own = rows.desktop("root")["id"]
    assert root("PATCH", f"/desktops/{own}", {"networks": ["c"]}).status_code == 202
    assert ana("PATCH", path, {"networks": []}).status_code == 202
    assert rows.get(desktop["id"])["spec"]["interfaces"] == []


def test_a_template_on_a_network_that_is_not_shared_makes_no_desktop(ana: Api, rows: Rows) -> None:
    rows.put("interfaces", {"id": "default", "name": "Staff", "allowed": NOBODY})
    body = {"name": "x", "origin": {"template": rows.template()["id"]}}
    refused = ana("POST", "/desktops", body)
    assert (refused.status_code, refused.json["field"]) == (422, "origin.template")
    assert "Staff" in refused.json["detail"]
    rows.put("interfaces", {"id": "default", "allowed": EVERYBODY})
    assert ana("POST", "/desktops", body).status_code == 201


def test_a_limit_is_set_and_taken_away_and_a_scripts_misspelling_goes(
    root: Api, rows: Rows
) -> None:
    rows.hypervisor(limits={"domains": 5, "memory_ration": 2})
    answer = root("PATCH", "/hypervisors/host-a", {"limits": {"memory_ratio": 1.5}})
    assert answer.status_code == 202, answer.json
    assert rows.get("host-a", "hypervisors")["limits"] == {"domains": 5, "memory_ratio": 1.5}
    root("PATCH", "/hypervisors/host-a", {"limits": {"domains": None}})
    assert rows.get("host-a", "hypervisors")["limits"] == {"memory_ratio": 1.5}
    for limits, field in (({"domains": -1}, "limits.domains"), ({"cpus": 1}, "limits.cpus")):
        refused = root("PATCH", "/hypervisors/host-a", {"limits": limits})
        assert (refused.status_code, refused.json["field"]) == (422, field)
