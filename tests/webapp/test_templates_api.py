"""Templates over REST: make, share, change, delete alone or as a tree; desktops in bulk."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from db.connection import r
from tests.webapp.conftest import Api, Rows


@pytest.fixture
def tea(rows: Rows, ben: Api) -> Api:
    """ben, a teacher: the role `advanced`."""
    set_role(rows, "ben", "advanced")
    return ben


def set_role(rows: Rows, user: str, role: str) -> None:
    rows.database.run(r.table("users").get(user).update({"role": role}))


def on(rows: Rows, child: dict[str, Any], parent: dict[str, Any]) -> None:
    """As the engine's ledger says it of a disk."""
    path = f"/opt/isard/groups/{child['id']}/system.qcow2"
    backing = f"/opt/isard/templates/{parent['id']}/system.qcow2"
    record = {"id": f"{child['id']}/system", "domain": child["id"], "disk": "system"}
    rows.put("disks", {**record, "path": path, "backing": backing, "state": "made"})


def test_a_desktop_is_made_with_no_size_that_its_template_has_outgrown(
    tea: Api, rows: Rows
) -> None:
    template = rows.template()
    disks = [{"id": "system", "size_gib": 20}, {"id": "data", "size_gib": 5}]
    change = {"spec": {"disks": disks}, "observed": {"disks": [{"id": "system", "size": 2**36}]}}
    rows.database.run(r.table("domains").get(template["id"]).update(change))
    body = {"name": "Mine", "origin": {"template": template["id"]}}
    made = tea("POST", "/desktops", body)
    assert made.status_code == 201, made.get_data(as_text=True)
    assert rows.get(made.json["id"])["spec"]["disks"] == [
        {"id": "system", "bus": "virtio"},
        {"id": "data", "size_gib": 5, "bus": "virtio"},
    ]


def test_a_template_is_made_of_ones_own_stopped_desktop(tea: Api, rows: Rows) -> None:
    desktop = rows.desktop("ben", name="Model")
    body = {
        "name": "Class",
        "description": "for all",
        "origin": {"desktop": desktop["id"]},
        "allowed": {"groups": ["default"]},
    }
    answer = tea("POST", "/templates", body)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    made = answer.json
    assert answer.headers["Location"].endswith(made["id"])
    row = rows.get(made["id"])
    assert (row["kind"], row["user"], row["origin"]) == (
        "template",
        "ben",
        {"desktop": desktop["id"]},
    )
    assert row["spec"]["disks"] == [{"id": "system", "bus": "virtio"}]
    assert row["allowed"] == {
        "roles": False,
        "categories": False,
        "groups": ["default"],
        "users": False,
    }
    assert row["desired"]["state"] == "stopped"
    assert made["condition"] == "creating"
    assert not made["is_ready"]
    assert rows.count("events", what="template.create") == 1


def test_who_may_not_make_one_and_of_what_not(tea: Api, ana: Api, rows: Rows) -> None:
    anas, running = rows.desktop("ana"), rows.running("ben")

    def ask(api: Api, desktop: str, **more: Any) -> tuple[int, str]:
        answer = api("POST", "/templates", {"name": "x", "origin": {"desktop": desktop}, **more})
        return answer.status_code, answer.json["reason"]

    assert ask(ana, anas["id"]) == (403, "AdvancedUsersOnly")
    assert ask(tea, anas["id"]) == (422, "NoSuchDesktop")
    assert ask(tea, str(uuid.uuid4())) == (422, "NoSuchDesktop")
    assert ask(tea, running["id"]) == (409, "NotStopped")
    assert ask(tea, rows.desktop("ben")["id"], kind="base") == (403, "AdministratorsOnly")
    assert rows.count("domains", kind="template") == 0


