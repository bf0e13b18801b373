"""The guests' network: one NAT network of libvirt on a bridge, and what guests may not reach from
it.

Everything here happens in the host's own network namespace. Guests get addresses and names from
libvirt's dnsmasq and reach the world through slirp4netns, which connects on their behalf *from
the machine*. So two things are forbidden by a packet filter table of our own: talking to this
namespace (but for DHCP, DNS and ping), and talking to any address that is the machine's.
`NetworkGuard` keeps the list of those addresses fresh; it starts with everything forbidden. The
table is separate from libvirt's own rules: a drop here is final whatever libvirt allows. The same
holds for guests on any other bridge of the host (networks that administrators add): what comes in
by a guest's port is marked as it enters its bridge, and known by that mark afterwards.

In a container there is one network only: guests reach the world through the container's own
address. Forbidden are then the container, the networks it is attached to (the database is there)
and every address of the machine outside, which the compose file shows as a file of the kernel's
(HOST_ADDRESSES).
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Network, collapse_addresses, ip_network
from pathlib import Path
from typing import IO, cast

from hyper_image.namespaces import in_machine_network_argv, inherited_fds, machine_network_fd

BRIDGE = "guests0"
UPLINK = "uplink0"
GUEST_PORTS = "vnet*"
"""How libvirt names the bridge ports of guests."""
GUEST_MARK = "0x15a4d"
NETWORK_UUID_FILE = "network_uuid"
GATEWAY = "10.181.0.1"
NETMASK = "255.255.240.0"
FIRST_ADDRESS = "10.181.0.10"
LAST_ADDRESS = "10.181.15.250"
UPLINK_NETWORK = "10.0.2.0/24"
UPLINK_RESOLVER = "10.0.2.3"
COMMAND_TIMEOUT_S = 10.0
REFRESH_S = 30.0
HOST_ADDRESSES = Path("/run/host-network/fib_trie")
FIB_LOCAL = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL")

# What a machine's own addresses never are for a guest: nothing there may be asked for through it.
ALWAYS_FORBIDDEN = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", UPLINK_NETWORK)


def network_xml(uuid: str) -> str:
    """libvirt's network `default` of this host. Addresses are not tried out before they are lent:
    that costs 3 s.
    """
    forwarder = (
        f"<dns><forwarder addr='{UPLINK_RESOLVER}'/></dns>"
        if machine_network_fd() is not None
        else ""
    )
    return f"""<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>default</name>
  <uuid>{uuid}</uuid>
  <forward mode='nat'/>
  <bridge name='{BRIDGE}' stp='off' delay='0'/>
  {forwarder}
  <ip address='{GATEWAY}' netmask='{NETMASK}'>
    <dhcp><range start='{FIRST_ADDRESS}' end='{LAST_ADDRESS}'/></dhcp>
  </ip>
  <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options>
</network>
"""


def filter_rules() -> str:
    """The packet filter before anything is known of the machine: guests reach nobody."""
    always = ", ".join(ALWAYS_FORBIDDEN)
    return f"""table inet isard
delete table inet isard
table inet isard {{
  set machine {{ type ipv4_addr; flags interval; elements = {{ 0.0.0.0/0 }} }}
  chain to_host {{
    type filter hook input priority -10; policy accept;
    iifname "{BRIDGE}" ct state established,related accept
    iifname "{BRIDGE}" meta nfproto ipv4 udp dport {{ 53, 67 }} accept
    iifname "{BRIDGE}" meta nfproto ipv4 tcp dport 53 accept
    iifname "{BRIDGE}" ip daddr {GATEWAY} icmp type echo-request accept
    iifname "{BRIDGE}" drop
    meta mark {GUEST_MARK} ct state established,related accept
    meta mark {GUEST_MARK} meta nfproto ipv4 udp dport {{ 53, 67 }} accept
    meta mark {GUEST_MARK} meta nfproto ipv4 tcp dport 53 accept
    meta mark {GUEST_MARK} drop
    iifname "{UPLINK}" ct state established,related accept
    iifname "{UPLINK}" drop
  }}
  chain to_others {{
    type filter hook forward priority -10; policy accept;
    iifname "{BRIDGE}" ip daddr {{ {always} }} drop
    iifname "{BRIDGE}" ip daddr @machine drop
    iifname "{BRIDGE}" meta nfproto ipv6 drop
    meta mark {GUEST_MARK} ip daddr {{ {always} }} drop
    meta mark {GUEST_MARK} ip daddr @machine drop
    meta mark {GUEST_MARK} meta nfproto ipv6 drop
  }}
}}
"""


def mark_rules() -> str:
    """Guests' packets are marked as they enter a bridge, whichever it is."""
    return f"""table bridge isard
delete table bridge isard
table bridge isard {{
  chain guests {{
    type filter hook prerouting priority -300; policy accept;
    iifname "{GUEST_PORTS}" meta mark set {GUEST_MARK}
  }}
}}
"""


