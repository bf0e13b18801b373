"""The system tables `users` and `permissions`: who may connect, and who may do what where.

The same as `system_tables.py` for these two; `grant` shows its answer by `grant_row`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from db.embedded.datum import Datum, order_key, pretty
from db.embedded.errors import OpFailedError
from db.embedded.handshake import ITERATIONS
from db.embedded.permissions import ADMIN, grants, set_grant, take_everything_back
from db.embedded.system_rows import Row, check_only, string_field

if TYPE_CHECKING:
    from db.embedded.server import Server

ALL_RIGHTS: Final = {"config": True, "connect": True, "read": True, "write": True}
MOST_ITERATIONS: Final = 100_000  # hashing holds everybody up: some 50 ms
DELETED_DATABASE: Final = "__deleted_database__"


def users(server: Server, form: str) -> list[Row]:
    return [
        {"id": name, "password": server.users.has_password(name)} for name in server.users.names()
    ]


def write_users(server: Server, form: str, old: Datum, new: Datum) -> None:
    if new is None:
        if old["id"] == ADMIN:
            raise OpFailedError("The user `admin` can't be deleted.")
        server.users.remove(old["id"])
        take_everything_back(server.catalog, old["id"])
        return
    name = new["id"]
    if type(name) is not str:
        raise OpFailedError(f"Expected a username as the primary key, got {pretty(name)}.")
    if "password" not in new:
        raise OpFailedError("Expected a field `password`.")
    unknown = sorted(set(new) - {"id", "password"})
    if unknown:
        raise OpFailedError("Unexpected key(s) `" + "`, `".join(unknown) + "`.")
    password = new["password"]
    if type(password) is dict:
        _set_password_object(server, name, password)
    elif type(password) is str:
        server.users.set_password(name, password)
    elif password is False:
        server.users.set_password(name, None)
    elif not (password is True and old is not None and old["password"] is True):
        raise OpFailedError(f"Expected a string or boolean for `password`, got {pretty(password)}.")


def _set_password_object(server: Server, name: str, given: Row) -> None:
    """A password that says how often it is to be hashed."""
    check_only(given, "password", "iterations")
    iterations = given.get("iterations", ITERATIONS)
    if type(iterations) is not int or not 1 <= iterations <= MOST_ITERATIONS:
        raise OpFailedError(
            f"Expected a number from 1 to {MOST_ITERATIONS} for `iterations`, got "
            f"{pretty(iterations)}."
        )
    server.users.set_password(name, string_field(given, "password"), iterations)


def permissions(server: Server, form: str) -> list[Row]:
    rows: list[Row] = [
        {"id": [ADMIN], "permissions": ALL_RIGHTS, "user": ADMIN},
        {
            "database": server.system.id if form == "uuid" else server.system.name,
            "id": [ADMIN, server.system.id],
            "permissions": {"config": True, "read": True, "write": True},
            "user": ADMIN,
        },
    ]
    for grant in grants(server.catalog):
        row = grant_row(server, form, grant["user"], grant["database"], grant["table"])
        row["permissions"] = grant["permissions"]
        rows.append(row)
    return sorted(rows, key=lambda row: order_key(row["id"]))


def grant_row(server: Server, form: str, user: str, database: str | None, table: str | None) -> Row:
    """The part of a permissions row that says whose and where."""
    row: Row = {"id": [part for part in (user, database, table) if part], "user": user}
    if database is not None:
        row["database"] = database if form == "uuid" else _name_of_database(server, database)
    if table is not None:
        known = server.catalog.tables_by_id.get(table)
        row["table"] = table if form == "uuid" else (known.name if known else "__deleted_table__")
    return row


def _name_of_database(server: Server, ident: str) -> str:
    for database in [*server.catalog.databases.values(), server.system]:
        if database.id == ident:
            return database.name
    return DELETED_DATABASE


def write_permissions(server: Server, form: str, old: Datum, new: Datum) -> None:
    key = (new or old)["id"]
    if type(key) is not list or not 1 <= len(key) <= 3:
        raise OpFailedError(
            f"Expected an array of one to three items in the primary key, got {pretty(key)}."
        )
    user, database, table = (*key, None, None)[:3]
    if new is not None and "permissions" not in new:
        raise OpFailedError("Expected a field `permissions`.")
    if new is not None:
        unknown = sorted(set(new) - {"id", "user", "database", "table", "permissions"})
        if unknown:
            raise OpFailedError("Unexpected key(s) `" + "`, `".join(unknown) + "`.")
    if new is not None:
        _check_place(server, database, table)
    given: Datum = None if new is None else new["permissions"]
    if type(given) is dict:
        # What a replaced row no longer says is taken back.
        given = {**dict.fromkeys((old or {}).get("permissions", {})), **given}
    set_grant(server.catalog, user, database, table, given)


def _check_place(server: Server, database: Datum, table: Datum) -> None:
    """What a permission is granted on must be there."""
    if database is not None and _name_of_database(server, database) == DELETED_DATABASE:
        raise OpFailedError(f"No database with the id {pretty(database)} exists.")
    if table is not None and table not in server.catalog.tables_by_id:
        raise OpFailedError(f"No table with the id {pretty(table)} exists.")
