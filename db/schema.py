"""Tables, secondary indexes and ordered upgrades.

`ensure` brings any database, empty or older, to the schema of this program, step by step; each step
is idempotent, so one cut in half is simply done again. A database of a newer program is refused
with a sentence. Called by `python -m db init` before webapp or engine start.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from rethinkdb.errors import ReqlOpFailedError

from db.connection import Database, r
from db.errors import SchemaError
from db.logs import get_logger

log = get_logger(__name__)

Index = Callable[[Any], Any] | None

TABLES: dict[str, dict[str, Index]] = {
    "config": {},
    "users": {"group": None, "category": None, "role": None},
    "groups": {"category": None},
    "categories": {},
    "roles": {},
    "credentials": {},
    "api_tokens": {"user": None},
    "domains": {
        "kind": None,
        "user": None,
        "category": None,
        # Desktops only, so that "start the class's desktops" can never reach the class's templates.
        "group": lambda row: r.branch(
            row["kind"].eq("desktop"), row["group"], r.error("no desktop")
        ),
        "template": lambda row: row["origin"]["template"],
    },
    "disks": {
        "domain": None,
        # The domain whose disk this one is built upon: the last folder of its backing file.
        "parent": lambda row: row["backing"].split("/").nth(-2),
        # Of the record of a template being made.
        "template": None,
    },
    "media": {"user": None},
    "tasks": {"target": None},
    "os_profiles": {},
    "enrolments": {},
    "uploads": {},
    "consoles": {},
    "hypervisors": {},
    "hypervisors_pools": {},
    "storage_marks": {},
    "interfaces": {},
    "thumbnails": {},
    "interests": {},
    "domain_stats": {},
    "hypervisor_stats": {},
    "domain_windows": {"domain": None},
    "hypervisor_windows": {"hypervisor": None},
    "events": {"target": None, "at": None},
    "engine": {},
    "orphans": {},
    "backups": {},
}

SECRET_TABLES = frozenset({"credentials", "api_tokens", "consoles", "enrolments", "uploads"})
"""What no scripter's account may read."""

OF_A_DOMAIN = ("consoles", "thumbnails", "interests", "domain_stats")
"""Tables with one row for a domain, under its id: swept when the domain is gone."""

Upgrade = Callable[[Database], None]

UPGRADES: list[tuple[int, str, Upgrade]] = []
"""(version, what it does, function), oldest first. Version 1 is the schema as first created by
`ensure`.
"""


def newest_version() -> int:
    return UPGRADES[-1][0] if UPGRADES else 1


def ensure(database: Database) -> int:
    """Create what is missing, run the upgrades that are due, and return the schema's version.

    Raises SchemaError where the database is newer than this program.
    """
    name = database.settings.db_name
    _create_missing(database, name)
    found = read_version(database)
    target = newest_version()
    if found is not None and found > target:
        raise SchemaError(
            f"The database has schema {found}, this program knows {target}. "
            "Install the newer program again, or restore a backup made before the upgrade."
        )
    for version, what, upgrade in UPGRADES:
        if found is not None and version > found:
            log.info("schema_upgrade", version=version, what=what)
            upgrade(database)
            _write_version(database, version)
    if found is None:
        _write_version(database, target)
    _ensure_installation(database)
    return target


def replicate(database: Database, replicas: int) -> None:
    """Have each table kept by this many servers of a cluster, or by as many as there are now: what
    joins later counts at the next start. Nothing is moved where it is so already.
    """
    servers = database.run(r.db("rethinkdb").table("server_status").count())
    wanted = min(replicas, servers)
    for table in TABLES:
        shards = database.run(r.table(table).config()["shards"])
        if any(len(shard["replicas"]) != wanted for shard in shards):
            log.info("table_replicated", table=table, replicas=wanted)
            database.run(r.table(table).reconfigure(shards=1, replicas=wanted))


def read_version(database: Database) -> int | None:
    row = database.run(r.table("config").get("schema"))
    return int(row["version"]) if row else None


def installation_id(database: Database) -> str:
    """This installation's id: what every domain, disk and storage marker of ours carries."""
    row = database.run(r.table("config").get("installation"))
    if not row:
        raise SchemaError("The database has not been set up: run `python -m db init`.")
    return str(row["uuid"])


def _ensure_installation(database: Database) -> None:
    row = {"id": "installation", "uuid": str(uuid.uuid4()), "created_at": r.now()}
    database.run(r.table("config").insert(row, conflict=lambda _id, old, _new: old))


def _write_version(database: Database, version: int) -> None:
    database.run(r.table("config").insert({"id": "schema", "version": version}, conflict="replace"))


def _create_missing(database: Database, name: str) -> None:
    _create(database, r.db_create(name), name in database.run(r.db_list()))
    tables = set(database.run(r.db(name).table_list()))
    for table, indexes in TABLES.items():
        query = r.db(name).table(table)
        _create(database, r.db(name).table_create(table), table in tables)
        if table not in tables:
            database.run(query.wait(wait_for="all_replicas_ready", timeout=30))
        present = set(database.run(query.index_list())) if indexes else set()
        for index, function in indexes.items():
            if index in present:
                continue
            term = query.index_create(index, function) if function else query.index_create(index)
            _create(database, term, False)
        if set(indexes) - present:
            database.run(query.index_wait())


def _create(database: Database, query: Any, exists: bool) -> None:
    """Two processes may set up at once: that the other was faster is no error."""
    if exists:
        return
    try:
        database.run(query)
    except ReqlOpFailedError as error:
        if "already exists" not in str(error):
            raise


def wait_until_ready(database: Database, timeout_s: float) -> None:
    """Wait until the database answers and its schema is ours. Raises SchemaError or
    DatabaseUnavailable.
    """
    from db.errors import DatabaseUnavailable

    deadline = time.monotonic() + timeout_s
    while True:
        try:
            found = read_version(database)
            if found == newest_version():
                return
            problem = f"schema {found}, expected {newest_version()}: run `python -m db init`"
        except DatabaseUnavailable as error:
            problem = str(error)
        except ReqlOpFailedError:
            problem = "no tables yet: run `python -m db init`"
        if time.monotonic() > deadline:
            raise SchemaError(f"The database is not ready: {problem}.")
        time.sleep(0.2)
