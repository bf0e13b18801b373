"""What a row of table `interfaces` means: where a guest's card is plugged in, and which addresses
it may use. Pure.

Called by the domain reconciler (may it start, and how), by engine/unit.py (what a host lacks) and
by engine/hypervisor/networks.py (what has to be made on the host).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from db.rowcheck import check_interface

OWN_CARD = "isard-card-1"
OWN_ADDRESSES = "isard-addresses-1"
"""Names of the filters, see engine/hypervisor/networks.py."""
ISOLATED_PREFIX = "isard-"

FILTERS: dict[str, tuple[str, str | None]] = {
    "dhcp": (OWN_ADDRESSES, "dhcp"),
    "first": (OWN_ADDRESSES, "any"),
    "any": (OWN_CARD, None),
}
"""`addresses` of the row -> the filter, and how libvirt learns the guest's address."""
DEFAULT_ADDRESSES = {"network": "dhcp", "bridge": "dhcp", "isolated": "first"}
"""By kind: an isolated network has nobody who lends addresses."""


@dataclass(frozen=True)
class Network:
    """`kind` and `source` as libvirt's interfaces have them."""

    id: str
    kind: str
    source: str
    model: str
    filter: str
    learns: str | None
    is_isolated: bool


def read_network(row: Mapping[str, Any]) -> Network | str:
    """The network, or what is wrong with its row."""
    problem = check_interface(dict(row))
    if problem is not None:
        return f"The network {row.get('id')!r} is not valid: {problem.message}"
    kind = str(row.get("kind") or "network")
    filter_name, learns = FILTERS[str(row.get("addresses") or DEFAULT_ADDRESSES[kind])]
    sources = {
        "network": row.get("network") or "default",
        "bridge": row.get("bridge"),
        "isolated": f"{ISOLATED_PREFIX}{row['id']}",
    }
    return Network(
        id=str(row["id"]),
        kind="bridge" if kind == "bridge" else "network",
        source=str(sources[kind]),
        model=str(row.get("model") or "virtio"),
        filter=filter_name,
        learns=learns,
        is_isolated=kind == "isolated",
    )


def lacks_of(
    rows: Collection[Mapping[str, Any]],
    networks: Collection[str] | None,
    bridges: Collection[str] | None,
) -> dict[str, str]:
    """Id of a network -> what a host with these networks and bridges does not have of it. None: the
    host was not looked at yet, so nothing speaks against it.
    """
    lacks = {}
    for row in rows:
        network = read_network(row)
        if isinstance(network, str) or network.is_isolated:
            continue
        there = bridges if network.kind == "bridge" else networks
        if there is not None and network.source not in there:
            what = "bridge" if network.kind == "bridge" else "running libvirt network"
            lacks[network.id] = f"no {what} {network.source!r}"
    return lacks
