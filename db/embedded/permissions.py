"""Who may do what: grants on everything, on a database, on a table.

A grant holds `read`, `write`, `config` and `connect`, each true, false or not said; what a table
does not say its database decides, then the global grant. `admin` may do everything. Terms call the
`check_` functions with the query's Env; the system table `permissions` shows the grants.
"""

from __future__ import annotations

from typing import Any

from db.embedded.env import Env
from db.embedded.errors import PermissionDeniedError

GLOBAL = "*"


def grant_key(user: str, database_id: str | None, table_id: str | None) -> str:
    return "/".join([user, database_id or GLOBAL, table_id or GLOBAL])


def _grants(env: Env, database_id: str | None, table_id: str | None) -> list[dict[str, Any]]:
    """The grants that apply, the most particular first."""
    rows = env.catalog.rows
    places = [(database_id, table_id), (database_id, None), (None, None)]
    found = []
    for database, table in places:
        key = f"grant/{grant_key(env.user, database, table)}".encode()
        if key in rows and rows[key] not in found:
            found.append(rows[key])
    return found


def may(env: Env, right: str, database_id: str | None = None, table_id: str | None = None) -> bool:
    if env.user == "admin":
        return True
    for grant in _grants(env, database_id, table_id):
        if grant.get(right) is not None:
            return bool(grant[right])
    return False


def check(
    env: Env, right: str, database_id: str | None = None, table_id: str | None = None
) -> None:
    if not may(env, right, database_id, table_id):
        raise PermissionDeniedError(
            f"User `{env.user}` does not have the required `{right}` permission."
        )


def check_read(env: Env, table: Any) -> None:
    if env.user != "admin":
        check(env, "read", table.database.id, table.id)


def check_write(env: Env, table: Any) -> None:
    if env.user != "admin":
        check(env, "write", table.database.id, table.id)
        check(env, "read", table.database.id, table.id)
