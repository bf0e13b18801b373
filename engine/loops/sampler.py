"""Looks at one host's guests while they run: numbers every few seconds, screens while watched.

One loop for each unit, so a host that hangs delays only its own numbers. Statistics come from one
bulk call and go into the database in a few writes, as the latest and as points of the windows
(engine/loops/windows.py); a screen is taken only of a guest in which table `interests` has an
unexpired row, never more than a few for each turn. Losing any of it harms nobody: written softly,
and a failure waits for the next turn.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from db import observed as door
from db.connection import r
from db.errors import DatabaseUnavailable
from db.logs import get_logger
from db.windows import DOMAIN_METRICS, HYPERVISOR_METRICS
from engine.errors import EngineError
from engine.hypervisor.stats import DomainStats, HostStats
from engine.hypervisor.viewers import Peers, count_viewers, read_peers
from engine.loops.windows import Windows
from engine.reconcilers import Context
from engine.sight import Knowledge
from engine.supervisor import Beat
from engine.unit import Unit

log = get_logger(__name__)

Sample = dict[str, float | None]

TURN_S = 0.5
STATS_S = 5.0
VIEWERS_S = 15.0
"""Viewers come and go more slowly than that, and asking is a command of its own."""
SUMMED = (
    "net_received_bytes_s",
    "net_sent_bytes_s",
    "disk_read_bytes_s",
    "disk_written_bytes_s",
    "viewers",
)
"""What of a host is the sum over its desktops."""
DISK_STATS_MAX = 40
"""Block counters are the dearest part of the bulk call: left out above so many guests."""
SCREEN_S = 2.0
SCREENS_PER_TURN = 4
LARGE_BYTES = 150 * 1024
LARGE_SCREEN_S = 10.0
"""A large picture is taken less often, so that watching a wall of them stays cheap."""


class Sampler:
    def __init__(self, context: Context, unit: Unit) -> None:
        self._c, self._unit = context, unit
        self._before: tuple[float, HostStats] | None = None
        self._stats_at = 0.0
        self._look_ms: float | None = None
        """How long the look before took, asking and writing."""
        self._peers: Peers = {}
        self._peers_at = 0.0
        self._domain_windows = Windows("domain", DOMAIN_METRICS)
        self._host_windows = Windows("hypervisor", HYPERVISOR_METRICS)
        self._screen_due: dict[str, float] = {}

    def sample(self, beat: Beat) -> None:
        """The loop."""
        while beat.wait(TURN_S):
            if self._unit.knowledge is not Knowledge.LISTED:
                self._before = None
                continue
            try:
                if time.monotonic() >= self._stats_at:
                    self._stats_at = time.monotonic() + STATS_S
                    begun = time.monotonic()
                    self._take_stats()
                    self._look_ms = round((time.monotonic() - begun) * 1000, 1)
                self._take_screens(beat)
            except (EngineError, DatabaseUnavailable) as error:
                log.debug("sample_failed", hypervisor=self._unit.id, error=str(error))

    def _take_stats(self) -> None:
        now = time.monotonic()
        before = self._before
        few = before is None or len(before[1].domains) <= DISK_STATS_MAX
        stats = self._unit.connection.stats(with_disks=few)
        self._before = (now, stats)
        elapsed_s = now - before[0] if before else 0.0
        if now >= self._peers_at:
            self._peers_at = now + VIEWERS_S
            self._peers = read_peers(self._unit.ssh)
        samples = {
            domain_id: {
                **describe_domain(
                    one, before[1].domains.get(domain_id) if before else None, elapsed_s
                ),
                "viewers": self._count_viewers(domain_id),
            }
            for domain_id, one in stats.domains.items()
            if self._c.watcher.domains.get(domain_id) is not None
        }
        host = describe_host(stats, before[1] if before else None, list(samples.values()))
        self._unit.cpu_percent = host["cpu_percent"]
        self._write_stats(samples, host)

    def _write_stats(self, samples: dict[str, Sample], host: Sample) -> None:
        self._c.lease.check()
        database, epoch, at = self._c.database, self._c.lease.epoch, self._c.now()
        unit, at_s = self._unit.id, at.timestamp()
        records = [
            {"id": domain_id, "hypervisor": unit, **sample, "at": at}
            for domain_id, sample in samples.items()
        ]
        door.put_records(database, "domain_stats", records, epoch=epoch)
        latest = {"id": unit, **host, "look_ms": self._look_ms, "at": at}
        door.put_records(database, "hypervisor_stats", [latest], epoch=epoch)
        points = self._domain_windows.keep(samples)
        for domain_id, sample in samples.items():
            points += self._domain_windows.add(domain_id, at_s, sample)
        door.append_points(database, "domain_windows", points, epoch=epoch)
        points = self._host_windows.add(unit, at_s, host)
        door.append_points(database, "hypervisor_windows", points, epoch=epoch)

    def _count_viewers(self, domain_id: str) -> int | None:
        seen = self._unit.last_listed(domain_id)
        return count_viewers(self._peers, seen.vnc_port, seen.spice_port) if seen else None

    def _take_screens(self, beat: Beat) -> None:
        now = time.monotonic()
        wanted = self._watched()
        self._screen_due = {one: self._screen_due.get(one, 0.0) for one in wanted}
        due = sorted((one for one in wanted if self._screen_due[one] <= now), key=self._due_at)
        for domain_id in due[:SCREENS_PER_TURN]:
            if beat.stopping():
                return
            beat.beat()
            png = self._unit.connection.screenshot(domain_id)
            pause_s = LARGE_SCREEN_S if len(png) > LARGE_BYTES else SCREEN_S
            self._screen_due[domain_id] = now + pause_s
            record = {"id": domain_id, "png": r.binary(png), "at": self._c.now()}
            self._c.lease.check()
            epoch = self._c.lease.epoch
            door.put_records(self._c.database, "thumbnails", [record], epoch=epoch)

    def _due_at(self, domain_id: str) -> float:
        return self._screen_due[domain_id]

    def _watched(self) -> list[str]:
        """Domains running here that somebody looks at."""
        now = self._c.now()
        return [
            str(row["id"])
            for row in self._c.watcher.interests.all()
            if is_current(row, now) and self._unit.may_have(row["id"])
        ]


def is_current(row: Mapping[str, Any], now: datetime) -> bool:
    expires_at = row.get("expires_at")
    return isinstance(expires_at, datetime) and expires_at.tzinfo is not None and expires_at > now


def describe_domain(now: DomainStats, before: DomainStats | None, elapsed_s: float) -> Sample:
    """The latest numbers and what they make by the second. Rates need two looks."""

    def rate(name: str, scale: float = 1.0) -> float | None:
        new, old = getattr(now, name), getattr(before, name) if before else None
        if new is None or old is None or elapsed_s <= 0 or new < old:
            return None
        return round((new - old) / elapsed_s * scale, 2)

    return {
        "cpu_percent": rate("cpu_ns", 100 / 1e9),
        "memory_mib": now.memory_mib,
        "resident_mib": now.resident_mib,
        "net_received_bytes_s": rate("net_received_bytes"),
        "net_sent_bytes_s": rate("net_sent_bytes"),
        "disk_read_bytes_s": rate("disk_read_bytes"),
        "disk_written_bytes_s": rate("disk_written_bytes"),
    }


def describe_host(
    now: HostStats, before: HostStats | None, domains: Sequence[Mapping[str, float | None]]
) -> Sample:
    """The host's own numbers, and what its desktops make together."""
    busy = idle = 0
    if before is not None:
        busy = now.cpu_busy_ns - before.cpu_busy_ns
        idle = (now.cpu_idle_ns + now.cpu_wait_ns) - (before.cpu_idle_ns + before.cpu_wait_ns)
    percent = round(100 * busy / (busy + idle), 1) if busy >= 0 and busy + idle > 0 else None
    return {
        "cpu_percent": percent,
        "memory_mib": now.memory_total_mib,
        "memory_free_mib": now.memory_available_mib,
        "memory_used_mib": now.memory_total_mib - now.memory_available_mib,
        "domains": len(now.domains),
        **{name: _sum(domain.get(name) for domain in domains) for name in SUMMED},
    }


def _sum(values: Iterable[float | None]) -> float | None:
    """None where nobody says, and 0 where there is nobody."""
    found = list(values)
    known = [value for value in found if value is not None]
    return round(sum(known), 2) if known or not found else None
