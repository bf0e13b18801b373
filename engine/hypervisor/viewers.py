"""How many viewers are connected to each screen of a host, as its kernel sees it now.

Counted, not followed: libvirt's events of viewers that come and go are lost while a connection is
down, and a count that has gone wrong once stays wrong. The kernel's table of connections is always
true, costs one short command for all guests, and has a viewer whichever way it came: directly, or
through the websocket proxy, which connects from the host itself. Parsing is pure. Called by
engine/loops/sampler.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from engine.hypervisor.ssh import SshSession

READ = """
for file in /run/libvirt/qemu/*.pid; do
  read -r pid <"$file"  # false where the line has no end, and yet read
  [ -r "/proc/$pid/net/tcp" ] || continue
  exec cat "/proc/$pid/net/tcp" "/proc/$pid/net/tcp6"
done 2>/dev/null
exec cat /proc/net/tcp /proc/net/tcp6
"""
"""The table of the network the guests' processes are in, which need not be that of the login."""
ESTABLISHED = "01"

Peers = Mapping[int, list[str]]
"""Local port -> the far ends connected to it, one entry a connection."""


def read_peers(ssh: SshSession) -> Peers:
    """A host without IPv6 has no second table: what there is counts. Raises HostLost."""
    argv = ["sh", "-c", READ, "isard"]
    done = ssh.run(argv, timeout_s=ssh.settings.call_timeout_s, check=False)
    return parse_peers(done.text)


def parse_peers(table: str) -> Peers:
    """From the kernel's own format: `  0: 0100007F:170D 0100007F:C350 01 …`."""
    peers: dict[int, list[str]] = defaultdict(list)
    for line in table.splitlines():
        words = line.split()
        if len(words) > 3 and words[3] == ESTABLISHED:
            local, far = words[1].rpartition(":"), words[2].rpartition(":")
            peers[int(local[2], 16)].append(far[0])
    return peers


def count_viewers(peers: Peers, vnc_port: int | None, spice_port: int | None) -> int:
    """A VNC viewer is one connection; a SPICE viewer opens several, from one place."""
    vnc = len(peers.get(vnc_port, ())) if vnc_port else 0
    spice = len(set(peers.get(spice_port, ()))) if spice_port else 0
    return vnc + spice
