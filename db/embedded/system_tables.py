"""What the tables of the database `rethinkdb` show, and what writing to them does.

Each is a function from the server (and the identifier format, `name` or `uuid`) to its rows, and,
where it can be written, a function that takes the row before and after. `TABLES` is the list; the
server makes a `SystemDatabase` of it.
"""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING, Any, Final

from db.embedded.catalog import DATABASE, SERVER, SYSTEM
from db.embedded.datum import Datum, Time, pretty
from db.embedded.errors import OpFailedError
from db.embedded.handshake import SERVER_VERSION
from db.embedded.names import check_name
from db.embedded.printing import show_term
from db.embedded.system import Rows, Write
from db.embedded.system_access import permissions, users, write_permissions, write_users
from db.embedded.system_rows import Row, check_only, one_of, string_field
from db.embedded.table import Table

if TYPE_CHECKING:
    from db.embedded.server import Server


# --- databases and tables -----------------------------------------------------------------


def db_config(server: Server, form: str) -> list[Row]:
    databases = [*server.catalog.databases.values(), server.system]
    return [{"id": database.id, "name": database.name} for database in databases]


def write_db_config(server: Server, form: str, old: Datum, new: Datum) -> None:
    catalog = server.catalog
    if new is None:
        catalog.drop_database(_database(server, old["name"]))
        return
    check_only(new, "id", "name")
    name = check_name("Database", string_field(new, "name"))
    if old is None:
        catalog.create_database(name)
        return
    database = _database(server, old["name"])
    if name == SYSTEM or catalog.databases.get(name, database) is not database:
        raise OpFailedError(f"Database `{name}` already exists.")
    catalog.change(DATABASE, old["id"], {"name": name})


def _database(server: Server, name: str) -> Any:
    if name == server.system.name:
        raise OpFailedError("Database `rethinkdb` is special; you can't change or delete it.")
    return server.catalog.find_database(name)


def server_name(server: Server, form: str) -> str:
    return str(server.identity["id"] if form == "uuid" else server.identity["name"])


def table_config_row(server: Server, form: str, table: Table) -> Row:
    me = server_name(server, form)
    hook = table.config.get("write_hook")
    return {
        "data": table.config.get("data", {}),
        "db": table.database.id if form == "uuid" else table.database.name,
        "durability": table.config["durability"],
        "id": table.id,
        "indexes": sorted(table.indexes),
        "name": table.name,
        "primary_key": table.primary_key,
        "shards": [
            {"nonvoting_replicas": [], "primary_replica": me, "replicas": [me]}
            for _ in range(table.config.get("shards", 1))
        ],
        "write_acks": table.config.get("write_acks", "majority"),
        "write_hook": None if hook is None else {"query": hook_text(hook)},
    }


def hook_text(hook: dict[str, Any]) -> str:
    return f"setWriteHook({show_term(hook['function'])})"


def table_config(server: Server, form: str) -> list[Row]:
    return [table_config_row(server, form, table) for table in server.catalog.tables()]


def write_table_config(server: Server, form: str, old: Datum, new: Datum) -> None:
    catalog = server.catalog
    if new is None:
        catalog.drop_table(catalog.tables_by_id[old["id"]])
        return
    check_only(
        new,
        "id",
        "name",
        "db",
        "durability",
        "indexes",
        "primary_key",
        "shards",
        "write_acks",
        "write_hook",
        "data",
    )
    database = catalog.find_database(_database_name(server, form, new.get("db")))
    settings = {
        "name": check_name("Table", string_field(new, "name")),
        "durability": one_of(new, "durability", ("hard", "soft"), "hard"),
        "write_acks": one_of(new, "write_acks", ("majority", "single"), "majority"),
        "shards": _shard_count(server_name(server, form), new.get("shards")),
        "data": new.get("data", {}),
    }
    if old is None:
        catalog.create_table(
            database, settings["name"], {**settings, "primary_key": new.get("primary_key", "id")}
        )
        return
    for fixed in ("primary_key", "indexes"):
        if fixed in new and new[fixed] != old[fixed]:
            raise OpFailedError(f"It's illegal to change a table's `{fixed}`.")
    table = catalog.tables_by_id[old["id"]]
    taken = database.tables.get(settings["name"])
    if taken is not None and taken is not table:
        raise OpFailedError(f"Table `{database.name}.{settings['name']}` already exists.")
    catalog.configure_table(table, db=database.id, **settings)


