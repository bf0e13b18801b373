"""Commands that only look, run for their answer."""

from __future__ import annotations

import subprocess

COMMAND_TIMEOUT_S = 30.0
NOT_INSTALLED = 127


def ask(*argv: str, timeout_s: float = COMMAND_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """A command that only looks. One that is not there, or does not end, has failed."""
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(argv, NOT_INSTALLED, "", f"{argv[0]} is not installed")
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, 1, "", str(error))
