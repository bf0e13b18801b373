"""What a step found on the host, and the change that would mend it; and how it is done.
Used by every step and by `__main__.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hyper_image.asking import COMMAND_TIMEOUT_S, ask

RESTART_TIMEOUT_S = 120.0
BOOTED_BY_SYSTEMD = Path("/run/systemd/system")


@dataclass(frozen=True)
class Change:
    """`what` is shown before `make` is called. `make` may raise CannotChange or OSError."""

    what: str
    make: Callable[[], None]


@dataclass(frozen=True)
class Finding:
    """`state` is ok, missing or warning; `todo` a sentence for whoever mends it by hand."""

    state: str
    what: str
    todo: str = ""
    change: Change | None = None

    @property
    def line(self) -> str:
        text = f"{self.state}: {self.what}" + (f" — {self.todo}" if self.todo else "")
        return "".join(char if char.isprintable() else "?" for char in text)


@dataclass(frozen=True)
class Options:
    """How the program was called. `packages`: may apt-get and pip be used?"""

    packages: bool = True
    close_tcp: bool = False
    viewer_port: int = 6080


class CannotChange(Exception):
    """The message says what went wrong."""


def ok(what: str) -> Finding:
    return Finding("ok", what)


def missing(what: str, todo: str, change: Change | None = None) -> Finding:
    return Finding("missing", what, todo, change)


def warning(what: str, todo: str, change: Change | None = None) -> Finding:
    return Finding("warning", what, todo, change)


def do(*argv: str, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
    """A command that changes something. Raises CannotChange with its last line."""
    done = ask(*argv, timeout_s=timeout_s)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise CannotChange(f"{argv[0]}: {said[-1] if said else f'exit {done.returncode}'}")


def has_systemd() -> bool:
    """Whether systemd runs this machine; its units can be put in place without."""
    return BOOTED_BY_SYSTEMD.is_dir()


def restart_if_running(*units: str) -> None:
    """Units that are not there, or stand still, are left alone."""
    for unit in units:
        if has_systemd() and ask("systemctl", "--quiet", "is-active", unit).returncode == 0:
            do("systemctl", "restart", unit, timeout_s=RESTART_TIMEOUT_S)
