"""Everything a start needs that is not a process: folders, keys, certificates, the demo desktop.

Each thing is made once and kept; a start in which all is there does nothing. Secrets are files
that only root may read, never words of a command line. Called by `start` before the supervisor.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hyper_image import certificates
from local.plan import ports
from local.settings import FIRST_PASSWORD_VARIABLE, REPOSITORY, LocalSettings

PRIVATE, PUBLIC = 0o700, 0o755
TOOL_TIMEOUT_S = 60.0
DEMO_TIMEOUT_S = 900.0
PASSWORD_LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # noqa: S105 (an alphabet)
PASSWORD_LENGTH = 14
TICKET_KEY_SUFFIX = ".key.pem"


class CannotStart(Exception):
    """The message is for the person at the terminal."""


def prepare(settings: LocalSettings, say: Callable[[str], None]) -> None:
    """Raises CannotStart."""
    make_folders(settings)
    make_secrets(settings)
    make_ssh_key(settings)
    make_ticket_keys(settings)
    host = settings.kernel.host
    certificates.ensure(settings.data / "certs" / "default", [socket.gethostname(), host])
    make_demo(settings, say)
    give_to_owner(settings)


def give_to_owner(settings: LocalSettings) -> None:
    """What the processes without root read and write; the hypervisor's and the logs stay root's."""
    owner, data = settings.owner, settings.data
    owner.give(data / name for name in ("db", "secrets", "ssh", "backups", "engine.lock"))
    os.chown(data, owner.uid, owner.gid)
    if not owner.can_enter(data):
        raise CannotStart(
            f"{owner.name}, who owns this checkout, may not walk through to {data}: set ISARD_DATA "
            "to a folder that user can reach, or open the folders above it (chmod o+x)."
        )


def make_folders(settings: LocalSettings) -> None:
    data = settings.data
    if data.is_dir() and any(data.iterdir()) and not settings.marker.exists():
        raise CannotStart(
            f"{data} holds something else. Give ISARD_DATA a folder of its own; it need not exist."
        )
    data.mkdir(mode=0o711, parents=True, exist_ok=True)
    settings.marker.write_text("The data of one IsardVDI installation. make purge removes it.\n")
    for name in ("secrets", "secrets/tickets", "ssh", "db", "run", "backups"):
        make_folder(data / name, PRIVATE)
    for name in ("certs", "host", "host/etc", "host/etc/isard", "host/etc/isard/tickets"):
        make_folder(data / name, PUBLIC)
    for name in ("storage", "images", "cache", "logs"):
        make_folder(data / name, PUBLIC)


def make_folder(folder: Path, mode: int) -> None:
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    folder.chmod(mode)


def make_secrets(settings: LocalSettings) -> None:
    for name in ("session.key", "db_password"):
        keep_secret(settings.secrets / name, lambda: secrets.token_urlsafe(32))
    if not (settings.data / "db" / "seeded").exists():
        given = os.environ.get(FIRST_PASSWORD_VARIABLE)
        if given:
            settings.first_password_file.unlink(missing_ok=True)
        keep_secret(settings.first_password_file, lambda: given or make_up_password())


def make_up_password() -> str:
    """Easy to select with a double click and to read out; 81 bits."""
    return "".join(secrets.choice(PASSWORD_LETTERS) for _ in range(PASSWORD_LENGTH))


def keep_secret(file: Path, make: Callable[[], str]) -> None:
    """Written whole and for root alone, unless it is there."""
    if file.exists() and file.stat().st_size:
        return
    write_private(file, make() + "\n")


def write_private(file: Path, text: str) -> None:
    unfinished = file.with_name(f".new-{file.name}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as written:
        written.write(text)
        os.fsync(written.fileno())
    unfinished.replace(file)


def make_ssh_key(settings: LocalSettings) -> None:
    """The engine's key: the one that may log in to the hypervisors of this installation."""
    key = settings.data / "ssh" / "id_ed25519"
    if key.exists() and key.with_suffix(".pub").exists():
        return
    key.unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "isardvdi engine", "-f", str(key))


def make_ticket_keys(settings: LocalSettings) -> None:
    """The key webapp signs viewer tickets with; the hypervisor gets the public half only."""
    folder = settings.secrets / "tickets"
    if not list(folder.glob(f"*{TICKET_KEY_SUFFIX}")):
        pem = run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        write_private(folder / (secrets.token_hex(8) + TICKET_KEY_SUFFIX), pem)
    for key in folder.glob(f"*{TICKET_KEY_SUFFIX}"):
        public = (
            settings.data / "host/etc/isard/tickets" / key.name.replace(TICKET_KEY_SUFFIX, ".pem")
        )
        if not public.exists():
            unfinished = public.with_suffix(".new")
            unfinished.write_text(run("openssl", "pkey", "-in", str(key), "-pubout"))
            unfinished.replace(public)


def make_demo(settings: LocalSettings, say: Callable[[str], None]) -> None:
    """The demo desktop. Without it the product is whole, only without its template."""
    if (settings.images / "demo.qcow2").exists() and (settings.images / "vmlinuz").exists():
        return
    say("Building the demo desktop from the distribution's kernel (once)…")
    build = subprocess.run(
        [
            *(sys.executable, "-m", "hyper_image.demo_guest"),
            *("--folder", str(settings.images), "--cache", str(settings.data / "cache/demo-guest")),
        ],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEMO_TIMEOUT_S,
    )
    if build.returncode != 0:
        say(build.stderr.strip().splitlines()[-1] if build.stderr.strip() else "No demo desktop.")


def check_ports(settings: LocalSettings) -> None:
    """Raises CannotStart naming the first port that somebody else has, and its variable."""
    for variable, address, port in ports(settings):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise CannotStart(
                    f"Port {port} of {address} cannot be used ({error.strerror}). "
                    f"Choose another with {variable}, as in: make run {variable}={port + 1}"
                ) from error


def run(*argv: str) -> str:
    return subprocess.run(
        argv,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TOOL_TIMEOUT_S,
    ).stdout
