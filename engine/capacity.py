"""What a desktop needs, and what a hypervisor has: the two sides of a placement. Pure.

Memory counts as promised to the desktops, not as used by them, so a host never runs out because its
guests grow. Overcommit is a choice of whoever runs the host: `memory_ratio` and `cpu_ratio` say how
much may be promised for each that is there. Used by placement, balancers and turns; filled in by
engine/unit.py (what there is) and engine/room.py (what is taken).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

HOST_SHARE = 0.05
HOST_SHARE_MIN_MIB = 256
"""Memory left to the host itself."""

HARDWARE = {
    "uefi": "no UEFI firmware (package ovmf)",
    "secure-boot": "no UEFI firmware with secure boot (package ovmf)",
    "tpm": "no TPM emulator (packages swtpm and swtpm-tools)",
}
"""What a desktop may ask for and not every host has -> what is missing there, in words."""


@dataclass(frozen=True)
class Request:
    """What a desktop needs. `current` is where its start has begun already."""

    pool: str
    memory_mib: int
    vcpus: int
    forced: str | None = None
    favourite: str | None = None
    current: str | None = None
    avoid: str | None = None
    """Where the last try failed: taken only if there is no other."""
    networks: tuple[str, ...] = ()
    """Ids of table `interfaces`."""
    hardware: frozenset[str] = frozenset()
    """What only some hosts can give it: of HARDWARE."""


@dataclass(frozen=True)
class HostRoom:
    """A hypervisor with what is taken on it. `problem`: why it takes no desktop at all now."""

    id: str
    pools: frozenset[str]
    problem: str | None
    memory_mib: int
    used_memory_mib: int
    domains: int = 0
    used_vcpus: int = 0
    cpus: int = 0
    max_memory_mib: float | None = None
    max_vcpus: float | None = None
    max_domains: float | None = None
    memory_ratio: float = 1.0
    cpu_ratio: float | None = None
    """None: as many virtual processors as are asked for."""
    weight: float = 100
    """Its share beside the other hosts; 0: only where no other has room."""
    cpu_percent: float | None = None
    """As last measured, over all its processors."""
    recent_vcpus: int = 0
    """Placed there since that measurement may have been taken."""
    turn: int = 0
    """Grows with each desktop that is placed anywhere: when this host was last chosen."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Id of a network -> what this host does not have of it."""
    offers: frozenset[str] = frozenset()
    """Of HARDWARE."""
    kept: bool = False
    """For a large desktop that has waited long enough."""

    @property
    def usable_memory_mib(self) -> int:
        """What may be promised to desktops, all told."""
        own = max(HOST_SHARE_MIN_MIB, int(self.memory_mib * HOST_SHARE))
        usable = int((self.memory_mib - own) * self.memory_ratio)
        return usable if self.max_memory_mib is None else min(usable, int(self.max_memory_mib))

    @property
    def free_memory_mib(self) -> int:
        return self.usable_memory_mib - self.used_memory_mib

    @property
    def usable_vcpus(self) -> int | None:
        bounds = [self.max_vcpus, self.cpus * self.cpu_ratio if self.cpu_ratio else None]
        known = [int(bound) for bound in bounds if bound is not None]
        return min(known) if known else None

    def with_one_more(self, request: Request) -> HostRoom:
        """As it is once this desktop is placed here."""
        return replace(
            self,
            domains=self.domains + 1,
            used_memory_mib=self.used_memory_mib + request.memory_mib,
            used_vcpus=self.used_vcpus + request.vcpus,
            recent_vcpus=self.recent_vcpus + request.vcpus,
        )

    def emptied(self) -> HostRoom:
        """As it would be if nothing were placed here."""
        return replace(self, domains=0, used_memory_mib=0, used_vcpus=0, kept=False)


def missing_on(request: Request, host: HostRoom) -> str | None:
    """What this host lacks for it, in words, or None."""
    if request.memory_mib > host.free_memory_mib:
        free = max(0, host.free_memory_mib)
        return f"has {free} MiB of memory free, {request.memory_mib} MiB are needed"
    usable_vcpus = host.usable_vcpus
    if usable_vcpus is not None and host.used_vcpus + request.vcpus > usable_vcpus:
        return (
            f"has {host.used_vcpus} of {usable_vcpus} virtual processors in use, "
            f"{request.vcpus} are needed"
        )
    if host.max_domains is not None and host.domains >= host.max_domains:
        return f"runs {host.domains} of at most {host.max_domains:g} desktops"
    if host.kept:
        return "is kept for a larger desktop that has waited longer"
    return None


def networks_missing_on(request: Request, host: HostRoom) -> str | None:
    """Which of its networks the host cannot give it, in words, or None."""
    missing = [host.lacks[name] for name in request.networks if name in host.lacks]
    return f"has {' and '.join(dict.fromkeys(missing))}" if missing else None


def hardware_missing_on(request: Request, host: HostRoom) -> str | None:
    """What of its hardware the host's QEMU cannot give it, in words, or None."""
    missing = sorted(request.hardware - host.offers)
    return f"has {' and '.join(HARDWARE[name] for name in missing)}" if missing else None


def could_ever_run(request: Request, host: HostRoom) -> bool:
    """Whether it would fit if the host were empty."""
    empty = host.emptied()
    return (
        hardware_missing_on(request, empty) is None
        and networks_missing_on(request, empty) is None
        and missing_on(request, empty) is None
    )
