"""Reads all that the doctor judges: rows, and the files an engine needs. Nothing is written."""

from __future__ import annotations

import stat
import time
from pathlib import Path

from rethinkdb.errors import ReqlError

from db import queries
from db.connection import Database
from db.errors import DatabaseUnavailable
from db.schema import newest_version, read_version
from engine.doctor.gathered import Gathered, KeyFile, Row
from engine.lease import TAKE_OVER_S
from engine.settings import EngineSettings

LOOK_S = 0.3


def gather(settings: EngineSettings) -> Gathered:
    common = settings.db
    address = f"{common.db_host}:{common.db_port}/{common.db_name}"
    keys = look_at_keys(settings)
    database = Database(common)
    try:
        version = read_version(database)
        engine = queries.read_engine(database)
        return Gathered(
            address,
            version=version,
            newest=newest_version(),
            lease=engine["lease"],
            ticks=engine["ticks"],
            is_moving=_moves(database, engine["lease"]),
            keys=keys,
            hypervisors=queries.list_rows(database, "hypervisors"),
            pools=queries.list_rows(database, "hypervisors_pools"),
            domains=queries.list_rows(database, "domains"),
            media=queries.list_rows(database, "media"),
            tasks=queries.list_rows(database, "tasks"),
            orphans=queries.list_rows(database, "orphans"),
        )
    except (DatabaseUnavailable, ReqlError) as error:
        return Gathered(address, problem=str(error).splitlines()[0], keys=keys)
    finally:
        database.close()


def look_at_keys(settings: EngineSettings) -> tuple[KeyFile, ...]:
    wanted = [
        ("The engine's SSH key", settings.ssh_key),
        ("The key one-time passwords are sealed for", settings.enrolment_key),
    ]
    return tuple(_look(title, path) for title, path in wanted)


def _look(title: str, path: Path) -> KeyFile:
    try:
        mode = path.stat().st_mode
    except OSError:
        return KeyFile(title, str(path), False, False)
    return KeyFile(title, str(path), stat.S_ISREG(mode), bool(mode & 0o077))


def _moves(database: Database, lease: Row | None) -> bool:
    """Judged by its counter on our own clock, as every engine that stands by does."""
    if lease is None:
        return False
    first = (lease.get("holder"), lease.get("epoch"), lease.get("counter"))
    deadline = time.monotonic() + TAKE_OVER_S
    while time.monotonic() < deadline:
        time.sleep(LOOK_S)
        now = queries.read_engine(database)["lease"] or {}
        if (now.get("holder"), now.get("epoch"), now.get("counter")) != first:
            return True
    return False
