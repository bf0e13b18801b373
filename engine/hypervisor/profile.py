"""What a host says about itself outside libvirt, read over SSH in one command.

Whether KVM really works is decided on the host by starting a kernel with it, and written to
/etc/isard/hypervisor.json (hyper_image does so); libvirt and the device only claim it. Without that
file guests are emulated. `boot` tells one start of the machine, or of the container the services
run in, from the next. Called by checks and the hypervisor unit.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

from engine.hypervisor.ssh import SshSession

DESCRIPTION = "/etc/isard/hypervisor.json"

PROGRAM = """
cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo
sed 's/.*) //' /proc/1/stat 2>/dev/null | cut -d ' ' -f 20
date +%s.%N
sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1
echo ---
cat -- "$1" 2>/dev/null || exit 0
"""


PASSING = frozenset({"clock_ahead_s", "is_described"})


@dataclass(frozen=True)
class HostProfile:
    """`clock_ahead_s`: the host's time against ours when asked; not part of the info."""

    kvm: bool
    kvm_reason: str
    boot: str
    cpu_model: str
    viewer_port: int | None
    clock_ahead_s: float
    is_described: bool = False
    """KVM was tried there, whatever came of it; not part of the info."""

    def as_info(self) -> dict[str, Any]:
        """Its part of `hypervisors.observed.info`."""
        return {name: value for name, value in asdict(self).items() if name not in PASSING}


def read_profile(ssh: SshSession) -> HostProfile:
    """Raises what SshSession.run does."""
    done = ssh.run(
        ["sh", "-c", PROGRAM, "isard", DESCRIPTION],
        timeout_s=ssh.settings.call_timeout_s,
        label=f"cat {DESCRIPTION}",
    )
    return parse_profile(done.text, time.time())


def parse_profile(text: str, now_s: float) -> HostProfile:
    facts, _, description = text.partition("---\n")
    boot_id, started, clock, cpu_model, *_rest = [*facts.split("\n"), "", "", "", ""]
    told = _parse_description(description)
    kvm, why, viewer_port = _read_description(description, told)
    return HostProfile(
        kvm=kvm,
        kvm_reason=why,
        boot=f"{boot_id}/{started}",
        cpu_model=cpu_model.strip(),
        viewer_port=viewer_port,
        clock_ahead_s=float(clock) - now_s if clock.replace(".", "", 1).isdigit() else 0.0,
        is_described=told is not None,
    )


def _parse_description(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _read_description(text: str, value: dict[str, Any] | None) -> tuple[bool, str, int | None]:
    if not text.strip():
        return False, f"The host has no {DESCRIPTION}, so KVM is not used.", None
    if value is None:
        return False, f"The host's {DESCRIPTION} cannot be read, so KVM is not used.", None
    kvm = value.get("kvm") is True
    port = value.get("viewer_port")
    default = "KVM works on this host." if kvm else "KVM does not work on this host."
    return kvm, str(value.get("kvm_reason") or default), port if isinstance(port, int) else None


UNREAD = parse_profile("", 0.0)
"""Of a host that was not asked yet."""
