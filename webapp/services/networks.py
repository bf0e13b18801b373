"""Networks (table `interfaces`), for administrators: list, add, edit, delete; and for everybody:
who may use which.

Rows are judged with the kernel's own check, so a form, a script and the API refuse the same things.
A network that desktops or templates name is not deleted from here; where a script does, those wait
and say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from db import desired, queries
from db.connection import r
from db.errors import Conflict
from db.rowcheck import check_interface
from db.sentences import counted
from webapp import pool_payloads
from webapp.auth.permissions import Person, can_administer, is_shared
from webapp.errors import Problem, not_found
from webapp.extensions import database
from webapp.services import audit, sharing

Payload = dict[str, Any]
Row = dict[str, Any]

TABLE = "interfaces"


def list_networks(user: Person) -> list[Payload]:
    _require_admin(user)
    rows = [row for row in queries.list_rows(database(), TABLE) if isinstance(row["id"], str)]
    return sorted((pool_payloads.network(row) for row in rows), key=lambda item: item["id"])


def list_usable(user: Person) -> list[Payload]:
    """Those this person may have cards on: {id, name, description}."""
    return [
        {key: shown[key] for key in ("id", "name", "description")}
        for row in sorted(queries.list_rows(database(), TABLE), key=lambda row: str(row["id"]))
        if isinstance(row["id"], str) and (user.is_admin or is_shared(user, row.get("allowed")))
        for shown in [pool_payloads.network(row)]
    ]


def get_network(user: Person, network_id: str) -> Payload:
    return pool_payloads.network(_find(user, network_id))


def add_network(user: Person, fields: dict[str, Any]) -> Payload:
    _require_admin(user)
    row = {**fields, "name": fields.get("name") or fields["id"]}
    _judge(row)
    sharing.require_known(row)
    made = desired.create_plain(database(), TABLE, row)
    audit.record(user.actor, "network.add", f"network/{row['id']}")
    return pool_payloads.network(made)


def edit_network(user: Person, network_id: str, changes: dict[str, Any]) -> Payload:
    row = _find(user, network_id)
    _judge({**row, **changes})
    sharing.require_known(changes, row)
    after = desired.edit_plain(database(), TABLE, row["id"], changes) if changes else row
    audit.record(user.actor, "network.edit", f"network/{row['id']}", fields=sorted(changes))
    return pool_payloads.network(after)


def delete_network(user: Person, network_id: str) -> None:
    row = _find(user, network_id)
    count = database().run(r.table("domains").filter(_has_card_on(row["id"])).count())
    if count:
        users = counted(int(count), "desktop or template has", "desktops and templates have")
        raise Conflict("InUse", f"{users} a card on it. Nothing was deleted.")
    desired.remove_plain(database(), TABLE, row["id"])
    audit.record(user.actor, "network.delete", f"network/{row['id']}")


def require_networks(user: Person, ids: list[str]) -> None:
    """Raises 422 for a network that is not there or that this person may not use."""
    found = {row["id"]: row for row in queries.get_rows(database(), TABLE, ids)}
    for name in ids:
        row = found.get(name)
        if row is None or not (user.is_admin or is_shared(user, row.get("allowed"))):
            text = f"There is no network {name!r} for {user.id} to use."
            raise Problem(422, "NoSuchNetwork", text, field="spec.interfaces")


def refuse_unshared(owner: Person, ids: list[str]) -> None:
    """Raises 422 for a network that is not shared with them. One that is not there (any more) may
    come back: the engine waits for it.
    """
    for row in queries.get_rows(database(), TABLE, ids):
        if not (owner.is_admin or is_shared(owner, row.get("allowed"))):
            title = row.get("name") or row["id"]
            text = f"The network {title!r} of this template is not shared with {owner.id}."
            raise Problem(422, "NoSuchNetwork", text, field="origin.template")


def _has_card_on(network_id: str) -> Callable[[Any], Any]:
    """A filter of domains, whatever a script has made of some of them."""

    def has_card(domain: Any) -> Any:
        cards = queries.field(domain, "spec", "interfaces")
        return r.and_(
            cards.type_of().eq("ARRAY"),
            cards.contains(lambda card: queries.get_key(card, "id").eq(network_id)),
        )

    return has_card


def _judge(row: Row) -> None:
    problem = check_interface(row)
    if problem:
        text = f"{problem.why[:1].upper()}{problem.why[1:]}."
        raise Problem(422, "InvalidField", text, field=problem.field)


def _find(user: Person, network_id: str) -> Row:
    _require_admin(user)
    row = queries.get_row(database(), TABLE, network_id)
    if row is None:
        raise not_found("network")
    return row


def _require_admin(user: Person) -> None:
    if not can_administer(user):
        raise Problem(403, "AdministratorsOnly", "Only administrators may do this.")
