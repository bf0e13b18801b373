"""The API's hypervisors: administrators only, and what a host's row may hold."""

from __future__ import annotations

from typing import Any

import pytest

from db import queries
from tests.webapp.conftest import Api, Rows
from webapp.errors import Problem
from webapp.services import enrolments

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOldKey"
OFFERED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINewKey"


def test_people_who_are_no_administrators_get_403(ana: Api, rows: Rows) -> None:
    rows.hypervisor()
    for method, path, body in (
        ("GET", "/hypervisors", None),
        ("POST", "/hypervisors", {"id": "x", "hostname": "h"}),
        ("GET", "/hypervisors/host-a", None),
        ("GET", "/hypervisors/unknown", None),
        ("PATCH", "/hypervisors/host-a", {"desired": {"state": "disabled"}}),
        ("DELETE", "/hypervisors/host-a", None),
    ):
        answer = ana(method, path, body)
        assert (answer.status_code, answer.json["reason"]) == (403, "AdministratorsOnly")
    assert rows.get("host-a", "hypervisors")["desired"]["state"] == "enabled"


def test_a_hypervisor_is_added_with_what_a_single_machine_needs(root: Api, rows: Rows) -> None:
    answer = root("POST", "/hypervisors", {"id": "host-a", "hostname": "10.0.0.5"})
    assert answer.status_code == 201, answer.json
    assert answer.headers["Location"] == "/api/v1/hypervisors/host-a"
    made = answer.json
    assert made["observed"]["state"] == "offline"
    assert made["desired"]["state"] == "enabled"
    assert made["pools"] == ["default"]
    assert made["viewer"]["port"] == 6080
    row = rows.get("host-a", "hypervisors")
    assert row["capabilities"] == {"hypervisor": True, "disk_operations": True}
    assert [item["id"] for item in root("GET", "/hypervisors").json["items"]] == ["host-a"]
    again = root("POST", "/hypervisors", {"id": "host-a", "hostname": "10.0.0.6"})
    assert (again.status_code, again.json["reason"]) == (409, "Exists")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"hostname": "h"}, "id"),
        ({"id": "Host A", "hostname": "h"}, "id"),
        ({"id": "a", "hostname": "h; rm -rf /"}, "hostname"),
        ({"id": "a", "hostname": "-oProxyCommand=x"}, "hostname"),
        ({"id": "a", "hostname": "h", "port": 0}, "port"),
        ({"id": "a", "hostname": "h", "port": "22"}, "port"),
        ({"id": "a", "hostname": "h", "user": "root; id"}, "user"),
        ({"id": "a", "hostname": "h", "pools": []}, "pools"),
        ({"id": "a", "hostname": "h", "pools": ["no-such"]}, "pools"),
        ({"id": "a", "hostname": "h", "host_key": "not a key\nat all"}, "host_key"),
        (
            {
                "id": "a",
                "hostname": "h",
                "capabilities": {"hypervisor": False, "disk_operations": False},
            },
            "capabilities",
        ),
        ({"id": "a", "hostname": "h", "viewer": {"hostname": "a b"}}, "viewer.hostname"),
        ({"id": "a", "hostname": "h", "observed": {}}, "observed"),
    ],
)
def test_a_bad_hypervisor_is_refused_by_field(
    root: Api, rows: Rows, body: dict[str, Any], field: str
) -> None:
    answer = root("POST", "/hypervisors", body)
    assert (answer.status_code, answer.json["field"]) == (422, field), answer.json
    assert rows.count("hypervisors") == 0


def test_a_machine_is_not_added_twice(root: Api, rows: Rows) -> None:
    first = {"id": "host-a", "hostname": "10.0.0.5"}
    assert root("POST", "/hypervisors", first).status_code == 201
    again = root("POST", "/hypervisors", {"id": "host-b", "hostname": "10.0.0.5"})
    assert (again.status_code, again.json["reason"]) == (409, "SameHost")
    assert again.json["field"] == "hostname"
    assert "'host-a'" in again.json["detail"]
    other = {"id": "host-b", "hostname": "10.0.0.5", "port": 2022}
    assert root("POST", "/hypervisors", other).status_code == 201


