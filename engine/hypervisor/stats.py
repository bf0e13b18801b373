"""Numbers of a host and of all its domains, from one bulk call each. Counters are raw: whoever
keeps them makes rates.

Asking every domain on its own costs a round trip each, and the bulk call is dear by group (about 1
ms a guest and group, block devices 2.5), so only the groups needed are asked for, and a guest whose
monitor is busy is left out of the details instead of holding everybody up. Called by
engine.hypervisor.connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import libvirt

GROUPS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
)
FLAGS = (
    libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
    | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
)


@dataclass(frozen=True)
class DomainStats:
    """Counters since the domain's start; None where the host does not say."""

    cpu_ns: int | None
    memory_mib: int | None
    """What the guest has been given."""
    resident_mib: int | None
    """What its process really holds."""
    net_received_bytes: int
    net_sent_bytes: int
    disk_read_bytes: int | None
    disk_written_bytes: int | None
    disk_read_requests: int | None
    disk_written_requests: int | None


@dataclass(frozen=True)
class HostStats:
    """CPU times are nanoseconds over all CPUs since the host's start."""

    cpu_busy_ns: int
    cpu_idle_ns: int
    cpu_wait_ns: int
    memory_total_mib: int
    memory_available_mib: int
    domains: Mapping[str, DomainStats] = field(default_factory=dict)
    """By UUID, active ones only."""


def read_stats(connection: Any, *, with_disks: bool) -> HostStats:
    cpu = connection.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
    memory = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    groups = GROUPS | (libvirt.VIR_DOMAIN_STATS_BLOCK if with_disks else 0)
    found = connection.getAllDomainStats(groups, FLAGS)
    free_kib = memory.get("free", 0) + memory.get("buffers", 0) + memory.get("cached", 0)
    return HostStats(
        cpu_busy_ns=cpu.get("kernel", 0) + cpu.get("user", 0),
        cpu_idle_ns=cpu.get("idle", 0),
        cpu_wait_ns=cpu.get("iowait", 0),
        memory_total_mib=memory.get("total", 0) // 1024,
        memory_available_mib=free_kib // 1024,
        domains={domain.UUIDString(): read_domain_stats(values) for domain, values in found},
    )


def read_domain_stats(values: Mapping[str, Any]) -> DomainStats:
    return DomainStats(
        cpu_ns=values.get("cpu.time"),
        memory_mib=_mib(values.get("balloon.current")),
        resident_mib=_mib(values.get("balloon.rss")),
        net_received_bytes=_sum(values, "net", "rx.bytes") or 0,
        net_sent_bytes=_sum(values, "net", "tx.bytes") or 0,
        disk_read_bytes=_sum(values, "block", "rd.bytes"),
        disk_written_bytes=_sum(values, "block", "wr.bytes"),
        disk_read_requests=_sum(values, "block", "rd.reqs"),
        disk_written_requests=_sum(values, "block", "wr.reqs"),
    )


def _mib(kib: int | None) -> int | None:
    return None if kib is None else kib // 1024


def _sum(values: Mapping[str, Any], group: str, name: str) -> int | None:
    """Over all devices of a group; None when none of them says."""
    count = values.get(f"{group}.count") or 0
    found = [values[key] for i in range(count) if (key := f"{group}.{i}.{name}") in values]
    return sum(found) if found else None