def begin() -> None:
    """Before anything is known of the machine. A kernel without packet filters on bridges still has
    all that guards the guests' own bridge; other bridges are then as their owner made them.
    """
    load_rules(filter_rules())
    try:
        load_rules(mark_rules())
    except subprocess.CalledProcessError:
        print("This kernel cannot tell guests on bridges other than ours.", flush=True)


def machine_set_rules(networks: Iterable[IPv4Network]) -> str:
    """Replace the machine's addresses in one transaction."""
    elements = ", ".join(str(network) for network in collapse_addresses(networks))
    return f"flush set inet isard machine\nadd element inet isard machine {{ {elements} }}\n"


def local_networks(routes: Iterable[dict[str, object]]) -> list[IPv4Network]:
    """From the kernel's table of local routes: every address that ends on this machine."""
    found = [ip_network(str(route["dst"]), strict=False) for route in routes if "dst" in route]
    return [network for network in found if isinstance(network, IPv4Network)]


def load_rules(rules: str) -> None:
    subprocess.run(
        ["nft", "-f", "-"], input=rules, text=True, check=True, timeout=COMMAND_TIMEOUT_S
    )


def is_available() -> bool:
    return shutil.which("nft") is not None and shutil.which("ip") is not None


class NetworkGuard:
    """Follows the machine's addresses and resolver for as long as it runs (a service of
    `services.py`).
    """

    def __init__(self) -> None:
        self._known: list[IPv4Network] = []

    def run(self) -> None:
        """Never returns. Looks when an address changes, and every half minute whatever happens."""
        with subprocess.Popen(
            in_machine_network_argv(["ip", "-4", "monitor", "address"]),
            stdout=subprocess.PIPE,
            pass_fds=inherited_fds(),
        ) as monitor:
            changes = cast(IO[bytes], monitor.stdout)
            os.set_blocking(changes.fileno(), False)
            waiting = selectors.DefaultSelector()
            waiting.register(changes, selectors.EVENT_READ)
            while monitor.poll() is None:
                self.refresh()
                if waiting.select(REFRESH_S):
                    changes.read()

    def refresh(self) -> None:
        networks = local_networks(read_routes("local"))
        if networks and machine_network_fd() is None:
            networks += attached_networks(read_routes("main"))
            networks += host_networks(HOST_ADDRESSES)
        if networks and networks != self._known:
            load_rules(machine_set_rules(networks))
            self._known = networks


def read_routes(table: str) -> list[dict[str, object]]:
    """A routing table of the machine's network."""
    listing = subprocess.run(
        in_machine_network_argv(["ip", "-4", "-j", "route", "show", "table", table]),
        capture_output=True,
        check=True,
        timeout=COMMAND_TIMEOUT_S,
        pass_fds=inherited_fds(),
    )
    routes: list[dict[str, object]] = json.loads(listing.stdout or b"[]")
    return routes


def attached_networks(routes: Iterable[dict[str, object]]) -> list[IPv4Network]:
    """The networks a container is attached to, without its own guests'."""
    return local_networks(r for r in routes if r.get("scope") == "link" and r.get("dev") != BRIDGE)


def host_networks(table: Path) -> list[IPv4Network]:
    """The addresses of the machine outside, from its kernel's table of routes; none where it is
    not shown.
    """
    try:
        text = table.read_text()
    except OSError:
        return []
    return [IPv4Network(address) for address in sorted(set(FIB_LOCAL.findall(text)))]
