"""Databases, tables, indexes, users and the system tables: making, changing, refusing."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rethinkdb.errors import ReqlPermissionError

from tests.db.embedded.conftest import Run, r

Refusal = Callable[..., tuple[str, str]]
SYSTEM = r.db("rethinkdb")
FAILED = "ReqlOpFailedError"


@pytest.fixture(scope="module")
def name(reql: Run) -> Iterator[str]:
    """A database with the table `t`."""
    name = "admin_" + uuid.uuid4().hex[:8]
    reql(r.db_create(name))
    reql(r.db(name).table_create("t"))
    yield name
    reql(r.db_drop(name))


def failure(reql: Run, write: Any) -> str:
    """What the first document that could not be written was told."""
    answer = reql(write)
    assert answer["errors"] == 1
    return str(answer["first_error"])


def test_many_can_be_made_and_dropped_in_one_query(reql: Run, name: str) -> None:
    names = [f"made_{uuid.uuid4().hex[:6]}_{i}" for i in range(2)]
    made = reql(r.expr(names).for_each(r.db_create(r.row)))
    assert made["dbs_created"] == 2
    assert [change["new_val"]["name"] for change in made["config_changes"]] == names
    dropped = reql(r.db_list().set_intersection(names).for_each(lambda one: r.db_drop(one)))
    assert dropped["dbs_dropped"] == 2
    tables = reql(r.expr(["a", "b"]).for_each(lambda one: r.db(name).table_create(one)))
    assert tables["tables_created"] == 2
    assert reql(r.db(name).table_list()) == ["a", "b", "t"]
    assert reql(r.expr(["a", "b"]).for_each(r.db(name).table_drop(r.row)))["tables_dropped"] == 2


def test_a_database_is_renamed_but_not_to_what_is_taken(reql: Run, name: str) -> None:
    other = name + "_moved"
    assert reql(r.db(name).config().update({"name": other}))["replaced"] == 1
    assert reql(r.db(other).config().update({"name": name}))["replaced"] == 1
    for taken in ("rethinkdb", "test"):
        told = failure(reql, r.db(name).config().update({"name": taken}))
        assert told == f"Database `{taken}` already exists."
    told = failure(reql, r.db(name).config().update({"name": "a b"}))
    assert told.startswith("Database name `a b` invalid")


def test_a_tables_configuration_is_checked(reql: Run, name: str) -> None:
    config = r.db(name).table("t").config()
    shard = reql(config)["shards"][0]
    for patch, told in (
        ({"name": "a b"}, "Table name `a b` invalid"),
        ({"primary_key": "key"}, "It's illegal to change a table's `primary_key`."),
        ({"shards": []}, "You must specify at least one shard."),
        ({"shards": [{**shard, "replicas": []}]}, "You must specify at least one replica"),
        ({"shards": [{**shard, "extra": 1}]}, "Unexpected key(s) `extra`."),
        ({"shards": [{**shard, "replicas": ["nobody"]}]}, "In `replicas`: Server"),
        ({"colour": 1}, "Unexpected key(s) `colour`."),
        ({"db": "nowhere"}, "Database `nowhere` does not exist."),
    ):
        assert failure(reql, config.update(patch)).startswith(told)
    assert reql(config.update({"shards": [shard, shard], "durability": "soft"}))["replaced"] == 1
    assert len(reql(config)["shards"]) == 2
    assert reql(r.db(name).table("t").status())["status"]["all_replicas_ready"]


def test_the_system_database_is_special(reql: Run, refusal: Refusal) -> None:
    users = SYSTEM.table("users")
    for query, why in (
        (r.db_drop("rethinkdb"), "you can't delete it"),
        (SYSTEM.table_create("t"), "you can't create new tables in it"),
        (SYSTEM.table_drop("users"), "you can't drop tables in it"),
        (SYSTEM.config(), "you can't configure it"),
        (users.config(), "you can't configure the tables in it"),
        (users.reconfigure(shards=1, replicas=1), "you can't configure the tables in it"),
        (users.rebalance(), "you can't rebalance the tables in it"),
        (users.index_create("a"), "you can't create secondary indexes on the tables in it"),
    ):
        assert refusal(query) == (FAILED, f"Database `rethinkdb` is special; {why}.")
    assert reql(users.index_list()) == []
    told = failure(reql, SYSTEM.table("server_status").update({"name": "x"}))
    assert told == "It's illegal to write to the `rethinkdb.server_status` table."


def test_options_of_a_table_may_be_said_for_the_whole_query(
    reql: Run, name: str, refusal: Refusal
) -> None:
    table, configs = r.db(name).table("t"), SYSTEM.table("table_config")
    assert refusal(table.count(), read_mode="none")[1].startswith("Read mode `none` unrecognized")
    assert refusal(table, identifier_format="x")[1].startswith("Identifier format `x` unrecog")
    ids = reql(configs.filter({"name": "t"})["db"], identifier_format="uuid")
    assert reql(r.db(name).config()["id"]) in ids
    assert refusal(r.db(name).table_create("new"), durability="x")[1].startswith("Durability opt")


def test_tables_and_databases_are_made_through_their_configuration(reql: Run, name: str) -> None:
    row = {"db": name, "name": "by_row"}
    assert reql(SYSTEM.table("table_config").insert(row))["inserted"] == 1
    assert reql(r.db(name).table("by_row").count()) == 0
    assert reql(SYSTEM.table("table_config").filter(row).delete())["deleted"] == 1
    assert reql(r.db(name).table_list()) == ["t"]


@pytest.fixture
def user(reql: Run) -> Iterator[str]:
    """A user without any right."""
    user = "user_" + uuid.uuid4().hex[:6]
    reql(SYSTEM.table("users").insert({"id": user, "password": "secret"}))
    yield user
    reql(SYSTEM.table("users").get(user).delete())


def test_users_are_rows(reql: Run, user: str) -> None:
    users = SYSTEM.table("users")
    assert reql(users.get(user)) == {"id": user, "password": True}
    reql(users.get(user).update({"password": False}))
    assert reql(users.get(user)) == {"id": user, "password": False}
    reql(users.get(user).update({"password": {"password": "x", "iterations": 10}}))
    assert reql(users.get(user)) == {"id": user, "password": True}
    for row in ({"id": "new"}, {"id": "new", "password": 5}, {"id": 5, "password": "x"}):
        assert "xpected" in failure(reql, users.insert(row))
    assert failure(reql, users.get("admin").delete()) == "The user `admin` can't be deleted."


def test_who_gets_a_deleted_users_name_gets_no_rights_with_it(reql: Run, user: str) -> None:
    reql(r.grant(user, {"read": True, "write": True}))
    reql(SYSTEM.table("users").get(user).delete())
    reql(SYSTEM.table("users").insert({"id": user, "password": "other"}))
    assert reql(SYSTEM.table("permissions").filter({"user": user}).count()) == 0


def test_rights_are_granted_where_they_are_meant(
    reql: Run, name: str, user: str, refusal: Refusal, reql_address: tuple[str, int]
) -> None:
    host, port = reql_address
    table = r.db(name).table("t")
    reql(table.delete())
    reader = r.connect(host=host, port=port, user=user, password="secret")

    def refused(query: Any) -> str:
        with pytest.raises(ReqlPermissionError) as caught:
            query.run(reader)
        return str(caught.value.message).splitlines()[0]

    assert "`read` permission" in refused(table.count())
    granted = reql(r.db(name).grant(user, {"read": True}))
    assert granted["granted"] == 1
    assert granted["permissions_changes"][0]["new_val"]["permissions"] == {"read": True}
    assert table.count().run(reader) == 0
    assert "`write` permission" in refused(table.insert({"id": 1}))
    reql(table.grant(user, {"write": True}))
    assert table.insert({"id": 1}).run(reader)["inserted"] == 1
    assert "`config` permission" in refused(table.insert({"id": 2}, ignore_write_hook=True))
    reql(table.grant(user, {"read": False}))
    assert "`read` permission" in refused(table.count())
    reader.close()
    assert refusal(r.grant("nobody_here", {"read": True})) == (
        FAILED,
        "User `nobody_here` not found.",
    )
    assert refusal(r.grant(user, {"fly": True})) == (FAILED, "Unexpected key(s) `fly`.")
    assert refusal(r.db(name).grant(user, {"connect": True}))[0] == FAILED
    assert refusal(r.grant("admin", {"read": True}))[0] == FAILED


def test_indexes_are_named_renamed_and_dropped(reql: Run, name: str, refusal: Refusal) -> None:
    table = r.db(name).table("t")
    reql(table.delete())
    reql(table.insert([{"id": i, "tags": ["x", "y"][:i]} for i in range(3)]))
    reql(table.index_create("tags", multi=True))
    reql(table.index_create("pair", [r.row["id"], r.row["tags"]]))
    reql(table.index_wait())
    assert sorted(reql(table.get_all("x", index="tags")["id"])) == [1, 2]
    between = table.between([1, r.minval], [1, r.maxval], index="pair")
    assert reql(between["id"]) == [1]
    copied = reql(table.index_status("pair"))[0]["function"]
    reql(table.index_create("copy", copied))
    reql(table.index_wait("copy"))
    assert reql(table.get_all([0, []], index="copy")["id"]) == [0]
    for query, told in (
        (table.index_create("tags"), "Index `tags` already exists on table"),
        (table.index_create("id"), "Index name conflict: `id` is the name of the primary key."),
        (table.index_create("now", lambda row: r.now()), "Could not prove function deterministic."),
        (table.index_drop("none"), "Index `none` does not exist on table"),
        (table.get_all(1, index="none"), "Index `none` was not found on table"),
        (table.get_all({}, index="tags"), "Secondary keys must be a number, string, bool, pseu"),
        (table.get_all(None, index="tags"), "Keys cannot be NULL."),
        (table.index_rename("tags", "pair"), "Index `tags` does not exist or index `pair` alr"),
    ):
        assert refusal(query)[1].startswith(told)
    assert reql(table.index_rename("tags", "pair", overwrite=True)) == {"renamed": 1}
    assert reql(table.index_list()) == ["copy", "pair"]
    assert reql(r.expr(["copy", "pair"]).for_each(table.index_drop(r.row))) == {"dropped": 2}


def test_long_and_odd_keys_stay_apart_in_an_index(reql: Run, name: str) -> None:
    """RethinkDB truncates long indexed values; what they select may not depend on that."""
    table = r.db(name).table("t")
    reql(table.delete())
    values = ["a", "a\0", ["a", "b"], ["a\0", "b"], "x" * 500 + "a", "x" * 500 + "b", "x" * 499]
    reql(table.insert([{"id": i, "v": value} for i, value in enumerate(values)]))
    reql(table.index_create("v"))
    reql(table.index_wait())
    for i, value in enumerate(values):
        assert reql(table.get_all(value, index="v")["id"]) == [i]
    assert reql(table.order_by(index="v")["id"]) == [2, 3, 0, 1, 6, 4, 5]
    long = table.between("x" * 499, "x" * 500 + "b", left_bound="open", index="v")
    assert reql(long["id"]) == [4]
    reql(table.index_drop("v"))
