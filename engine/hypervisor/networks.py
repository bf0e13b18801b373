"""Guests' networks on a host over libvirt: what is there, what we make, who has which address.

Two things are made by us, and only these are touched. A filter for each way of telling a guest's
addresses, so that no guest can speak as another: they stand on their own (not every host has
libvirt's stock filters) and their names carry a version, so a newer one never changes under running
guests. And a network for each isolated one: a bridge of its own without an address, a way out or
DHCP, known as ours by a UUID made of the installation and the name. Called by the unit's watch
(engine/loops/networks.py) and, before a start, by the domain reconciler.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

import libvirt

from db.states import Reason
from engine.errors import Terminal
from engine.hypervisor import faults
from engine.networks import ISOLATED_PREFIX, OWN_ADDRESSES, OWN_CARD

FILTER_SPACE = uuid.UUID("5a2f6f5e-5f0a-4e0e-9a57-9f3f6d1a7b10")
"""The filters are the same for every installation, so that two may share a host."""

_CARD = """
  <rule action='drop' direction='out' priority='-1000'><mac match='no' srcmacaddr='$MAC'/></rule>
  <rule action='drop' direction='out' priority='-950'><arp match='no' arpsrcmacaddr='$MAC'/></rule>
"""
_ADDRESSES = """\
  <rule action='drop' direction='out' priority='-900'>
    <ip protocol='udp' srcportstart='67' srcportend='67'/></rule>
  <rule action='accept' direction='out' priority='-850'>
    <ip srcipaddr='0.0.0.0' protocol='udp' dstportstart='67' dstportend='67'/></rule>
  <rule action='accept' direction='out' priority='-800'><arp arpsrcipaddr='0.0.0.0'/></rule>
  <rule action='accept' direction='out' priority='-790'><arp arpsrcipaddr='$IP'/></rule>
  <rule action='accept' direction='in' priority='-780'><arp/></rule>
  <rule action='accept' direction='out' priority='-700'><ip srcipaddr='$IP'/></rule>
  <rule action='accept' direction='in' priority='-690'><ip/></rule>
  <rule action='drop' direction='inout' priority='1000'/>
"""

RULES: Mapping[str, str] = {OWN_CARD: _CARD, OWN_ADDRESSES: _CARD + _ADDRESSES}
"""OWN_CARD: the hardware address is its own. OWN_ADDRESSES: so is the address (`$IP`, which libvirt
learns), it lends none to others, and speaks IPv4 alone.
"""


def ensure_filter(connection: Any, name: str) -> None:
    """Define the filter unless it is there."""
    with contextlib.suppress(libvirt.libvirtError):
        connection.nwfilterLookupByName(name)
        return
    own = uuid.uuid5(FILTER_SPACE, name)
    connection.nwfilterDefineXML(
        f"<filter name='{name}' chain='root'><uuid>{own}</uuid>{RULES[name]}</filter>"
    )


def isolated_uuid(installation: str, name: str) -> str:
    return str(uuid.uuid5(uuid.UUID(installation), f"network/{name}"))


def bridge_of(name: str) -> str:
    """Of an isolated network: interface names have fifteen characters at most."""
    return f"isard-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def ensure_isolated(connection: Any, installation: str, name: str) -> None:
    """Have the isolated network run. Raises Terminal where another of that name is not ours."""
    own = isolated_uuid(installation, name)
    network = _find(connection, name)
    if network is not None and network.UUIDString() != own:
        raise Terminal(
            Reason.IN_USE,
            f"The host has a network {name!r} that is not this installation's. It was not touched.",
            step="network",
        )
    if network is not None and network.isActive():
        return
    connection.networkCreateXML(
        f"<network><name>{name}</name><uuid>{own}</uuid>"
        f"<bridge name='{bridge_of(name)}' stp='off' delay='0'/></network>"
    )


def end_isolated(connection: Any, installation: str, wanted: set[str]) -> list[str]:
    """End our isolated networks that no row asks for any more and no guest is on; their names."""
    ended = []
    for network in connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE):
        name = network.name()
        ours = name.startswith(ISOLATED_PREFIX) and network.UUIDString() == isolated_uuid(
            installation, name
        )
        if ours and name not in wanted and " connections=" not in network.XMLDesc(0).split(">")[0]:
            network.destroy()
            ended.append(name)
    return ended


def read_networks(connection: Any) -> frozenset[str]:
    """The names of libvirt's networks that run."""
    running = connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
    return frozenset(network.name() for network in running)


def read_leases(connection: Any) -> dict[str, str]:
    """Hardware address -> address that one of the host's networks has lent it."""
    found = {}
    for network in connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE):
        with contextlib.suppress(libvirt.libvirtError):  # a network without DHCP
            for lease in network.DHCPLeases():
                if lease.get("mac") and lease.get("ipaddr"):
                    found[str(lease["mac"]).lower()] = str(lease["ipaddr"])
    return found


def ask_agent(connection: Any, domain_id: str) -> dict[str, str]:
    """The same for one guest from inside, where its agent answers; nothing where it does not."""
    try:
        domain = connection.lookupByUUIDString(domain_id)
        cards = domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
    except libvirt.libvirtError as error:
        if faults.is_connection_lost(error):
            raise
        return {}
    found: dict[str, str] = {}
    for card in cards.values():
        for address in card.get("addrs") or ():
            if card.get("hwaddr") and address.get("type") == libvirt.VIR_IP_ADDR_TYPE_IPV4:
                found.setdefault(str(card["hwaddr"]).lower(), str(address["addr"]))
    return found


def _find(connection: Any, name: str) -> Any | None:
    try:
        return connection.networkLookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_NETWORK:
            return None
        raise