def _database_name(server: Server, form: str, value: Datum) -> str:
    if type(value) is not str:
        raise OpFailedError("Expected a database name or UUID for `db`.")
    for database in server.catalog.databases.values():
        if form == "uuid" and database.id == value:
            return database.name
    return value


def _shard_count(me: str, shards: Datum) -> int:
    if shards is None:
        return 1
    if type(shards) is not list:
        raise OpFailedError(f"In `shards`: Expected an array, got {pretty(shards)}.")
    if not shards:
        raise OpFailedError("You must specify at least one shard.")
    for shard in shards:
        _check_shard(me, shard)
    return len(shards)


def _check_shard(me: str, shard: Datum) -> None:
    """This server is the one replica that a shard can have."""
    if type(shard) is not dict:
        raise OpFailedError(f"In `shards`: Expected an object, got {pretty(shard)}.")
    check_only(shard, "replicas", "nonvoting_replicas", "primary_replica")
    for field in ("replicas", "primary_replica"):
        if field not in shard:
            raise OpFailedError(f"In `shards`: Expected a field named `{field}`.")
    for field in ("replicas", "nonvoting_replicas"):
        servers = shard.get(field, [])
        if type(servers) is not list:
            raise OpFailedError(f"In `{field}`: Expected an array, got {pretty(servers)}.")
        for name in servers:
            if name != me:
                raise OpFailedError(f"In `{field}`: Server {pretty(name)} does not exist.")
        if len(servers) > 1:
            raise OpFailedError(f"In `{field}`: Server `{me}` is listed more than once.")
    if not shard["replicas"]:
        raise OpFailedError("You must specify at least one replica for each shard.")
    if shard["primary_replica"] not in (me, None):
        raise OpFailedError(
            "The server listed in the `primary_replica` field must also appear in `replicas`."
        )


def table_status_row(server: Server, form: str, table: Table) -> Row:
    me = server_name(server, form)
    return {
        "db": table.database.id if form == "uuid" else table.database.name,
        "id": table.id,
        "name": table.name,
        "raft_leader": me,
        "shards": [
            {"primary_replicas": [me], "replicas": [{"server": me, "state": "ready"}]}
            for _ in range(table.config.get("shards", 1))
        ],
        "status": {
            "all_replicas_ready": True,
            "ready_for_outdated_reads": True,
            "ready_for_reads": True,
            "ready_for_writes": True,
        },
    }


def table_status(server: Server, form: str) -> list[Row]:
    return [table_status_row(server, form, table) for table in server.catalog.tables()]


# --- the server ---------------------------------------------------------------------------


def server_config(server: Server, form: str) -> list[Row]:
    tags = server.identity.get("tags", ["default"])
    return [
        {
            "cache_size_mb": "auto",
            "id": server.identity["id"],
            "name": server.identity["name"],
            "tags": tags,
        }
    ]


def write_server_config(server: Server, form: str, old: Datum, new: Datum) -> None:
    if old is None or new is None:
        raise OpFailedError("It's illegal to insert into or delete from `rethinkdb.server_config`.")
    check_only(new, "id", "name", "tags", "cache_size_mb")
    name = check_name("Server", string_field(new, "name"))
    tags = new.get("tags", [])
    if type(tags) is not list:
        raise OpFailedError(f"In `tags`: Expected an array, got {pretty(tags)}.")
    for tag in tags:
        if type(tag) is not str:
            raise OpFailedError(f"In `tags`: Expected a string, got {pretty(tag)}.")
        check_name("Server tag", tag)
    if new.get("cache_size_mb", "auto") != "auto":
        raise OpFailedError("The embedded database keeps all documents in memory: `auto`.")
    server.catalog.change(SERVER, old["id"], {"name": name, "tags": sorted(set(tags))})
    server.identity = server.catalog.identity()


def server_status(server: Server, form: str) -> list[Row]:
    started = Time(server.started_at)
    return [
        {
            "id": server.identity["id"],
            "name": server.identity["name"],
            "network": {
                "canonical_addresses": [],
                "cluster_port": None,
                "connected_to": {},
                "hostname": os.uname().nodename,
                "http_admin_port": None,
                "reql_port": server.port,
                "time_connected": started,
            },
            "process": {
                "argv": ["python", "-m", "db.embedded"],
                "cache_size_mb": 0,
                "pid": os.getpid(),
                "time_started": started,
                "version": f"rethinkdb {SERVER_VERSION} (embedded)",
            },
        }
    ]


def cluster_config(server: Server, form: str) -> list[Row]:
    return [{"heartbeat_timeout_secs": 10, "id": "heartbeat"}]


def current_issues(server: Server, form: str) -> list[Row]:
    failure = server.store.last_failure
    if failure is None:
        return []
    return [
        {
            "critical": True,
            "description": f"Writes could not be saved and were undone: {failure}",
            "id": server.identity["id"],
            "info": {"error": failure},
            "type": "write_failure",
        }
    ]


def stats(server: Server, form: str) -> list[Row]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    sessions = [one.session for one in server.connections if one.session is not None]
    engine: Row = {
        "client_connections": len(server.connections),
        "clients_active": len(sessions),
        "queries_total": server.queries_total,
        "commits_total": server.store.commits,
    }
    rows: list[Row] = [
        {"id": ["cluster"], "query_engine": engine},
        {
            "id": ["server", server.identity["id"]],
            "server": server_name(server, form),
            "query_engine": engine,
            "memory_kib": usage.ru_maxrss,
        },
    ]
    rows += [
        {
            "id": ["table", table.id],
            "db": table.database.id if form == "uuid" else table.database.name,
            "table": table.id if form == "uuid" else table.name,
            "query_engine": {"documents": table.count(), "feeds": len(table.followers)},
        }
        for table in server.catalog.tables()
    ]
    return rows


def jobs(server: Server, form: str) -> list[Row]:
    return [
        {
            "duration_sec": round(time.time() - query.started_at, 6),
            "id": ["query", query.ident],
            "info": {
                "client_address": connection.peer[0],
                "client_port": connection.peer[1],
                "query": show_term(query.term),
                "user": connection.session.user,
            },
            "servers": [server_name(server, form)],
            "type": "query",
        }
        for connection in list(server.connections)
        if connection.session is not None
        for query in list(connection.session.queries.values())
    ]


def write_jobs(server: Server, form: str, old: Datum, new: Datum) -> None:
    if new is not None or old is None:
        raise OpFailedError("The `rethinkdb.jobs` system table only allows deletions.")
    for connection in list(server.connections):
        if connection.session is not None:
            connection.session.interrupt(old["id"][1])


def logs(server: Server, form: str) -> list[Row]:
    me = server_name(server, form)
    return [
        {
            "id": [number, server.identity["id"]],
            "level": level,
            "message": message,
            "server": me,
            "timestamp": Time(at),
            "uptime": round(at - server.started_at, 6),
        }
        for number, at, level, message in server.recent_log
    ]


TABLES: Final[dict[str, tuple[Rows, Write | None]]] = {
    "cluster_config": (cluster_config, None),
    "current_issues": (current_issues, None),
    "db_config": (db_config, write_db_config),
    "jobs": (jobs, write_jobs),
    "logs": (logs, None),
    "permissions": (permissions, write_permissions),
    "server_config": (server_config, write_server_config),
    "server_status": (server_status, None),
    "stats": (stats, None),
    "table_config": (table_config, write_table_config),
    "table_status": (table_status, None),
    "users": (users, write_users),
}
