"""Shutting down all guests of a host: asked by the ACPI power button, ended when they do not follow in time.

Used by the supervisor on its way down. It speaks to libvirtd through `virsh`; when libvirtd does not answer, the end of
process 1 ends the guests anyway, as a power cut would.
"""

from __future__ import annotations

import subprocess
import time

VIRSH = ("virsh", "--quiet", "--connect", "qemu:///system")
CALL_TIMEOUT_S = 10.0
LOOK_EVERY_S = 0.1


def shut_down_all(timeout_s: float) -> None:
    """Returns when no guest runs any more, or libvirtd does not answer."""
    for guest in running_guests():
        call("shutdown", guest)
    deadline = time.monotonic() + timeout_s
    while (left := running_guests()) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
    for guest in left:
        call("destroy", guest)


def running_guests() -> list[str]:
    """UUIDs of the active domains; none if libvirtd does not answer."""
    return [line for line in call("list", "--uuid").splitlines() if line]


def call(*arguments: str) -> str:
    try:
        answer = subprocess.run(
            [*VIRSH, *arguments],
            capture_output=True,
            text=True,
            timeout=CALL_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return ""
    return answer.stdout
