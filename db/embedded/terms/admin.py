"""Terms that create, drop, describe and manage databases and tables, and grant rights."""

from __future__ import annotations

from typing import Any, Final

from db.embedded.catalog import SYSTEM
from db.embedded.datum import Datum
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError
from db.embedded.keys import key_from_value
from db.embedded.names import check_name, find_database, list_tables, refuse_system
from db.embedded.permissions import check, set_grant
from db.embedded.registry import term
from db.embedded.sequences import DatabaseValue, Selection, SingleSelection
from db.embedded.system_access import grant_row
from db.embedded.system_tables import table_config_row, table_status_row
from db.embedded.table import Table
from db.embedded.terms.tables import default_database
from db.embedded.terms.writes import check_durability
from db.embedded.topology import check_reconfigure, read_replicas
from db.embedded.values import as_database, as_string, wrong_kind

# --- databases ----------------------------------------------------------------------------


@term("DB_CREATE", 57, "string", writes=True, deterministic=False)
def db_create(env: Env, name: str) -> Datum:
    check_name("Database", name)
    check(env, "config")
    database = env.catalog.create_database(name)
    env.wait_for_commit()
    config = {"id": database.id, "name": name}
    return {"config_changes": [{"new_val": config, "old_val": None}], "dbs_created": 1}


@term("DB_DROP", 58, "string", writes=True, deterministic=False)
def db_drop(env: Env, name: str) -> Datum:
    check_name("Database", name)
    database = find_database(env.server, name)
    refuse_system(database, "you can't delete it")
    check(env, "config", database.id)
    tables = env.catalog.drop_database(database)
    env.wait_for_commit()
    config = {"id": database.id, "name": name}
    return {
        "config_changes": [{"new_val": None, "old_val": config}],
        "dbs_dropped": 1,
        "tables_dropped": tables,
    }


@term("DB_LIST", 59, "", writes=True, deterministic=False)
def db_list(env: Env) -> Datum:
    return sorted([*env.catalog.databases, SYSTEM])


# --- tables -------------------------------------------------------------------------------


def _database_and_name(env: Env, args: tuple[Any, ...]) -> tuple[Any, str]:
    if len(args) == 1:
        return default_database(env).database, check_name("Table", as_string(env, args[0]))
    database = as_database(env, args[0]).database
    return database, check_name("Table", as_string(env, args[1]))


_CREATE_OPTIONS: Final = {
    "primary_key": "string",
    "durability": "string",
    "shards": "int",
    "replicas": "datum",
    "primary_replica_tag": "string",
    "nonvoting_replica_tags": "array",
}


@term("TABLE_CREATE", 60, "any any?", options=_CREATE_OPTIONS, writes=True, deterministic=False)
def table_create(env: Env, *args: Any, **options: Any) -> Datum:
    durability = as_string(env, options.get("durability", env.runopts.get("durability", "hard")))
    check_durability(durability)
    shards = read_replicas(options)
    database, name = _database_and_name(env, args)
    refuse_system(database, "you can't create new tables in it")
    check(env, "config", database.id)
    settings = {
        "primary_key": options.get("primary_key", "id"),
        "durability": durability,
        "shards": shards,
    }
    table = env.catalog.create_table(database, name, settings)
    env.wait_for_commit()
    config = table_config_row(env.server, "name", table)
    return {"config_changes": [{"new_val": config, "old_val": None}], "tables_created": 1}


@term("TABLE_DROP", 61, "any any?", writes=True, deterministic=False)
def table_drop(env: Env, *args: Any) -> Datum:
    database, name = _database_and_name(env, args)
    refuse_system(database, "you can't drop tables in it")
    table = env.catalog.find_table(database, name)
    check(env, "config", database.id, table.id)
    config = table_config_row(env.server, "name", table)
    env.catalog.drop_table(table)
    env.wait_for_commit()
    return {"config_changes": [{"new_val": None, "old_val": config}], "tables_dropped": 1}


@term("TABLE_LIST", 62, "database?", writes=True, deterministic=False)
def table_list(env: Env, value: DatabaseValue | None = None) -> Datum:
    return list_tables(env.server, (value or default_database(env)).database)


# --- config, status, wait -----------------------------------------------------------------


def _system_row(env: Env, table_name: str, ident: str) -> SingleSelection:
    table: Any = env.server.system.find(table_name, "name")
    return SingleSelection(table, table.get(key_from_value(ident)), ident)


@term("CONFIG", 174, "any", deterministic=False)
def config(env: Env, value: Any) -> SingleSelection:
    if type(value) is DatabaseValue:
        refuse_system(value.database, "you can't configure it")
        return _system_row(env, "db_config", value.database.id)
    table = _as_table(value).table
    refuse_system(table.database, "you can't configure the tables in it")
    return _system_row(env, "table_config", table.id)