def test_no_password_is_taken_while_no_engine_is_at_work(root: Api, rows: Rows) -> None:
    answer = root("POST", "/hypervisors", {"id": "a", "hostname": "h", "password": "secret"})
    assert (answer.status_code, answer.json["reason"]) == (503, "EngineNotRunning")
    assert rows.count("hypervisors") == rows.count("enrolments") == 0
    # An engine that died has left its key and its lease behind.
    rows.put("engine", {"id": "enrolment_key", "public": "A" * 43 + "="})
    rows.put("engine", {"id": "lease", "holder": "x", "epoch": 1, "counter": 7})
    answer = root("POST", "/hypervisors", {"id": "a", "hostname": "h", "password": "secret"})
    assert (answer.status_code, answer.json["reason"]) == (503, "EngineNotRunning")
    assert rows.count("hypervisors") == rows.count("enrolments") == 0


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("SHA256:" + "a" * 43, "SHA256:" + "a" * 43),
        ("b" * 43, "SHA256:" + "b" * 43),
        ("256 SHA256:" + "c" * 43 + "= root@host (ED25519)", "SHA256:" + "c" * 43),
        ("", None),
        (None, None),
    ],
)
def test_a_fingerprint_is_taken_as_people_paste_it(given: str | None, read: str | None) -> None:
    assert enrolments.read_fingerprint(given) == read


@pytest.mark.parametrize("given", ["MD5:aa:bb", "SHA256:short", "none at all"])
def test_what_is_no_fingerprint_is_refused(given: str) -> None:
    with pytest.raises(Problem, match="ssh-keygen -lf"):
        enrolments.read_fingerprint(given)


def test_a_hypervisor_is_edited_and_wished(root: Api, rows: Rows) -> None:
    rows.hypervisor()
    edited = root(
        "PATCH", "/hypervisors/host-a", {"port": 2222, "viewer": {"hostname": "v.example"}}
    )
    assert (edited.status_code, edited.json["port"]) == (202, 2222)
    row = rows.get("host-a", "hypervisors")
    assert row["viewer"]["hostname"] == "v.example"
    assert row["viewer"]["port"] == 6090, "what was not given stays"
    wished = root("PATCH", "/hypervisors/host-a", {"desired": {"state": "maintenance"}})
    assert wished.json["desired"]["state"] == "maintenance"
    first = rows.get("host-a", "hypervisors")["desired"]["at"]
    root("PATCH", "/hypervisors/host-a", {"desired": {"state": "maintenance"}})
    assert rows.get("host-a", "hypervisors")["desired"]["at"] > first, "repeating checks anew"
    for bad in ({}, {"desired": {"state": "on"}}, {"desired": {"state": "enabled"}, "port": 1}):
        assert root("PATCH", "/hypervisors/host-a", bad).status_code == 422
    assert root("PATCH", "/hypervisors/nowhere", {"port": 1}).status_code == 404


def test_only_the_key_the_host_offers_can_be_accepted(root: Api, rows: Rows) -> None:
    rows.hypervisor(host_key=KEY)
    rows.observe("host-a", "hypervisors", state="error", host_key_offered=OFFERED)
    other = root("PATCH", "/hypervisors/host-a", {"host_key": KEY})
    assert (other.status_code, other.json["reason"]) == (409, "HostKeyNotOffered")
    before = rows.get("host-a", "hypervisors")["desired"]["at"]
    accepted = root("PATCH", "/hypervisors/host-a", {"host_key": OFFERED})
    assert (accepted.status_code, accepted.json["host_key"]) == (202, OFFERED)
    assert rows.get("host-a", "hypervisors")["desired"]["at"] > before


def test_a_hypervisor_in_use_is_wished_away_and_emptied_by_the_engine(
    root: Api, rows: Rows
) -> None:
    rows.hypervisor()
    desktop = rows.running("ana")
    deleted = root("DELETE", "/hypervisors/host-a")
    assert (deleted.status_code, deleted.json["desired"]["state"]) == (202, "deleted")
    assert deleted.json["desired"]["force"] is False
    rows.put("domains", {"id": "odd", "placement": "host-a", "observed": "x"})
    rows.observe("host-a", "hypervisors", state="online", drain={"left": 1, "of": 1})
    shown = root("GET", "/hypervisors/host-a").json["observed"]
    assert shown["drain"] == {"left": 1, "of": 1}
    forced = root("PATCH", "/hypervisors/host-a", {"desired": {"state": "deleted", "force": True}})
    assert forced.json["desired"]["force"] is True
    events = queries.list_rows(rows.database, "events")
    [event] = [one for one in events if (one.get("detail") or {}).get("desktops")]
    assert event["detail"]["desktops"] == [desktop["id"]], "what force may lose is written down"
    again = root("PATCH", "/hypervisors/host-a", {"desired": {"state": "enabled"}})
    assert (again.status_code, again.json["reason"]) == (409, "BeingDeleted")


