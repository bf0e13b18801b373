"""May this desktop use the networks its row names? Asked before it is placed.

Webapp asks the same before it writes, but a script may have written anything: a network that is not
there or not shared with the owner, or a hardware address that another running desktop has. Each is
a reason to wait, not a failure: it starts by itself once the network is shared or the other one is
stopped. Called by engine/reconcilers/domain_room.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db import queries
from db.rowcheck import SpecModel
from db.states import Reason
from engine.networks import read_network
from engine.placement import Refused
from engine.reconcilers import Context
from engine.reconcilers.owners import may_use
from engine.storage.paths import derive_mac


def refuse_networks(context: Context, row: Mapping[str, Any]) -> Refused | None:
    spec = SpecModel.model_validate(row.get("spec") or {})
    if not spec.interfaces:
        return None
    for name in dict.fromkeys(interface.id for interface in spec.interfaces):
        found = context.watcher.interfaces.get(name)
        network = read_network(found) if found else f"There is no network {name!r}."
        if found is None or isinstance(network, str):
            return Refused(Reason.NO_NETWORK, str(network))
        if not may_use(context, row, found.get("allowed")):
            title = found.get("name") or name
            return Refused(
                Reason.NETWORK_REFUSED, f"The network {title!r} is not shared with its owner."
            )
    macs = [
        interface.mac or derive_mac(str(row["id"]), at)
        for at, interface in enumerate(spec.interfaces)
    ]
    for mac in macs:
        if macs.count(mac) > 1:
            return Refused(Reason.ADDRESS_TAKEN, f"Two of its own network cards have {mac}.")
        others = context.watcher.domains.using_mac([mac], without=row["id"])
        if others:
            return Refused(
                Reason.ADDRESS_TAKEN,
                f"Its hardware address {mac} is that of {_name_of(context, others[0].id)}, which "
                f"runs on {others[0].hypervisor!r}.",
            )
    return None


def _name_of(context: Context, domain_id: Any) -> str:
    other = queries.get_row(context.database, "domains", domain_id) or {}
    return repr(str(other.get("name") or domain_id))
