"""The first rows of an installation, made by the same commands a person would use: idempotent,
run at each start.

One process for all of them (`python -m local.seed`, started by the supervisor once database and
hypervisor are up): importing the web side once instead of four times is what keeps a second start
quick. The administrator's first password comes on standard input. Prints what is left to tell the
person.
"""

from __future__ import annotations

import sys

from db import cli as database_commands
from local.settings import HYPERVISOR_ID, LocalSettings
from webapp import cli as web_commands

DEMO_MEMORY_MIB = 128
DEMO_DESCRIPTION = "A small Linux desktop that starts in seconds, to try everything with."


def commands(settings: LocalSettings) -> list[list[str]]:
    """The command lines of `python -m webapp`, in order."""
    kernel = settings.kernel
    lines = [
        ["user", "add", "admin", "--role", "admin", "--password-stdin"],
        [
            *("hypervisor", "add", HYPERVISOR_ID, "--update"),
            *("--hostname", "127.0.0.1", "--port", str(kernel.ssh_port)),
            *("--host-key-file", str(settings.host_key_file)),
            *("--viewer-port", str(kernel.viewer_port)),
            *("--description", "This machine"),
        ],
        ["pool", "paths", "default", "--root", str(settings.data / "storage"), "--only-first"],
    ]
    image = settings.images / "demo.qcow2"
    if image.exists():
        lines.append(
            [
                *("template", "add", "Demo", "--image", str(image)),
                *("--memory-mib", str(DEMO_MEMORY_MIB), "--description", DEMO_DESCRIPTION),
            ]
        )
    return lines


def main() -> int:
    settings = LocalSettings.from_environment()
    if code := database_commands.main(["init"]):
        return code
    for line in commands(settings):
        if code := web_commands.main(line):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
