"""The name of a hypervisor that goes leaves the pools' lists of owners."""

from __future__ import annotations

import copy

import pytest

from db.connection import Database, r
from db.owners import drop_owner, without_owner

PATHS = {
    "groups": [{"path": "/a", "weight": 1, "disk_operations": ["h1", "h2"]}, {"path": "/b"}],
    "media": [{"path": "/c", "disk_operations": ["h2"]}, {"path": "/d", "disk_operations": ["h1"]}],
}


def test_it_is_taken_out_where_another_owner_is_left() -> None:
    before = copy.deepcopy(PATHS)
    left = without_owner(PATHS, "h2")
    assert left == {
        **PATHS,
        "groups": [{**PATHS["groups"][0], "disk_operations": ["h1"]}, {"path": "/b"}],
    }
    assert before == PATHS


@pytest.mark.parametrize(
    "paths",
    [None, "x", [], {}, {"media": None}, {"media": [7, {"disk_operations": "h1"}]}, PATHS],
)
def test_nothing_changes_where_it_is_not_named_or_what_is_named_is_odd(paths: object) -> None:
    assert without_owner(paths, "h3") is None


def test_every_pool_is_rid_of_it(database: Database) -> None:
    pools = r.table("hypervisors_pools")
    rows = [{"id": "one", "paths": PATHS}, {"id": "two", "paths": "odd"}, {"id": "three"}]
    database.run(pools.insert(rows))
    drop_owner(database, "h2")
    found = {row["id"]: row for row in database.run(pools.get_all("one", "two", "three"))}
    assert found["one"]["paths"] == without_owner(PATHS, "h2")
    assert found["two"] == rows[1]
    assert found["three"] == rows[2]
