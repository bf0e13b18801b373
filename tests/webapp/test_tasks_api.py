"""Work on disks over the API: who may order what, what is refused and why, who sees what."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from db.connection import r
from db.rowcheck import RowProblem, check_domain, check_media
from db.states import TARGETS_DOMAIN, TaskKind
from db.taskcheck import read_order
from tests.webapp.conftest import Api, Rows
from webapp.api.requests import NewTask

ARGS: dict[str, dict[str, Any]] = {
    "resize": {"size_gib": 20.0},
    "move": {"path": "/isard/groups2"},
    "convert": {"compress": True},
}


def path_of(row: dict[str, Any]) -> str:
    return f"/{row['kind']}s/{row['id']}/tasks"


def test_an_owner_orders_and_the_row_says_all_of_it(ana: Api, rows: Rows) -> None:
    desktop = rows.desktop("ana")
    answer = ana("POST", path_of(desktop), {"kind": "resize", "args": {"size_gib": 20}})
    assert answer.status_code == 202
    task = answer.json
    assert answer.headers["Location"].endswith(f"/api/v1/tasks/{task['id']}")
    row = rows.get(task["id"], "tasks")
    assert (row["kind"], row["target"], row["args"]) == (
        "resize",
        desktop["id"],
        {"size_gib": 20},
    )
    assert row["desired"]["state"] == "done"
    assert (row["user"], row["owner"], row["name"]) == ("ana", "ana", desktop["name"])
    assert task["observed"]["state"] == "queued"
    assert task["can_cancel"] is True
    assert rows.count("events", what="task.resize", who="user/ana") == 1


@pytest.mark.parametrize("kind", ["move", "convert"])
def test_how_the_storage_is_used_is_for_administrators(
    ana: Api, root: Api, rows: Rows, kind: str
) -> None:
    desktop = rows.desktop("ana")
    body = {"kind": kind, "args": ARGS[kind]}
    assert ana("POST", path_of(desktop), body).status_code == 403
    assert root("POST", path_of(desktop), body).status_code == 202
    assert rows.count("tasks", target=desktop["id"]) == 1


def test_what_one_does_not_see_is_not_there(ana: Api, ben: Api, rows: Rows) -> None:
    desktop, hidden = rows.desktop("ben"), rows.template(shared=False)
    body = {"kind": "verify"}
    assert ana("POST", path_of(desktop), body).status_code == 404
    assert ana("POST", path_of(hidden), body).status_code == 404
    assert ana("POST", path_of(rows.template()), body).status_code == 403
    task = ben("POST", path_of(desktop), body).json
    for method in ("GET", "DELETE"):
        assert ana(method, f"/tasks/{task['id']}").status_code == 404
    assert ana("GET", "/tasks").json["items"] == []
    assert len(ben("GET", "/tasks").json["items"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "resize"}, "args.size_gib"),
        ({"kind": "resize", "args": {"size_gib": -1}}, "args.size_gib"),
        ({"kind": "resize", "args": {"size_gib": 501}}, "args.size_gib"),
        ({"kind": "sparsify", "args": {"disk": "../x"}}, "args.disk"),
        ({"kind": "flatten", "args": {"disk": "$(id)"}}, "args.disk"),
        ({"kind": "verify", "args": {"repair": "yes"}}, "args.repair"),
        ({"kind": "verify", "args": {"fix": True}}, "args.fix"),
        ({"kind": "erase"}, "kind"),
        ({"kind": "verify", "path": "/"}, "path"),
    ],
)
def test_odd_orders_are_refused_by_field(
    ana: Api, rows: Rows, body: dict[str, Any], field: str
) -> None:
    answer = ana("POST", path_of(rows.desktop("ana")), body)
    assert (answer.status_code, answer.json["field"]) == (422, field)
    assert rows.count("tasks") == 0


def test_what_cannot_be_now_is_refused_with_a_reason(ana: Api, rows: Rows) -> None:
    running, new = rows.running("ana"), rows.desktop("ana")
    rows.observe(new["id"])
    answer = ana("POST", path_of(running), {"kind": "verify"})
    assert (answer.status_code, answer.json["reason"]) == (409, "NotStopped")
    answer = ana("POST", path_of(new), {"kind": "flatten"})
    assert (answer.status_code, answer.json["reason"]) == (409, "NotReady")
    ana("DELETE", f"/desktops/{running['id']}")
    answer = ana("POST", path_of(running), {"kind": "flatten"})
    assert (answer.status_code, answer.json["reason"]) == (409, "BeingDeleted")


def test_a_task_is_cancelled_by_who_ordered_it(ana: Api, root: Api, rows: Rows) -> None:
    desktop = rows.desktop("ana")
    body = {"kind": "convert", "args": {"compress": True}}
    theirs = root("POST", path_of(desktop), body).json["id"]
    seen = ana("GET", f"/tasks/{theirs}").json
    assert (seen["can_cancel"], seen["observed"]["state"]) == (False, "queued")
    assert ana("DELETE", f"/tasks/{theirs}").status_code == 403
    own = ana("POST", path_of(desktop), {"kind": "flatten"}).json["id"]
    answer = ana("DELETE", f"/tasks/{own}")
    assert (answer.status_code, answer.json["can_cancel"]) == (202, False)
    assert rows.get(own, "tasks")["desired"]["state"] == "cancelled"
    rows.observe(theirs, "tasks", state="done")
    assert root("DELETE", f"/tasks/{theirs}").status_code == 202
    assert rows.get(theirs, "tasks")["desired"]["state"] == "done"


def test_paths_commands_and_hosts_are_for_administrators(ana: Api, root: Api, rows: Rows) -> None:
    desktop = rows.desktop("ana")
    body = {"kind": "move", "args": {"path": "/isard/groups2"}}
    task = root("POST", path_of(desktop), body).json["id"]
    failure = {"command": "qemu-img convert /isard/x", "answer": "no"}
    rows.observe(
        task,
        "tasks",
        state="failed",
        message="The disk /isard/groups/x/disk0.qcow2 is not there.",
        hypervisor="host-a",
        failure=failure,
        result={"disks": [{"id": "disk0", "path": "/isard/groups2"}], "ok": False},
    )
    for api, shown in ((ana, False), (root, True)):
        text = api("GET", f"/tasks/{task}").get_data(as_text=True)
        assert ("/isard" in text) is shown
        assert ("host-a" in text) is shown


def test_rows_that_scripts_wrote_are_shown_whatever_they_hold(root: Api, rows: Rows) -> None:
    odd: list[Any] = [None, 7, "x", ["y"], {"z": {"deep": 1}}]
    for at, value in enumerate(odd):
        keys = ("kind", "target", "args", "desired", "observed", "user", "created_at", "name")
        rows.put("tasks", {"id": f"odd-{at}", **dict.fromkeys(keys, value)})
    rows.put("tasks", {"id": "bare"})
    items = root("GET", "/tasks").json["items"]
    assert len(items) == len(odd) + 1
    assert all(item["problem"] for item in items)


def test_open_tasks_come_first_then_the_newest(root: Api, rows: Rows) -> None:
    for at, state in enumerate(["done", "running", "failed", "queued"]):
        row = {"id": f"t{at}", "kind": "verify", "created_at": r.epoch_time(at), "args": {}}
        rows.put("tasks", {**row, "observed": {"state": state}})
    assert [item["id"] for item in root("GET", "/tasks").json["items"]] == ["t3", "t1", "t2", "t0"]


def test_every_kind_can_be_asked_for() -> None:
    kinds = set(NewTask.model_json_schema()["properties"]["kind"]["enum"])
    assert kinds == {kind.value for kind in TARGETS_DOMAIN}
    assert TaskKind.IMPORT not in TARGETS_DOMAIN


def test_a_copy_is_a_row_that_waits_for_its_task(ana: Api, rows: Rows) -> None:
    desktop = rows.desktop("ana", spec={"vcpus": 3, "memory_mib": 96, "interfaces": [{"id": "x"}]})
    body = {"kind": "duplicate", "args": {"name": "My copy"}}
    answer = ana("POST", path_of(desktop), body)
    assert answer.status_code == 202
    copy = rows.get(answer.json["args"]["into"])
    assert copy["origin"] == {"task": answer.json["id"]}
    assert (copy["kind"], copy["name"], copy["user"]) == ("desktop", "My copy", "ana")
    assert (copy["spec"]["vcpus"], copy["spec"]["interfaces"]) == (3, [{"id": "x"}])
    assert copy["desired"]["state"] == "stopped"
    assert check_domain(copy) is None
    refused = ana("POST", path_of(desktop), {"kind": "duplicate", "args": {"name": "<b>"}})
    assert (refused.status_code, refused.json["field"]) == (422, "args.name")
    forged = {"kind": "duplicate", "args": {"into": desktop["id"]}}
    assert ana("POST", path_of(desktop), forged).status_code == 422
    assert rows.count("domains") == 2


def test_a_copy_of_a_template_is_shared_with_nobody(root: Api, rows: Rows) -> None:
    template = rows.template()
    body = {"kind": "duplicate", "args": {"name": "Copy"}}
    copy = rows.get(root("POST", path_of(template), body).json["args"]["into"])
    assert copy["kind"] == "template"
    assert not any(copy["allowed"].values())


@pytest.mark.parametrize("kind", ["desktop", "template"])
def test_an_image_is_taken_over_by_who_may_bring_systems(
    ana: Api, root: Api, rows: Rows, kind: str
) -> None:
    medium = {"id": str(uuid.uuid4()), "kind": "disk", "name": "box", "user": "ana"}
    rows.put("media", medium)
    path = f"/media/{medium['id']}/tasks"
    body = {"kind": "import", "args": {"name": "Box", "kind": kind, "firmware": "uefi"}}
    assert ana("POST", path, body).status_code == 404  # a plain user brings in no systems
    answer = root("POST", path, body)
    assert answer.status_code == 202
    made = rows.get(answer.json["args"]["into"])
    assert (made["kind"], made["spec"]["firmware"]) == (kind, "uefi")
    assert check_domain(made) is None
    rows.put("users", {**rows.get("ana", "users"), "role": "advanced"})
    assert ana("POST", path, body).status_code == 202
    rows.put("media", {**medium, "kind": "iso"})
    assert ana("POST", path, body).json["reason"] == "NoDiskImage"


DESCRIBED = {
    "name": "Office",
    "vcpus": 6,
    "memory_mib": 6144,
    "firmware": "uefi",
    "os": "Microsoft Windows 10 (64-bit)",
    "controller": "scsi",
    "disks": 1,
    "notes": [],
}


def put_ova(rows: Rows, hardware: Any) -> str:
    medium_id = str(uuid.uuid4())
    seen = {"state": "available", "format": "ova", "hardware": hardware}
    wish = {"state": "available"}
    row = {"id": medium_id, "kind": "disk", "name": "box", "user": "root", "desired": wish}
    rows.put("media", {**row, "observed": {**seen, "for": {"state": "available", "at": None}}})
    return medium_id


def import_of(root: Api, rows: Rows, medium: str, **args: Any) -> tuple[dict[str, Any], Any]:
    """(the new row, what its disks are connected to)"""
    order = {"kind": "import", "args": {"name": "Box", **args}}
    answer = root("POST", f"/media/{medium}/tasks", order)
    assert answer.status_code == 202, answer.json
    made = rows.get(answer.json["args"]["into"])
    assert check_domain(made) is None
    assert not isinstance(read_order(rows.get(answer.json["id"], "tasks")), RowProblem)
    return made, answer.json["args"]["bus"]


def test_what_an_import_leaves_out_is_as_the_image_describes_it(root: Api, rows: Rows) -> None:
    medium = put_ova(rows, DESCRIBED)
    shown = root("GET", f"/media/{medium}").json
    summary = "6 processors, 6 GiB, UEFI, Microsoft Windows 10 (64-bit), 1 disk"
    assert shown["observed"]["hardware"] == {**DESCRIBED, "summary": summary}
    made, bus = import_of(root, rows, medium)
    spec = made["spec"]
    assert (spec["vcpus"], spec["memory_mib"], spec["firmware"]) == (6, 6144, "uefi")
    # What the description does not say, the profile of its system does.
    assert (made["os"], spec["hyperv"], bus, "disks" in spec) == ("Windows 10", True, "sata", False)
    made, bus = import_of(
        root, rows, medium, vcpus=1, memory_mib=512, firmware="bios", os="", disk_bus="virtio"
    )
    spec = made["spec"]
    assert (spec["vcpus"], spec["memory_mib"], spec["firmware"]) == (1, 512, "bios")
    assert (made["os"], "hyperv" in spec, bus) == ("", False, "virtio")
    order = {"kind": "import", "args": {"name": "Box", "os": "beos"}}
    refused = root("POST", f"/media/{medium}/tasks", order)
    assert (refused.status_code, refused.json["field"]) == (422, "args.os")


def test_what_an_image_describes_is_taken_within_limits(root: Api, rows: Rows) -> None:
    large = {"vcpus": 500, "memory_mib": 2**23, "os": "Debian_64", "controller": "ide"}
    medium = put_ova(rows, large)
    known = root("GET", f"/media/{medium}").json["import_defaults"]
    assert known == {
        "vcpus": 64,
        "memory_mib": 262144,
        "firmware": "bios",
        "os": "debian",
        "disk_bus": "sata",
    }
    made, bus = import_of(root, rows, medium)
    assert (made["spec"]["vcpus"], made["spec"]["memory_mib"], bus) == (64, 262144, "sata")
    # Somebody has removed that profile: one that would suit need not be there.
    rows.database.run(r.table("os_profiles").get("debian").delete())
    assert import_of(root, rows, medium)[0]["os"] == ""


@pytest.mark.parametrize(
    "hardware",
    [
        None,
        "4 processors",
        [1],
        {"vcpus": "4", "memory_mib": [], "os": 7, "notes": "x", "disks": -1},
        {"vcpus": -4, "memory_mib": 1e300, "firmware": {}, "controller": []},
        {"notes": ["Its description is not read: it is no XML."], "disks": 1},
    ],
)
def test_an_image_that_describes_nothing_sensible_gets_the_usual(
    root: Api, rows: Rows, hardware: Any
) -> None:
    medium = put_ova(rows, hardware)
    assert set(root("GET", f"/media/{medium}").json["import_defaults"].values()) == {None}
    made, bus = import_of(root, rows, medium)
    assert made["spec"] == {
        "vcpus": 2,
        "memory_mib": 2048,
        "firmware": "bios",
        "interfaces": [{"id": "default"}],
    }
    assert (made["os"], bus) == ("", "virtio")


def test_an_export_is_a_medium_of_who_ordered_it(ana: Api, rows: Rows) -> None:
    desktop = rows.desktop("ana")
    body = {"kind": "export", "args": {"format": "ova"}}
    assert ana("POST", path_of(desktop), body).status_code == 403  # media are for advanced users
    rows.put("users", {**rows.get("ana", "users"), "role": "advanced"})
    task = ana("POST", path_of(desktop), body).json
    medium = rows.get(task["args"]["medium"], "media")
    assert (medium["kind"], medium["user"]) == ("disk", "ana")
    assert medium["source"] == {"task": task["id"]}
    assert medium["name"] == f"{desktop['name']} (ova)"
    assert not any(medium["allowed"].values())
    assert check_media(medium) is None
    assert not isinstance(read_order(rows.get(task["id"], "tasks")), RowProblem)
    refused = ana("POST", path_of(desktop), {"kind": "export", "args": {"format": "iso; id"}})
    assert (refused.status_code, refused.json["field"]) == (422, "args.format")
    assert rows.count("media") == 1
