"""Folders, keys, secrets and certificates of a container stack, made at its first start.

Each thing is made once and kept; a later start finds all there and does nothing. Runs as root in a
container of its own that ends when it is done (`isard-setup`), because folders must belong to the
users of other containers. Raises CannotPrepare with what to do where the disk does not allow it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from hyper_image import certificates, configuration
from local.prepare import TICKET_KEY_SUFFIX, keep_secret, run, write_private
from local.stack import layout


class CannotPrepare(Exception):
    """The message is for the person who starts the stack."""


def prepare(root: Path, host_names: list[str], first_password: str | None, stack: str) -> list[str]:
    """`stack`: the name of the one that is started. Returns sentences worth telling. Raises
    CannotPrepare.
    """
    try:
        claim(root, stack)
        make_folders(root)
        is_first_start = not (root / layout.DATABASE_PASSWORD).exists()
        make_secrets(root, first_password)
        make_engine_key(root)
        make_host_key(root)
        make_ticket_keys(root)
        return [*make_certificates(root, host_names), *first_words(root, is_first_start)]
    except OSError as error:
        what = error.filename or f"A file below {root}"
        raise CannotPrepare(
            f"{what} cannot be written ({error.strerror}). {remedy(root)}"
        ) from error
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", None) or error
        lines = (said.decode(errors="replace") if isinstance(said, bytes) else str(said)).strip()
        raise CannotPrepare(
            f"A key cannot be made below {root} ({lines}). {remedy(root)}"
        ) from error


def claim(root: Path, stack: str) -> None:
    """One folder, one stack: two databases, two engines on one would spoil each other's work."""
    file = root / layout.STACK_NAME
    owner = file.read_text().strip() if file.exists() else ""
    if owner and owner != stack:
        raise CannotPrepare(
            f"The folder {root} belongs to the stack {owner!r}, and this one is {stack!r}: nothing "
            "was changed. Give this one an ISARD_ROOT of its own. If it is to take the other's "
            f"place, end that one (docker-compose -p {owner} down) and remove the file {file}."
        )
    if not owner:
        write_private(file, stack + "\n")


def remedy(root: Path) -> str:
    return (
        f"See that the disk of {root} is neither full nor read-only, then run `docker-compose up "
        "-d` again: it goes on where it was."
    )


def make_folders(root: Path) -> None:
    for folder in layout.FOLDERS:
        path = root / folder.path
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, folder.owner, folder.owner)
        path.chmod(folder.mode)


def make_secrets(root: Path, first_password: str | None) -> None:
    keep_secret(root / layout.DATABASE_PASSWORD, lambda: secrets.token_urlsafe(32))
    if not (root / layout.SESSION_KEY).exists():
        keep_secret(
            root / layout.FIRST_ADMIN_PASSWORD, lambda: first_password or secrets.token_urlsafe(12)
        )
        hand_over(root / layout.FIRST_ADMIN_PASSWORD)
    keep_secret(root / layout.SESSION_KEY, lambda: secrets.token_urlsafe(32))
    hand_over(root / layout.DATABASE_PASSWORD)
    hand_over(root / layout.SESSION_KEY)


def make_engine_key(root: Path) -> None:
    """The key that may log in to this installation's hypervisors. It must survive everything."""
    key = root / layout.ENGINE_KEY
    if not key.exists():
        configuration.make_key(key, "isardvdi engine")
    public = key.with_name(key.name + ".pub")
    hand_over(key)
    hand_over(public)
    publish(public, root / layout.PUBLIC_ENGINE_KEY)


def make_host_key(root: Path) -> None:
    """The stack's own hypervisor is known before it first starts: no blind trust."""
    key = root / layout.HOST_KEY
    if not key.exists():
        configuration.make_key(key, layout.HYPERVISOR_ID)
    publish(key.with_name(key.name + ".pub"), root / layout.PUBLIC_HOST_KEY)


def make_ticket_keys(root: Path) -> None:
    """The web side signs viewer tickets; hypervisors get the public half only."""
    folder = root / layout.TICKET_KEYS
    if not list(folder.glob(f"*{TICKET_KEY_SUFFIX}")):
        pem = run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        write_private(folder / (secrets.token_hex(8) + TICKET_KEY_SUFFIX), pem)
    for key in folder.glob(f"*{TICKET_KEY_SUFFIX}"):
        hand_over(key)
        public = root / layout.HOST_TICKET_KEYS / key.name.replace(TICKET_KEY_SUFFIX, ".pem")
        if not public.exists():
            unfinished = public.with_suffix(".new")
            unfinished.write_text(run("openssl", "pkey", "-in", str(key), "-pubout"))
            unfinished.replace(public)


def make_certificates(root: Path, host_names: list[str]) -> list[str]:
    """Ours, unless somebody has put theirs. The authority's key stays out of the folder that
    people copy to other hosts.
    """
    folder = root / layout.CERTIFICATES
    present = [name for name in certificates.NEEDED if (folder / name).exists()]
    if present and len(present) < len(certificates.NEEDED):
        missing = ", ".join(sorted(set(certificates.NEEDED) - set(present)))
        return [f"{folder} lacks {missing}: put it there, or empty the folder to have all made."]
    certificates.ensure(folder, host_names)
    made = folder / "ca-key.pem"
    if made.exists():
        shutil.move(made, root / layout.AUTHORITY_KEY)
    return []


def first_words(root: Path, is_first_start: bool) -> list[str]:
    """The password itself is not told: this goes to a log."""
    if not is_first_start:
        return []
    return [
        "First start: everything is made. Log in as admin; the password is in "
        f"{root / layout.FIRST_ADMIN_PASSWORD} (remove the file once you have changed it)."
    ]


def hand_over(file: Path) -> None:
    if file.exists():
        os.chown(file, layout.ISARD, layout.ISARD)


def publish(source: Path, target: Path) -> None:
    """A public key, where containers that must not see the private one may look."""
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    unfinished = target.with_name(f".new-{target.name}")
    unfinished.write_bytes(source.read_bytes())
    unfinished.chmod(0o644)
    unfinished.replace(target)
