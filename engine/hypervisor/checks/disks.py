"""The programs that disk operations need on the host."""

from __future__ import annotations

from engine.hypervisor.checks.visit import DISKS, Check, Finding, Visit, failed, passed, warned

PROGRAMS = "qemu-img flock timeout find readlink stat sync"
HAS_PROGRAMS = f"""
for name in {PROGRAMS}; do command -v "$name" >/dev/null || printf '%s ' "$name"; done
echo
qemu-img --version 2>/dev/null | head -n 1
"""
HAS_CURL = "command -v curl >/dev/null && curl --version 2>/dev/null | head -n 1 || exit 0"


def check_qemu_img(visit: Visit) -> Finding:
    done = visit.run(HAS_PROGRAMS, label="command -v")
    missing, _, version = done.text.partition("\n")
    if missing.strip():
        return failed(
            f"The host lacks: {missing.strip()}.",
            "Install qemu-utils, util-linux, coreutils and findutils on it.",
        )
    return passed(f"{version.strip()}.")


def check_curl(visit: Visit) -> Finding:
    version = visit.run(HAS_CURL, label="curl --version").text.strip()
    if not version:
        return warned("The host has no curl.", "Install curl on it: media are downloaded with it.")
    return passed(f"{' '.join(version.split()[:2])}.")


CHECKS = (
    Check(
        "qemu_img",
        "Disk tools",
        DISKS,
        ("login",),
        check_qemu_img,
        "Install qemu-utils on the host.",
    ),
    Check("curl", "Downloads", DISKS, ("login",), check_curl, only_warns=True),
)
