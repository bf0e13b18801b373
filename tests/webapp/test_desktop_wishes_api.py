"""Wishes for desktops through the API: start, pause, stop and delete, as their condition allows."""

from __future__ import annotations

from db.connection import Database, r
from db.states import read_wish
from tests.webapp.conftest import Api, Rows
from tests.webapp.desktop_calls import assert_problem, create, patch_state


def test_wishes_follow_the_table_of_actions(ana: Api, rows: Rows) -> None:
    desktop_id = rows.desktop("ana")["id"]
    started = patch_state(ana, desktop_id, "started")
    assert started.status_code == 202
    assert started.json["desired"]["state"] == "started"
    assert started.json["condition"] == "starting"
    assert read_wish(rows.get(desktop_id)["desired"]).by == "user/ana"
    rows.reach(desktop_id)
    paused = patch_state(ana, desktop_id, "paused")
    assert paused.json["condition"] == "pausing"
    rows.reach(desktop_id)
    assert patch_state(ana, desktop_id, "started").json["condition"] == "resuming"
    rows.reach(desktop_id)
    assert patch_state(ana, desktop_id, "stopped").json["condition"] == "stopping"
    forced = patch_state(ana, desktop_id, "stopped", force=True)
    assert forced.status_code == 202
    assert forced.json["desired"]["force"] is True
    rows.reach(desktop_id)
    assert ana("GET", f"/desktops/{desktop_id}").json["condition"] == "stopped"


def test_what_the_condition_does_not_allow_is_refused_and_changes_nothing(
    ana: Api, rows: Rows
) -> None:
    stopped, running = rows.desktop("ana"), rows.running("ana")
    refused = patch_state(ana, stopped["id"], "paused")
    assert_problem(refused, 409, "NotAllowedNow")
    assert "stopped" in refused.json["detail"]
    assert_problem(ana("POST", f"/desktops/{stopped['id']}/viewer", {}), 409, "NotAllowedNow")
    patch_state(ana, running["id"], "stopped")
    before = rows.get(running["id"])
    assert_problem(patch_state(ana, running["id"], "started"), 409, "NotAllowedNow")
    assert_problem(patch_state(ana, running["id"], "paused"), 409, "NotAllowedNow")
    assert rows.get(running["id"]) == before


def test_asking_twice_is_asking_once(ana: Api, rows: Rows) -> None:
    desktop_id = rows.desktop("ana")["id"]
    patch_state(ana, desktop_id, "started")
    once = rows.get(desktop_id)
    again = patch_state(ana, desktop_id, "started")
    assert again.status_code == 202
    assert rows.get(desktop_id) == once
    rows.reach(desktop_id)
    reached = rows.get(desktop_id)
    assert patch_state(ana, desktop_id, "started").status_code == 202
    assert rows.get(desktop_id) == reached
    assert ana("DELETE", f"/desktops/{desktop_id}").status_code == 202
    deleted = rows.get(desktop_id)
    assert ana("DELETE", f"/desktops/{desktop_id}").status_code == 202
    assert rows.get(desktop_id) == deleted


def test_a_desktop_being_created_can_be_wished_started(ana: Api, rows: Rows) -> None:
    made = create(ana, rows.template()["id"]).json
    ahead = patch_state(ana, made["id"], "started")
    assert (ahead.status_code, ahead.json["condition"]) == (202, "creating")
    assert rows.get(made["id"])["desired"]["state"] == "started"
    assert patch_state(ana, made["id"], "stopped").status_code == 202
    assert rows.get(made["id"])["desired"]["state"] == "stopped"


def test_what_is_deleted_is_not_started(ana: Api, rows: Rows, database: Database) -> None:
    desktop_id = rows.desktop("ana")["id"]
    deleted = ana("DELETE", f"/desktops/{desktop_id}")
    assert (deleted.status_code, deleted.json["condition"]) == (202, "deleting")
    assert deleted.json["actions"] == []
    assert_problem(patch_state(ana, desktop_id, "started"), 409, "BeingDeleted")
    renamed = ana("PATCH", f"/desktops/{desktop_id}", {"name": "Other"})
    assert_problem(renamed, 409, "BeingDeleted")
    assert rows.get(desktop_id)["desired"]["state"] == "deleted"
    database.run(r.table("domains").get(desktop_id).delete())
    assert_problem(patch_state(ana, desktop_id, "started"), 404, "NotFound")


def test_a_failed_start_can_be_tried_again_by_wishing_it_again(ana: Api, rows: Rows) -> None:
    desktop_id = rows.desktop("ana")["id"]
    patch_state(ana, desktop_id, "started")
    failure = {
        "reason": "StartFailed",
        "message": "libvirt refused /opt/isard/groups/x/system.qcow2: no memory.",
        "step": "start",
        "command": "virsh create",
        "answer": "internal error",
        "terminal": True,
        "attempts": 3,
    }
    rows.reach(desktop_id, state="stopped", failure=failure)
    failed = ana("GET", f"/desktops/{desktop_id}").json
    assert failed["condition"] == "failed"
    assert failed["observed"]["failure"] == {
        "reason": "StartFailed",
        "message": "libvirt refused (a file): no memory.",
        "terminal": True,
        "retry_at": None,
        "attempts": 3,
    }
    first = rows.get(desktop_id)["desired"]["at"]
    assert patch_state(ana, desktop_id, "started").status_code == 202
    assert rows.get(desktop_id)["desired"]["at"] > first


def test_waiting_for_room_can_be_called_off(ana: Api, rows: Rows) -> None:
    desktop_id = rows.desktop("ana")["id"]
    patch_state(ana, desktop_id, "started")
    rows.observe(desktop_id, state="stopped", reason="NoCapacity", message="No room: memory.")
    waiting = ana("GET", f"/desktops/{desktop_id}").json
    assert waiting["condition"] == "waiting"
    assert "call_off" in waiting["actions"]
    assert patch_state(ana, desktop_id, "stopped").status_code == 202
    assert rows.get(desktop_id)["desired"]["state"] == "stopped"


def test_only_administrators_force_a_deletion(ana: Api, root: Api, rows: Rows) -> None:
    lost = rows.running("ana")
    rows.observe(lost["id"], state="unknown", reason="HostUnreachable")
    refused = patch_state(ana, lost["id"], "deleted", force=True)
    assert_problem(refused, 403, "AdministratorsOnly")
    assert patch_state(root, lost["id"], "deleted", force=True).status_code == 202
    assert read_wish(rows.get(lost["id"])["desired"]).force is True