def test_a_hypervisor_row_full_of_nonsense_is_still_shown(root: Api, rows: Rows) -> None:
    rows.put(
        "hypervisors",
        {
            "id": "odd",
            "hostname": 5,
            "port": "x",
            "capabilities": [],
            "viewer": "v",
            "pools": "p",
            "desired": "on",
            "observed": {"state": ["online"], "checks": "none", "info": [1]},
        },
    )
    shown = root("GET", "/hypervisors").json["items"][0]
    assert shown["problem"]["field"] == "hostname"
    assert shown["observed"]["state"] == "offline"


def test_what_a_removal_touches_is_told_before(root: Api, ana: Api, rows: Rows) -> None:
    rows.hypervisor()
    running = rows.running("ana")
    bound, likes = (
        rows.desktop("ana", placement={key: "host-a"})
        for key in ("forced_hypervisor", "favourite_hypervisor")
    )
    rows.desktop("ana", placement={"forced_hypervisor": "host-b"})
    rows.put("domains", {"id": "odd", "kind": "desktop", "placement": "host-a", "observed": "x"})
    paths = {
        "groups": [{"path": "/nas/groups", "disk_operations": ["host-a"]}],
        "bases": [{"path": "/nas/bases", "disk_operations": ["host-a", "host-b"]}],
        "media": [{"path": "/nas/media", "disk_operations": []}],
    }
    rows.put("hypervisors_pools", {"id": "nas", "paths": paths})
    told = root("GET", "/hypervisors/host-a/removal")
    assert told.status_code == 200, told.json
    assert [one["id"] for one in told.json["desktops"]] == [running["id"]]
    assert [one["id"] for one in told.json["forced"]] == [bound["id"]]
    assert [one["id"] for one in told.json["favourite"]] == [likes["id"]]
    assert told.json["paths"] == [
        {"pool": "nas", "use": "bases", "path": "/nas/bases", "alone": False},
        {"pool": "nas", "use": "groups", "path": "/nas/groups", "alone": True},
    ]
    assert ana("GET", "/hypervisors/host-a/removal").status_code == 403
    assert root("GET", "/hypervisors/nowhere/removal").status_code == 404


def test_checks_show_how_grave_they_are_also_those_of_an_older_engine(
    root: Api, rows: Rows
) -> None:
    rows.hypervisor()
    checks = [
        {"name": "a", "ok": True},
        {"name": "b", "ok": False},
        {"name": "c", "ok": False, "level": "warning"},
        {"name": "d", "ok": False, "level": "strange"},
    ]
    rows.observe("host-a", "hypervisors", state="online", checks=checks)
    shown = root("GET", "/hypervisors/host-a").json["observed"]["checks"]
    assert [one["level"] for one in shown] == ["ok", "failed", "warning", "failed"]


def test_measuring_is_a_wish_and_its_answer_is_shown(root: Api, ana: Api, rows: Rows) -> None:
    rows.hypervisor()
    assert root("GET", "/hypervisors/host-a").json["observed"]["speeds"] is None
    asked = root("POST", "/hypervisors/host-a/measure")
    assert asked.status_code == 202, asked.json
    assert asked.json["observed"]["speeds"] == {"at": None, "is_measuring": True, "paths": []}
    row = rows.get("host-a", "hypervisors")
    speed = {"path": "/nas", "write_bytes_s": 5, "read_bytes_s": 9, "cached": False, "message": ""}
    answer = {"for": row["measure"]["at"], "at": row["measure"]["at"], "paths": [speed]}
    rows.observe("host-a", "hypervisors", state="online", speeds=answer)
    shown = root("GET", "/hypervisors/host-a").json["observed"]["speeds"]
    assert (shown["is_measuring"], shown["paths"]) == (False, [speed])
    assert root("POST", "/hypervisors/host-a/measure").json["observed"]["speeds"]["is_measuring"]
    assert ana("POST", "/hypervisors/host-a/measure").status_code == 403
