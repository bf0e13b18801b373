"""Looks at one host's networks every few seconds: what is there to plug guests into, and which
addresses its guests have.

What a host has decides where a desktop may be placed; a guest's address is shown in its row. Leases
come from one call a network; only guests that none of these networks has lent an address are asked
through their agent, a few at each turn. Isolated networks of which the row is gone are ended here.
One loop for each unit, started beside it.
"""

from __future__ import annotations

from functools import partial

from db.errors import DatabaseUnavailable
from db.logs import get_logger
from engine.errors import EngineError
from engine.hypervisor.networks import ask_agent, end_isolated, read_leases, read_networks
from engine.networks import Network, read_network
from engine.reconcilers import Context
from engine.sight import Knowledge
from engine.supervisor import Beat
from engine.unit import Unit
from engine.workqueue import Key, WorkQueue

log = get_logger(__name__)

TURN_S = 3.0
AGENTS_PER_TURN = 3
BRIDGES = 'for b in /sys/class/net/*/bridge; do [ -d "$b" ] && basename "${b%/bridge}"; done; true'


class NetworkWatch:
    def __init__(self, context: Context, queue: WorkQueue, unit: Unit) -> None:
        self._c, self._queue, self._unit = context, queue, unit
        self._turn = 0
        self._from_agents: dict[str, str] = {}

    def look(self, beat: Beat) -> None:
        """The loop."""
        while beat.wait(0.5 if self._unit.networks is None else TURN_S):
            if self._unit.knowledge is not Knowledge.LISTED:
                continue
            try:
                self._look_at_networks()
                self._look_at_addresses()
            except (EngineError, DatabaseUnavailable) as error:
                log.info("networks_not_seen", hypervisor=self._unit.id, error=str(error))

    def _look_at_networks(self) -> None:
        unit, settings = self._unit, self._c.settings
        names = unit.connection.ask("networks", read_networks)
        done = unit.ssh.run(
            ["sh", "-c", BRIDGES, "isard"], timeout_s=settings.call_timeout_s, label="ls bridges"
        )
        bridges = frozenset(done.text.split())
        if (names, bridges) != (unit.networks, unit.bridges):
            unit.networks, unit.bridges = names, bridges
            self._c.topics.fire("room")
        rows = [read_network(row) for row in self._c.watcher.interfaces.all()]
        wanted = {row.source for row in rows if isinstance(row, Network) and row.is_isolated}
        self._c.lease.check()
        end = partial(end_isolated, installation=self._c.installation, wanted=wanted)
        for name in unit.connection.ask("networks", end):
            log.info("isolated_network_ended", hypervisor=unit.id, network=name)

    def _look_at_addresses(self) -> None:
        """Leases outlive guests, so only those of cards that are here count."""
        here = self._macs_here()
        found = {
            mac: address
            for mac, address in self._unit.connection.ask("networks", read_leases).items()
            if mac in here
        }
        silent = sorted({here[mac] for mac in here if mac not in found})
        for domain_id in silent[self._turn : self._turn + AGENTS_PER_TURN]:
            self._from_agents |= self._unit.connection.ask(
                "networks", partial(ask_agent, domain_id=domain_id)
            )
        self._turn += AGENTS_PER_TURN
        if self._turn >= len(silent):
            self._turn = 0
        self._from_agents = {
            mac: address for mac, address in self._from_agents.items() if mac in here
        }
        before, self._unit.addresses = self._unit.addresses, {**self._from_agents, **found}
        for mac in here:
            if before.get(mac) != self._unit.addresses.get(mac):
                self._queue.add(Key("domain", here[mac]))

    def _macs_here(self) -> dict[str, str]:
        """Hardware address -> the domain on this host that has it."""
        domains = self._c.watcher.domains
        digests = [domains.get(one) for one in domains.on_host(self._unit.id)]
        return {mac: str(one.id) for one in digests if one for mac in one.macs}
