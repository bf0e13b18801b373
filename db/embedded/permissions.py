"""Who may do what: grants on everything, on a database, on a table.

A grant holds `read`, `write`, `config` (and `connect`, for everything only), each true, false or
not said; what a table does not say its database decides, then the global grant. `admin` may do
everything. Terms call the `check_` functions with the query's Env; `grant` and the system table
`permissions` change grants through `set_grant`.
"""

from __future__ import annotations

from typing import Any, Final

from db.embedded.catalog import GRANT, USER, Catalog
from db.embedded.datum import Datum, pretty
from db.embedded.env import Env
from db.embedded.errors import OpFailedError, PermissionDeniedError

EVERYTHING: Final = "*"
RIGHTS: Final = ("read", "write", "config", "connect")
ADMIN: Final = "admin"


def _grant_id(user: str, database: str | None, table: str | None) -> str:
    return "/".join([database or EVERYTHING, table or EVERYTHING, user])


def find_grant(
    catalog: Catalog, user: str, database: str | None, table: str | None
) -> dict[str, Any]:
    key = f"{GRANT}/{_grant_id(user, database, table)}".encode()
    return catalog.rows.get(key, {}).get("permissions", {})


def grants(catalog: Catalog) -> list[dict[str, Any]]:
    """Every grant row: user, database, table, permissions."""
    start = f"{GRANT}/".encode()
    return [row for key, row in catalog.rows.items() if key.startswith(start)]


def _may(env: Env, right: str, database: str | None, table: str | None) -> bool:
    if env.user == ADMIN:
        return True
    places = {(database, table), (database, None), (None, None)}
    for place in sorted(places, key=lambda place: place.count(None)):
        said = find_grant(env.catalog, env.user, *place).get(right)
        if said is not None:
            return bool(said)
    return False


def check(env: Env, right: str, database: str | None = None, table: str | None = None) -> None:
    if not _may(env, right, database, table):
        raise PermissionDeniedError(
            f"User `{env.user}` does not have the required `{right}` permission."
        )


def check_read(env: Env, table: Any) -> None:
    if env.user != ADMIN:
        check(env, "read", table.database.id, table.id)


def check_write(env: Env, table: Any) -> None:
    if env.user != ADMIN:
        check(env, "read", table.database.id, table.id)
        check(env, "write", table.database.id, table.id)


def check_config(env: Env, table: Any) -> None:
    if env.user != ADMIN:
        check(env, "config", table.database.id, table.id)


def merge_rights(old: dict[str, Any], change: Datum, is_global: bool) -> dict[str, Any]:
    """The rights after a change to them; null takes back what was said."""
    if type(change) is not dict:
        raise OpFailedError(f"Expected an object, got {pretty(change)}.")
    merged = dict(old)
    for right, value in change.items():
        if right == "connect" and not is_global:
            raise OpFailedError("The `connect` permission is only valid at the global scope.")
        if right in RIGHTS and type(value) is not bool and value is not None:
            raise OpFailedError(f"Expected a boolean or null for `{right}`, got {pretty(value)}.")
        merged[right] = value
    unknown = sorted(set(change) - set(RIGHTS))
    if unknown:
        raise OpFailedError("Unexpected key(s) `" + "`, `".join(unknown) + "`.")
    return {right: value for right, value in merged.items() if value is not None}


def take_everything_back(catalog: Catalog, user: str) -> None:
    """For a user that is deleted: who gets the name later gets no rights with it."""
    for grant in grants(catalog):
        if grant["user"] == user:
            catalog.change(GRANT, _grant_id(user, grant["database"], grant["table"]), None)


def set_grant(
    catalog: Catalog, user: str, database: str | None, table: str | None, change: Datum
) -> tuple[Datum, Datum]:
    """Change a user's rights; the permissions before and after (null: none said)."""
    if f"{USER}/{user}".encode() not in catalog.rows:
        raise OpFailedError(f"User `{user}` not found.")
    if user == ADMIN:
        raise OpFailedError(f"The permissions of the user `{user}` can't be modified.")
    old = find_grant(catalog, user, database, table)
    new = {} if change is None else merge_rights(old, change, is_global=database is None)
    row = {"user": user, "database": database, "table": table, "permissions": new}
    if new != old:
        catalog.change(GRANT, _grant_id(user, database, table), row if new else None)
    return old or None, new or None
