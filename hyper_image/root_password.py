"""Root's password on a host in a container: there is none until somebody sets one, and it survives
the container.

A new hypervisor is added with its root password, once (docs/install-docker.md), and by key ever
after. So the image has a locked root and sshd takes no passwords; `reset-hyper.sh` sets one, and
from then on its hash is kept beside the host keys. The hash alone is kept. Nothing here is used on
a local host, where no password opens anything.
"""

from __future__ import annotations

import subprocess

from hyper_image.configuration import ROOT_PASSWORD as KEPT
from hyper_image.configuration import write

COMMAND_TIMEOUT_S = 15.0
SHORTEST = 8
LONGEST = 256


class BadPassword(Exception):
    """The message says what is wrong with it, without repeating it."""


def is_set() -> bool:
    return KEPT.exists()


def check(password: str) -> None:
    """Raises BadPassword. Quotes, dollar signs and blanks are as good as any other character."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadPassword(
            f"PASSWORD must have {SHORTEST} to {LONGEST} characters; nothing was changed."
        )
    if not password.isprintable():
        raise BadPassword(
            "PASSWORD must not contain line ends or control characters; nothing was changed."
        )


def hash_of(password: str) -> str:
    """Salted SHA-512, as login programs take it. The password goes through a pipe, not argv."""
    done = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],
        input=password + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    return done.stdout.strip()


def keep(hashed: str) -> None:
    write(KEPT, hashed + "\n", mode=0o600)


def apply() -> None:
    """Give this container's root the kept password, or none."""
    hashed = KEPT.read_text().strip() if KEPT.exists() else "*"
    subprocess.run(
        ["chpasswd", "--encrypted"],
        input=f"root:{hashed}\n",
        text=True,
        check=True,
        timeout=COMMAND_TIMEOUT_S,
    )
