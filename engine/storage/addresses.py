"""Which network addresses a disk host may fetch from. Pure.

A disk host stands inside: it reaches what the people who name an address must not (its own
services, the management network, a cloud's metadata). So only public addresses are fetched from,
and those that an administrator has listed in the configuration (table `config`, row `downloads`,
field `allow`). A name is resolved once, on the host, and curl is told to use just the addresses
that were judged here, so what the name means a second later is of no account. Called by
engine.storage.downloads.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def read_allowed(row: Mapping[str, Any] | None) -> list[Network]:
    """The networks in the configuration's row. What is no network allows nothing."""
    listed = (row or {}).get("allow")
    found: list[Network] = []
    for text in listed if isinstance(listed, list) else ():
        try:
            found.append(ipaddress.ip_network(str(text), strict=False))
        except ValueError:
            continue
    return found


def parse_hosts(answer: str) -> list[str]:
    """The addresses in the answer of `getent ahosts`, each once, in its order."""
    found = dict.fromkeys(line.split()[0] for line in answer.splitlines() if line.split())
    return [text for text in found if _read(text) is not None]


def find_refused(addresses: Sequence[str], allowed: Iterable[Network]) -> str | None:
    """The first address that must not be fetched from. One is enough to refuse a name: nobody
    names public and private addresses together by chance.
    """
    networks = list(allowed)
    return next((text for text in addresses if not _may_fetch(text, networks)), None)


def _may_fetch(text: str, networks: Sequence[Network]) -> bool:
    ip = _read(text)
    if ip is None:
        return False
    if any(
        one.version == network.version and one in network for network in networks for one in [ip]
    ):
        return True
    if isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local:
        return False
    if ip.is_multicast or ip.is_reserved or ip.is_unspecified or not ip.is_global:
        return False
    inner = _inner(ip)
    return inner is None or _may_fetch(str(inner), networks)


def _inner(ip: Ip) -> Ip | None:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return None
    if ip in NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def _read(text: str) -> Ip | None:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip
