"""Accounts for people who script the database: a reader's and a writer's.

The product itself connects as the database's `admin`. An account made here sees every table but
those with secrets, and a writer's may change the tables that hold wishes, not those that are the
engine's own. Rights are the database's grants, so they hold whatever program connects. Called by
`python -m db account`.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from db.connection import Database, r
from db.errors import Conflict, IsardError, NotFound
from db.schema import SECRET_TABLES

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
OURS = "admin"
ENGINE_TABLES = frozenset(
    {
        "disks",
        "engine",
        "orphans",
        "storage_marks",
        "thumbnails",
        "domain_stats",
        "hypervisor_stats",
        "domain_windows",
        "hypervisor_windows",
    }
)
"""Written by the engine alone: a writer's account reads them."""
KEPT = frozenset({"config", "users", "roles"})
"""Who may do what is decided in the web side: a writer's account reads these too."""


class AccountError(IsardError):
    """The text says what is wrong with what was asked."""


def add(database: Database, name: str, *, writes: bool) -> str:
    """Make an account and return its password, which is shown nowhere else.

    Raises AccountError for an impossible name, Conflict where there is one already.
    """
    if not NAME.fullmatch(name) or name == OURS:
        raise AccountError(
            f"{name!r} cannot be an account's name: give 1 to 32 of a-z, 0-9, - and _, "
            "beginning with a letter, and not 'admin'."
        )
    password = secrets.token_urlsafe(18)
    answer = database.run(_users().insert({"id": name, "password": password}))
    if answer["errors"]:
        raise Conflict("Exists", f"There is already an account {name!r}: remove it first.")
    grant(database, name, writes=writes)
    return password


def grant(database: Database, name: str, *, writes: bool) -> None:
    """Give the account its rights anew: also for tables that an upgrade has added."""
    database.run(r.db(database.settings.db_name).grant(name, {"read": True, "write": writes}))
    for table in database.run(r.table_list()):
        rights = rights_on(table, writes=writes)
        database.run(r.table(table).grant(name, rights))


def rights_on(table: str, *, writes: bool) -> dict[str, Any]:
    """None: nothing of its own, what the whole database says counts."""
    if table in SECRET_TABLES:
        return {"read": False, "write": False}
    if table in ENGINE_TABLES | KEPT:
        return {"read": None, "write": False}
    return {"read": None, "write": None}


def remove(database: Database, name: str) -> None:
    """Raises NotFound, and AccountError for the product's own."""
    if name == OURS:
        raise AccountError("The product itself connects as 'admin': it stays.")
    answer = database.run(_users().get(name).delete())
    if answer["deleted"] != 1:
        raise NotFound(f"There is no account {name!r}.")


def list_accounts(database: Database) -> list[str]:
    names: list[str] = database.run(_users().filter(r.row["id"] != OURS)["id"])
    return sorted(names)


def _users() -> Any:
    return r.db("rethinkdb").table("users")
