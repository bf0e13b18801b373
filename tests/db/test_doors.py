"""The two doors: wishes and observations, each one conditional update of one document."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from db import desired, observed, queries, schema
from db.connection import Database, r
from db.errors import Conflict, DatabaseUnavailable, Fenced, NotFound, SchemaError
from db.settings import Settings
from db.states import Desired, HypervisorDesired, is_handled, read_wish
from tests.servers import free_port


def make_desktop(database: Database, **more: Any) -> dict[str, Any]:
    row = {
        "id": str(uuid.uuid4()),
        "kind": "desktop",
        "name": "Ana's desktop",
        "user": "ana",
        "group": "class-1a",
        "category": "default",
        "origin": {"template": str(uuid.uuid4())},
        **more,
    }
    return desired.create_domain(database, row, "user/ana")


def test_a_new_desktop_wishes_to_be_stopped(database: Database) -> None:
    row = make_desktop(database)
    wish = read_wish(row["desired"])
    assert (wish.state, wish.by, wish.force) == (Desired.STOPPED, "user/ana", False)
    assert row["observed"] == {}
    with pytest.raises(Conflict):
        make_desktop(database, id=row["id"])


def test_a_wish_replaces_the_whole_wish_before_it(database: Database) -> None:
    row = make_desktop(database)
    forced = desired.wish_domain(database, row["id"], Desired.STOPPED, "user/ana", force=True)
    assert read_wish(forced["desired"]).force
    started = desired.wish_domain(database, row["id"], Desired.STARTED, "user/ana")
    assert read_wish(started["desired"]).force is False
    assert set(started["desired"]) == {"state", "at", "by", "force"}


def test_deleted_is_final(database: Database) -> None:
    row = make_desktop(database)
    desired.wish_domain(database, row["id"], Desired.DELETED, "user/ana")
    with pytest.raises(Conflict) as refused:
        desired.wish_domain(database, row["id"], Desired.STARTED, "user/ana")
    assert refused.value.reason == "BeingDeleted"
    with pytest.raises(Conflict):
        desired.edit_domain(database, row["id"], {"name": "Other"})


def test_a_wish_for_what_is_not_there_says_so(database: Database) -> None:
    with pytest.raises(NotFound):
        desired.wish_domain(database, str(uuid.uuid4()), Desired.STARTED, "user/ana")
    with pytest.raises(NotFound):
        desired.wish_hypervisor(database, "nowhere", HypervisorDesired.ENABLED, "user/a")


def test_edits_never_reach_the_fields_of_others(database: Database) -> None:
    row = make_desktop(database)
    for field in ("id", "kind", "desired", "observed"):
        with pytest.raises(ValueError, match="edit_domain"):
            desired.edit_domain(database, row["id"], {field: "x"})
    assert desired.edit_domain(database, row["id"], {"name": "Other"})["name"] == "Other"


def test_the_script_of_the_architecture_makes_new_wishes_of_desktops_only(
    database: Database,
) -> None:
    desktop = make_desktop(database)
    template = make_desktop(database, kind="template")
    done = {**desktop["observed"], "for": {"state": "stopped", "at": desktop["desired"]["at"]}}
    observed.write_observed(database, "domains", desktop["id"], done, epoch=1)
    database.run(
        r.table("domains")
        .get_all("class-1a", index="group")
        .update({"desired": {"state": "started", "at": r.now()}})
    )
    row = queries.get_row(database, "domains", desktop["id"])
    assert row is not None
    wish = read_wish(row["desired"])
    assert (wish.state, wish.by) == (Desired.STARTED, "script")
    assert not is_handled(wish, row["observed"])
    untouched = queries.get_row(database, "domains", template["id"])
    assert untouched is not None
    assert untouched["desired"]["state"] == "stopped"


def test_observed_is_written_whole_and_never_raises_the_deleted(database: Database) -> None:
    row = make_desktop(database)
    first = {"state": "stopped", "failure": {"reason": "StartFailed"}}
    assert observed.write_observed(database, "domains", row["id"], first, epoch=3) == "written"
    assert observed.write_observed(database, "domains", row["id"], first, epoch=3) == "unchanged"
    observed.write_observed(database, "domains", row["id"], {"state": "started"}, epoch=3)
    after = queries.get_row(database, "domains", row["id"])
    assert after is not None
    assert after["observed"] == {"state": "started", "epoch": 3}
    database.run(r.table("domains").get(row["id"]).delete())
    assert observed.write_observed(database, "domains", row["id"], first, epoch=3) == "gone"
    assert queries.get_row(database, "domains", row["id"]) is None


def test_what_belongs_to_an_observation_is_written_with_it(database: Database) -> None:
    row = make_desktop(database)
    record = {"id": f"{row['id']}/disk0", "domain": row["id"], "state": "made"}
    event = {"id": str(uuid.uuid4()), "what": "domain.made", "target": f"domain/{row['id']}"}
    seen = {"state": "stopped"}
    belongings = {"records": [record], "events": [event]}
    assert observed.write_domain(database, row["id"], seen, epoch=3, **belongings) == "written"
    assert queries.get_row(database, "domains", row["id"]) == {
        **row,
        "observed": {**seen, "epoch": 3},
    }
    assert queries.get_row(database, "disks", record["id"]) == {**record, "epoch": 3}
    assert queries.get_row(database, "events", event["id"]) == event
    gone = {**record, "state": "deleting"}
    with pytest.raises(Fenced):
        observed.write_domain(database, row["id"], seen, epoch=2, records=[gone])
    with pytest.raises(Fenced):
        observed.write_domain(database, row["id"], seen, epoch=2, heal=True, records=[gone])
    assert queries.get_row(database, "disks", record["id"]) == {**record, "epoch": 3}
    database.run(r.table("domains").get(row["id"]).delete())
    assert observed.write_domain(database, row["id"], seen, epoch=3, records=[gone]) == "gone"


def test_an_older_engine_is_fenced(database: Database) -> None:
    row = make_desktop(database)
    observed.write_observed(database, "domains", row["id"], {"state": "stopped"}, epoch=5)
    with pytest.raises(Fenced):
        observed.write_observed(database, "domains", row["id"], {"state": "started"}, epoch=4)
    observed.put_record(database, "disks", {"id": "a/b", "state": "made"}, epoch=5)
    with pytest.raises(Fenced):
        observed.put_record(database, "disks", {"id": "a/b", "state": "making"}, epoch=4)
    desired.wish_domain(database, row["id"], Desired.DELETED, "user/ana")
    with pytest.raises(Fenced):
        observed.remove_row(database, "domains", row["id"], epoch=4)


def test_only_the_wish_deleted_removes_a_row(database: Database) -> None:
    row = make_desktop(database)
    assert observed.remove_row(database, "domains", row["id"], epoch=1) == "unchanged"
    assert queries.get_row(database, "domains", row["id"])
    desired.wish_domain(database, row["id"], Desired.DELETED, "user/ana")
    assert observed.remove_row(database, "domains", row["id"], epoch=1) == "written"
    assert queries.get_row(database, "domains", row["id"]) is None
    assert observed.remove_row(database, "domains", row["id"], epoch=1) in ("gone", "unchanged")


def test_setting_up_twice_keeps_the_installation_and_what_people_changed(
    database: Database,
) -> None:
    before = schema.installation_id(database)
    database.run(r.table("groups").get("default").update({"name": "Our school"}))
    schema.ensure(database)
    assert schema.installation_id(database) == before
    group = queries.get_row(database, "groups", "default")
    assert group is not None
    assert group["name"] == "Our school"


def test_a_newer_schema_is_refused_with_what_to_do(database: Database) -> None:
    database.run(r.table("config").get("schema").update({"version": 999}))
    with pytest.raises(SchemaError, match="newer program"):
        schema.ensure(database)


def test_a_database_that_is_not_there_is_an_error_within_its_deadline(settings: Settings) -> None:
    from dataclasses import replace

    nowhere = Database(replace(settings, db_port=free_port()))
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        nowhere.run(r.expr(1))
