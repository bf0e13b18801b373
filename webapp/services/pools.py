"""Pools, for administrators: list, add, edit, delete; and for everybody: who may use which.

A row is judged with the kernel's own check before it is written, so a form, a script and the API
refuse the same things. A path on which disks lie is not taken off by the form, nor a pool deleted
that anything uses; a script may do both, and the engine then says what waits for it. Nothing here
talks to a host.
"""

from __future__ import annotations

from typing import Any

from db import desired, queries
from db.connection import r
from db.defaults import EVERYBODY
from db.errors import Conflict
from db.rowcheck import check_pool, paths_of
from db.sentences import counted
from db.sharing import pool_allowed
from webapp import pool_payloads
from webapp.auth.permissions import Person, can_administer, is_shared
from webapp.errors import Problem, not_found
from webapp.extensions import database
from webapp.services import audit, sharing

Payload = dict[str, Any]
Row = dict[str, Any]

TABLE = "hypervisors_pools"
FIRST = "default"


def list_usable(user: Person) -> list[Payload]:
    """All of each for administrators; for others {id, name, description} of those they may use."""
    if user.is_admin:
        return list_pools(user)
    rows = [row for row in queries.list_rows(database(), TABLE) if isinstance(row["id"], str)]
    shown = [pool_payloads.pool(row) for row in rows if is_shared(user, pool_allowed(row))]
    short = [{key: one[key] for key in ("id", "name", "description")} for one in shown]
    return sorted(short, key=lambda item: item["id"])


def refuse_unshared(owner: Person, pool_id: object, field: str) -> None:
    """Raises 422 for a pool that is not shared with them. One that is not there (any more) may
    come back: the engine waits for it.
    """
    row = queries.get_row(database(), TABLE, str(pool_id))
    if row is None or owner.is_admin or is_shared(owner, pool_allowed(row)):
        return
    title = row.get("name") or row["id"]
    text = f"The pool {title!r} is not shared with {owner.id}."
    raise Problem(422, "PoolRefused", text, field=field)


def list_pools(user: Person) -> list[Payload]:
    _require_admin(user)
    rows = [row for row in queries.list_rows(database(), TABLE) if isinstance(row["id"], str)]
    return sorted((pool_payloads.pool(row) for row in rows), key=lambda item: item["id"])


def get_pool(user: Person, pool_id: str) -> Payload:
    return pool_payloads.pool(_find(user, pool_id))


def add_pool(user: Person, fields: dict[str, Any]) -> Payload:
    _require_admin(user)
    name, allowed = fields.get("name") or fields["id"], fields.get("allowed") or EVERYBODY
    row = {**fields, "name": name, "allowed": allowed}
    _judge(row)
    sharing.require_known(row)
    made = desired.create_plain(database(), TABLE, row)
    audit.record(user.actor, "pool.add", f"pool/{row['id']}")
    return pool_payloads.pool(made)


def edit_pool(user: Person, pool_id: str, changes: dict[str, Any]) -> Payload:
    """`paths` replaces them all."""
    row = _find(user, pool_id)
    _judge({**row, **changes})
    sharing.require_known(changes, row)
    if "paths" in changes:
        kept = {entry["path"] for entry in paths_of(changes)}
        _refuse_removing({entry["path"] for entry in paths_of(row)} - kept, row["id"])
    after = desired.edit_plain(database(), TABLE, row["id"], changes) if changes else row
    audit.record(user.actor, "pool.edit", f"pool/{row['id']}", fields=sorted(changes))
    return pool_payloads.pool(after)


def delete_pool(user: Person, pool_id: str) -> None:
    row = _find(user, pool_id)
    if row["id"] == FIRST:
        raise Conflict("InUse", "The first pool stays: whatever names no pool is of it.")
    users = _users_of(row["id"])
    if users:
        raise Conflict("InUse", f"It is used by {' and '.join(users)}. Nothing was deleted.")
    desired.remove_plain(database(), TABLE, row["id"])
    audit.record(user.actor, "pool.delete", f"pool/{row['id']}")


def _users_of(pool_id: str) -> list[str]:
    counts = {
        # A script may have made either field anything.
        ("hypervisor", "hypervisors"): r.table("hypervisors").filter(
            lambda row: r.branch(
                row["pools"].default(None).type_of().eq("ARRAY"),
                row["pools"].contains(pool_id),
                False,
            )
        ),
        ("desktop or template", "desktops and templates"): r.table("domains").filter(
            lambda row: queries.field(row, "placement", "pool").eq(pool_id)
        ),
        ("disk", "disks"): r.table("disks").filter({"pool": pool_id}),
    }
    found = database().run(r.expr([query.count() for query in counts.values()]))
    return [
        counted(int(count), *names) for names, count in zip(counts, found, strict=True) if count
    ]


def _refuse_removing(paths: set[str], pool_id: str) -> None:
    if not paths:
        return
    disks = queries.count_disks_by_path(database(), pool_id)
    for path in sorted(paths):
        if disks.get(path):
            raise Conflict(
                "InUse",
                f"{counted(disks[path], 'disk lies', 'disks lie')} in {path}: move or delete what "
                "is there first. To make nothing new there, set its weight to 0.",
            )


def _judge(row: Row) -> None:
    problem = check_pool(row)
    if problem:
        text = f"{problem.why[:1].upper()}{problem.why[1:]}."
        raise Problem(422, "InvalidField", text, field=problem.field)
    named = {
        name: f"paths.{use}.{at}.disk_operations"
        for use, entries in row["paths"].items()
        for at, entry in enumerate(entries)
        for name in entry.get("disk_operations") or []
    }
    known = {host["id"] for host in queries.get_rows(database(), "hypervisors", named)}
    for name in sorted(set(named) - known):
        text = f"There is no hypervisor {name!r}."
        raise Problem(422, "NoSuchHypervisor", text, field=named[name])


def _find(user: Person, pool_id: str) -> Row:
    _require_admin(user)
    row = queries.get_row(database(), TABLE, pool_id)
    if row is None:
        raise not_found("pool")
    return row


def _require_admin(user: Person) -> None:
    if not can_administer(user):
        raise Problem(403, "AdministratorsOnly", "Only administrators may do this.")
