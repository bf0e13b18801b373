"""Shutting down all guests of a host: asked by the ACPI power button, ended when they do not
follow in time.

Run by the supervisor on its way down (`python -m hyper_image stop-guests`). It speaks to libvirtd
through `virsh`; when libvirtd does not answer, the end of process 1 ends the guests anyway, as a
power cut would.
"""

from __future__ import annotations

import subprocess
import time

VIRSH = ("virsh", "--quiet", "--connect", "qemu:///system")
CALL_TIMEOUT_S = 10.0
LOOK_EVERY_S = 0.1
ASK_EVERY_S = 1.0
END_TIMEOUT_S = 15.0


def shut_down_all(timeout_s: float) -> None:
    """Returns when no guest runs any more, or libvirtd does not answer."""
    deadline = time.monotonic() + timeout_s
    ask_at = 0.0
    while (left := running_guests()) and time.monotonic() < deadline:
        if time.monotonic() >= ask_at:  # a guest that is only just booting misses the first time
            ask_at = time.monotonic() + ASK_EVERY_S
            call_for_each("shutdown", left)
        time.sleep(LOOK_EVERY_S)
    call_for_each("destroy", left)


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


def call_for_each(verb: str, guests: list[str]) -> None:
    """One virsh for all of them: a hundred guests are asked in one go."""
    if guests:
        call("; ".join(f"{verb} {guest}" for guest in guests))
