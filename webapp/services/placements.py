"""Where a desktop runs (for administrators) and what it is connected to (for its owner).

Both are written into the row and count from the next start; what runs is left alone. A pool is only
taken where the desktop's disks lie on its paths and the owner may use it, a hypervisor only where
it is of the pool, and a network only where the owner may use it: the engine would wait for all of
these.
"""

from __future__ import annotations

from typing import Any

from db import desired, queries
from db.connection import r
from db.errors import Conflict
from db.rowcheck import paths_of
from db.states import Action
from webapp import payloads
from webapp.auth.permissions import Person
from webapp.auth.sessions import read_person
from webapp.errors import Problem
from webapp.extensions import database
from webapp.services import audit, desktops, networks, pools
from webapp.tidy import as_mapping, as_mappings, as_text, tidy_domain

Payload = dict[str, Any]
Row = dict[str, Any]

HYPERVISORS = ("forced_hypervisor", "favourite_hypervisor")


def place(user: Person, desktop_id: str, changes: dict[str, Any]) -> Payload:
    """`changes`: of pool, forced_hypervisor, favourite_hypervisor; None takes the latter away."""
    row = desktops.find(user, desktop_id)
    if not user.is_admin:
        raise Problem(403, "AdministratorsOnly", "Only administrators place desktops.")
    before = as_mapping(row.get("placement"))
    after = {**before, **changes}
    pool = as_text(after.get("pool")) or "default"
    if pool != (as_text(before.get("pool")) or "default"):
        _require_disks_in(row["id"], pool)
        pools.refuse_unshared(_whose(user, row.get("user")), pool, "placement.pool")
    for field in HYPERVISORS:
        if after.get(field) is not None:
            _require_of_pool(str(after[field]), pool, field)
    return _write(user, row, "place", {"placement": r.literal(after)})


def connect(user: Person, desktop_id: str, ids: list[str]) -> Payload:
    """Give it a card on each of these networks, in order. A card that stays keeps its address."""
    row = desktops.find(user, desktop_id)
    networks.require_networks(_whose(user, row.get("user")), ids)
    cards = as_mappings(tidy_domain(row)["spec"].get("interfaces"))
    left = list(cards)
    after = []
    for name in ids:
        same = next((card for card in left if card.get("id") == name), None)
        if same is not None:
            left.remove(same)
        after.append(same or {"id": name})
    return _write(user, row, "connect", {"spec": {"interfaces": after}})


def list_networks_for(user: Person, desktop: Payload) -> list[Payload]:
    """Those it may be connected to."""
    return networks.list_usable(_whose(user, desktop["user"]))


def _whose(user: Person, owner: object) -> Person:
    """Who must be allowed to use a network or pool, whoever asks: the engine starts no desktop on
    one that its owner may not use.
    """
    return read_person(str(owner)) or user


def _require_disks_in(domain_id: str, pool_id: str) -> None:
    pool = queries.get_row(database(), "hypervisors_pools", pool_id)
    if pool is None:
        text = f"There is no pool {pool_id!r}."
        raise Problem(422, "NoSuchPool", text, field="placement.pool")
    listed = {entry["path"] for entry in paths_of(pool)}
    for disk in queries.list_by_index(database(), "disks", "domain", domain_id):
        path = str(disk.get("path")).rsplit("/", 2)[0]
        if path not in listed:
            raise Conflict(
                "InUse", f"Its disk lies in {path}, which is no path of the pool {pool_id!r}."
            )


def _require_of_pool(hypervisor_id: str, pool: str, field: str) -> None:
    host = queries.get_row(database(), "hypervisors", hypervisor_id)
    if host is None or pool not in (host.get("pools") or ["default"]):
        text = f"There is no hypervisor {hypervisor_id!r} in the pool {pool!r}."
        raise Problem(422, "NoSuchHypervisor", text, field=f"placement.{field}")


def _write(user: Person, row: Row, what: str, changes: dict[str, Any]) -> Payload:
    if not payloads.desktop(row, user)["actions"]:
        desktops.require_action(user, row, Action.EDIT)
    after = desired.edit_domain(database(), row["id"], changes)
    audit.record(user.actor, f"desktop.{what}", f"domain/{row['id']}")
    return payloads.desktop(after, user)
