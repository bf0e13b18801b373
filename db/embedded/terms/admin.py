"""Terms that create, drop and describe databases, tables and indexes."""

from __future__ import annotations

from typing import Any

from db.embedded.datum import Datum
from db.embedded.env import Env
from db.embedded.registry import term
from db.embedded.sequences import DatabaseValue
from db.embedded.terms.tables import check_name, default_database


@term("DB_CREATE", 57, "string", writes=True)
def db_create(env: Env, name: str) -> Datum:
    database = env.catalog.create_database(check_name("Database", name))
    env.wait_for_commit()
    return {
        "config_changes": [{"new_val": {"id": database.id, "name": name}, "old_val": None}],
        "dbs_created": 1,
    }


@term("DB_DROP", 58, "string", writes=True)
def db_drop(env: Env, name: str) -> Datum:
    database = env.catalog.find_database(check_name("Database", name))
    tables = env.catalog.drop_database(database)
    env.wait_for_commit()
    return {
        "config_changes": [{"new_val": None, "old_val": {"id": database.id, "name": name}}],
        "dbs_dropped": 1,
        "tables_dropped": tables,
    }


@term("DB_LIST", 59, "", writes=True)
def db_list(env: Env) -> Datum:
    return sorted([*env.catalog.databases, "rethinkdb"])


def _database_and_name(env: Env, args: tuple[Any, ...]) -> tuple[Any, str]:
    from db.embedded.values import as_database, as_string

    if len(args) == 2:
        return as_database(env, args[0]).database, as_string(env, args[1])
    return default_database(env).database, as_string(env, args[0])


@term(
    "TABLE_CREATE",
    60,
    "any any?",
    writes=True,
    options={
        "primary_key": "string",
        "durability": "string",
        "shards": "datum",
        "replicas": "datum",
        "primary_replica_tag": "datum",
        "nonvoting_replica_tags": "datum",
    },
)
def table_create(env: Env, *args: Any, **options: Any) -> Datum:
    from db.embedded.terms.writes import check_durability

    database, name = _database_and_name(env, args)
    check_name("Table", name)
    table = env.catalog.create_table(
        database,
        name,
        {
            "primary_key": options.get("primary_key", "id"),
            "durability": check_durability(options.get("durability", "hard")),
        },
    )
    env.wait_for_commit()
    return {
        "tables_created": 1,
        "config_changes": [
            {
                "old_val": None,
                "new_val": {
                    "id": table.id,
                    "name": name,
                    "db": database.name,
                    "primary_key": table.primary_key,
                    "durability": table.config["durability"],
                },
            }
        ],
    }


@term("TABLE_DROP", 61, "any any?", writes=True)
def table_drop(env: Env, *args: Any) -> Datum:
    database, name = _database_and_name(env, args)
    table = env.catalog.find_table(database, check_name("Table", name))
    env.catalog.drop_table(table)
    env.wait_for_commit()
    return {"tables_dropped": 1, "config_changes": []}


@term("TABLE_LIST", 62, "database?", writes=True)
def table_list(env: Env, value: DatabaseValue | None = None) -> Datum:
    database = (value or default_database(env)).database
    return sorted(database.tables)


@term("WAIT", 177, "any", options={"wait_for": "string", "timeout": "number"})
def wait(env: Env, value: Any, **options: Any) -> Datum:
    return {"ready": 1}
