#!/usr/bin/python3
"""runc for machines that lack some capabilities: Docker gives a privileged container every one
there is, and runc refuses what the machine itself does not hold.

Removes from each container's and each exec's description the capabilities outside this process's
own bounding set, then becomes runc. Given to dockerd as its default runtime by `docker_engine.py`,
only where the bounding set is not full. A container then holds as much as root holds on this
machine, which is what privileged means.
"""

import itertools
import json
import os
import sys
from pathlib import Path

RUNTIME = "runc"
# Numbers as in linux/capability.h.
NAMES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]


def missing_capabilities(status: str) -> set[str]:
    """What this machine does not hold, as OCI names, from the text of /proc/self/status."""
    line = next(line for line in status.splitlines() if line.startswith("CapBnd:"))
    held = int(line.split()[1], 16)
    return {f"CAP_{name}" for number, name in enumerate(NAMES) if not held >> number & 1}


def reduce(file: Path, missing: set[str]) -> None:
    """A container's config.json has the process inside; an exec's file is the process itself."""
    content = json.loads(file.read_text())
    process = content.get("process", content)
    for kind, names in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [name for name in names if name not in missing]
    file.write_text(json.dumps(content))


def main() -> None:
    arguments = sys.argv[1:]
    missing = missing_capabilities(Path("/proc/self/status").read_text())
    for option, following in itertools.pairwise(arguments):
        if option == "--bundle":
            reduce(Path(following, "config.json"), missing)
        elif option == "--process":
            reduce(Path(following), missing)
    os.execvp(RUNTIME, [RUNTIME, *arguments])  # noqa: S606 (an argument vector)


if __name__ == "__main__":
    main()