@term("STATUS", 175, "any", deterministic=False)
def status(env: Env, value: Any) -> SingleSelection:
    table = _as_table(value).table
    refuse_system(
        table.database, "the system tables in it don't have meaningful status information"
    )
    return _system_row(env, "table_status", table.id)


def _as_table(value: Any) -> Selection:
    if type(value) is Selection and value.kind == "TABLE":
        return value
    raise wrong_kind("TABLE", value)


def _tables_of(env: Env, name: str, targets: tuple[Any, ...]) -> list[Table]:
    """The table, or all tables of the database, that a management term is called on."""
    if not targets:
        raise QueryLogicError(f"`{name}` can only be called on a table or database.")
    (target,) = targets
    if type(target) is DatabaseValue:
        return [target.database.tables[key] for key in sorted(target.database.tables)]
    table: Table = _as_table(target).read.table
    return [] if table.is_system else [table]


def _database_of(target: Any) -> Any:
    return (target if type(target) is DatabaseValue else _as_table(target).table).database


_READINESS: Final = (
    "ready_for_outdated_reads",
    "ready_for_reads",
    "ready_for_writes",
    "all_replicas_ready",
)


@term(
    "WAIT",
    177,
    "any?",
    options={"wait_for": "string", "timeout": "number"},
    deterministic=False,
)
def wait(env: Env, *targets: Any, **options: Any) -> Datum:
    wanted = options.get("wait_for", "all_replicas_ready")
    if wanted not in _READINESS:
        raise QueryLogicError(
            f"Unknown table readiness state: '{wanted}', must be one of "
            "'ready_for_outdated_reads', 'ready_for_reads', 'ready_for_writes', or "
            "'all_replicas_ready'"
        )
    return {"ready": len(_tables_of(env, "wait", targets))}


_RECONFIGURE_OPTIONS: Final = {
    "dry_run": "bool",
    "emergency_repair": "datum",
    "shards": "int",
    "replicas": "datum",
    "primary_replica_tag": "string",
    "nonvoting_replica_tags": "array",
}


@term("RECONFIGURE", 176, "any?", options=_RECONFIGURE_OPTIONS, writes=True, deterministic=False)
def reconfigure(env: Env, *targets: Any, **options: Any) -> Datum:
    tables = _tables_of(env, "reconfigure", targets)
    for target in targets:
        refuse_system(_database_of(target), "you can't configure the tables in it")
    dry_run = options.pop("dry_run", False)
    shards = check_reconfigure(options, is_database=type(targets[0]) is DatabaseValue)
    changes: list[Datum] = []
    statuses: list[Datum] = []
    for table in tables:
        check(env, "config", table.database.id, table.id)
        old = table_config_row(env.server, "name", table)
        was = table_status_row(env.server, "name", table)
        if dry_run:
            replica = old["shards"][0]
            changes.append({"new_val": {**old, "shards": [replica] * shards}, "old_val": old})
            continue
        env.catalog.configure_table(table, shards=shards)
        changes.append({"new_val": table_config_row(env.server, "name", table), "old_val": old})
        statuses.append({"new_val": table_status_row(env.server, "name", table), "old_val": was})
    if dry_run:
        return {"config_changes": changes, "reconfigured": 0}
    env.wait_for_commit()
    return {"config_changes": changes, "reconfigured": len(tables), "status_changes": statuses}


@term("REBALANCE", 179, "any?", writes=True, deterministic=False)
def rebalance(env: Env, *targets: Any) -> Datum:
    tables = _tables_of(env, "rebalance", targets)
    for target in targets:
        refuse_system(_database_of(target), "you can't rebalance the tables in it")
    statuses = [table_status_row(env.server, "name", table) for table in tables]
    return {
        "rebalanced": len(tables),
        "status_changes": [{"new_val": status, "old_val": status} for status in statuses],
    }


# --- grants -------------------------------------------------------------------------------


@term("GRANT", 188, "any any any?", writes=True, deterministic=False)
def grant(env: Env, *args: Any) -> Datum:
    """r.grant(user, rights), db.grant(user, rights) or table.grant(user, rights)."""
    database: str | None = None
    table: str | None = None
    if len(args) == 3:
        place = args[0]
        if type(place) is DatabaseValue:
            database = place.database.id
        else:
            found = _as_table(place).read.table
            database, table = found.database.id, found.id
        args = args[1:]
    user = as_string(env, args[0])
    rights = args[1]
    check(env, "config", database, table)
    old, new = set_grant(env.catalog, user, database, table, rights)
    env.wait_for_commit()
    where = grant_row(env.server, "name", user, database, table)
    before = None if old is None else {**where, "permissions": old}
    after = None if new is None else {**where, "permissions": new}
    return {"granted": 1, "permissions_changes": [{"new_val": after, "old_val": before}]}