def test_sharing_decides_who_sees_it(tea: Api, ana: Api, rows: Rows) -> None:
    template = rows.template(shared=False, user="ben")
    path = f"/templates/{template['id']}"
    assert ana("GET", path).status_code == 404
    for allowed in (
        {"users": ["ana"]},
        {"groups": ["default"]},
        {"categories": ["default"]},
        {"roles": ["user"]},
        {"roles": []},
    ):
        changed = tea("PATCH", path, {"allowed": allowed})
        assert changed.status_code == 200, changed.get_data(as_text=True)
        seen = ana("GET", path)
        assert seen.status_code == 200
        assert (seen.json["allowed"], seen.json["actions"]) == (None, [])
        assert tea("PATCH", path, {"allowed": {}}).json["shared"] is False
        assert ana("GET", path).status_code == 404
    assert ana("PATCH", path, {"name": "mine"}).status_code == 404
    tea("PATCH", path, {"allowed": {"users": ["ana"]}})
    assert ana("PATCH", path, {"name": "mine"}).status_code == 403
    assert ana("DELETE", path).status_code == 403
    assert ana("GET", f"{path}/tree").status_code == 403


def test_name_description_and_hardware_are_changed(tea: Api, rows: Rows) -> None:
    template = rows.template(user="ben")
    body = {"name": "New", "description": "Text", "spec": {"memory_mib": 4096, "vcpus": 2}}
    changed = tea("PATCH", f"/templates/{template['id']}", body).json
    assert (changed["name"], changed["description"]) == ("New", "Text")
    spec = rows.get(template["id"])["spec"]
    assert (spec["memory_mib"], spec["vcpus"]) == (4096, 2)
    assert spec["disks"] == template["spec"]["disks"], "what was not given stays"
    for wrong in ({}, {"name": None}, {"spec": {"memory_mib": 1}}, {"spec": {"disks": []}}):
        assert tea("PATCH", f"/templates/{template['id']}", wrong).status_code == 422


def test_a_failed_one_is_tried_again(tea: Api, rows: Rows) -> None:
    template = rows.template(user="ben")
    path = f"/templates/{template['id']}"
    assert tea("PATCH", path, {"retry": True}).status_code == 409
    failure = {"reason": "DiskFailed", "message": "broken", "terminal": True}
    rows.observe(template["id"], state="absent", failure=failure)
    before = rows.get(template["id"])["desired"]["at"]
    assert tea("GET", path).json["actions"] == ["delete", "edit", "retry"]
    assert tea("PATCH", path, {"retry": True}).status_code == 200
    after = rows.get(template["id"])["desired"]
    assert after["state"] == "stopped"
    assert after["at"] > before


def test_the_tree_is_what_the_ledger_says_and_is_deleted_as_it_was_seen(
    tea: Api, rows: Rows
) -> None:
    top = rows.template(user="ben", name="Top")
    # A desktop of which a template was made: its row still names the first one.
    desktop = rows.desktop("ben", name="Model", origin={"template": top["id"]})
    inner = rows.template(user="ben", name="Inner", origin={"desktop": desktop["id"]})
    waiting = rows.desktop("ben", name="Not made yet", origin={"template": inner["id"]})
    elsewhere = rows.desktop("ben", name="Elsewhere")
    on(rows, desktop, inner)
    on(rows, inner, top)
    on(rows, elsewhere, {"id": str(uuid.uuid4())})
    path = f"/templates/{top['id']}"

    tree = tea("GET", f"{path}/tree").json
    assert (tree["count"], tree["others"], tree["may_delete"]) == (3, 0, True)
    assert [node["id"] for node in tree["root"]["children"]] == [inner["id"]]
    below = tree["root"]["children"][0]["children"]
    assert [node["name"] for node in below] == ["Model", "Not made yet"]

    refused = tea("DELETE", path)
    assert (refused.status_code, refused.json["reason"]) == (409, "HasChildren")
    late = rows.desktop("ben", name="Late", origin={"template": top["id"]})
    changed = tea("DELETE", f"{path}/tree/{tree['version']}")
    assert (changed.status_code, changed.json["reason"]) == (409, "TreeChanged")
    assert rows.get(top["id"])["desired"]["state"] == "stopped"

    tree = tea("GET", f"{path}/tree").json
    assert tree["count"] == 4
    done = tea("DELETE", f"{path}/tree/{tree['version']}")
    assert done.status_code == 202
    assert done.json["condition"] == "deleting"
    for row in (top, desktop, inner, waiting, late):
        assert rows.get(row["id"])["desired"]["state"] == "deleted"
    assert rows.get(elsewhere["id"])["desired"]["state"] == "stopped"


