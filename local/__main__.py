"""`python -m local`: the commands behind the Makefile, and the supervisor. All but `logs` and
`status` want root.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from db.errors import SettingsError
from local import commands
from local.prepare import CannotStart
from local.settings import DATA_VARIABLES, FIRST_PASSWORD_VARIABLE, REPOSITORY, LocalSettings
from local.supervisor import supervise

COMMANDS: dict[str, Callable[[LocalSettings], int]] = {
    "start": commands.start,
    "stop": commands.stop,
    "status": commands.status,
    "logs": commands.logs,
    "password": commands.password,
    "purge": commands.purge,
    "supervise": supervise,
}
HANDED_ON = (*DATA_VARIABLES, FIRST_PASSWORD_VARIABLE, "ISARD_LOG_LEVEL", "ISARD_LOG_FORMAT", "YES")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=sorted(COMMANDS))
    command = parser.parse_args().command
    try:
        settings = LocalSettings.from_environment()
        if os.geteuid() != 0:
            become_root(settings, command)
        os.chdir(REPOSITORY)
        os.umask(0o022)
        return COMMANDS[command](settings)
    except (SettingsError, CannotStart) as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def become_root(settings: LocalSettings, command: str) -> None:
    """Go on as root through sudo: namespaces and QEMU's accounts need it. Does not return."""
    os.environ["ISARD_DATA"] = str(settings.data)
    kept = ",".join(name for name in HANDED_ON if name in os.environ)
    argv = ["sudo", f"--preserve-env={kept}", sys.executable, "-m", "local", command]
    os.chdir(REPOSITORY)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 (an argument vector)
    except FileNotFoundError:
        raise CannotStart("This needs root: install sudo, or run it as root.") from None


if __name__ == "__main__":
    sys.exit(main())