def test_other_peoples_desktops_are_deleted_by_administrators_alone(
    tea: Api, root: Api, rows: Rows
) -> None:
    template = rows.template(user="ben")
    rows.desktop("ana", name="Secret plans", origin={"template": template["id"]})
    path = f"/templates/{template['id']}/tree"
    tree = tea("GET", path).json
    node = tree["root"]["children"][0]
    assert (node["name"], node["user"], tree["may_delete"]) == (None, "ana", False)
    refused = tea("DELETE", f"{path}/{tree['version']}")
    assert (refused.status_code, refused.json["reason"]) == (403, "NotYours")
    seen = root("GET", path).json
    assert seen["root"]["children"][0]["name"] == "Secret plans"
    assert root("DELETE", f"{path}/{seen['version']}").status_code == 202


def test_one_alone_is_deleted_simply(tea: Api, rows: Rows) -> None:
    template = rows.template(user="ben")
    for _ in range(2):
        assert tea("DELETE", f"/templates/{template['id']}").status_code == 202
    assert rows.get(template["id"])["desired"]["state"] == "deleted"


def test_many_desktops_for_oneself(ana: Api, rows: Rows) -> None:
    origin = {"template": rows.template()["id"]}

    def names(**body: Any) -> list[str]:
        answer = ana("POST", "/desktops/bulk", {"origin": origin, **body})
        assert answer.status_code == 201, answer.get_data(as_text=True)
        return [item["name"] for item in answer.json["items"]]

    assert names(name="Class {n}", count=10)[::9] == ["Class 01", "Class 10"]
    assert names(name="Test", count=2) == ["Test 1", "Test 2"]
    assert names(names=["One", "Other"]) == ["One", "Other"]
    assert rows.count("domains", kind="desktop", user="ana") == 14


def test_one_desktop_for_each_of_a_group(ana: Api, ben: Api, root: Api, rows: Rows) -> None:
    origin = {"template": rows.template()["id"]}
    body = {"origin": origin, "name": "Maths of {user}", "group": "default"}
    refused = ana("POST", "/desktops/bulk", body)
    assert (refused.status_code, refused.json["field"]) == (422, "group")
    set_role(rows, "ben", "manager")
    for api in (ben, root):
        made = api("POST", "/desktops/bulk", body).json["items"]
        assert [(item["user"], item["name"]) for item in made] == [
            (name, f"Maths of {name}") for name in ("ana", "ben", "root")
        ]
    row = rows.get(made[0]["id"])
    assert (row["user"], row["group"], row["desired"]["by"]["id"]) == (
        "ana",
        "default",
        "user/root",
    )


def test_all_are_judged_before_any_is_made(root: Api, rows: Rows) -> None:
    origin = {"template": rows.template()["id"]}
    for wrong, field in (
        ({"users": ["ana", "nobody"]}, "users"),
        ({"group": "nowhere"}, "group"),
        ({"count": 201}, "count"),
        ({"count": 2, "name": "x" * 80}, "name"),
        ({"count": 2, "users": ["ana"]}, None),
        ({"count": 2, "origin": {"media": "0b9c3c6e-8d53-4b3f-9d0e-2f3a4b5c6d7e"}}, None),
        ({}, None),
    ):
        answer = root("POST", "/desktops/bulk", {"origin": origin, **wrong})
        assert answer.status_code == 422, wrong
        if field is not None:
            assert answer.json["field"] == field
    assert rows.count("domains", kind="desktop") == 0
