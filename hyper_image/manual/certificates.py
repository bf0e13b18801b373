"""The certificates that SPICE speaks TLS with: those of /opt/isard/certs/default, which a person
brings from the machine IsardVDI runs on, copied to where QEMU reads them.

Only certificates that are good are copied: complete, of one authority, with their key, in time.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from hyper_image import accounts
from hyper_image.certificates import is_valid_for, what_is_wrong
from hyper_image.configuration import CERTIFICATE_FILES, LIBVIRT, SPICE_CERTIFICATES
from hyper_image.manual import files
from hyper_image.manual.finding import (
    Change,
    Finding,
    Options,
    missing,
    ok,
    restart_if_running,
    warning,
)

SOURCE = Path("/opt/isard/certs/default")
EXPIRES_SOON_S = 30 * 24 * 3600
COPY_MODE = 0o640
BRING = (
    f"copy {', '.join(CERTIFICATE_FILES)} from {SOURCE} of the machine IsardVDI runs on to "
    f"{SOURCE} of this one"
)


def look_at_certificates(_: Options) -> list[Finding]:
    problem = what_is_wrong(SOURCE)
    if problem:
        return [missing(f"certificates in {SOURCE}: {problem}", BRING)]
    user = qemu_user()
    if user is None:
        return [
            missing(
                "QEMU's user is not known", f"install QEMU, or correct user in {LIBVIRT}/qemu.conf"
            )
        ]
    if not are_copied(user):
        todo = f"copy them from {SOURCE}, owner root, group of {user.pw_name}, mode 640"
        change = Change(f"certificates: {SOURCE} → {SPICE_CERTIFICATES}", lambda: copy(user))
        return [missing(f"certificates in {SPICE_CERTIFICATES}", todo, change)]
    if not is_valid_for(SPICE_CERTIFICATES, EXPIRES_SOON_S):
        return [warning("the server's certificate expires within 30 days", BRING)]
    return [ok(f"certificates in {SPICE_CERTIFICATES}, readable by {user.pw_name}")]


def are_in_place() -> bool:
    user = qemu_user()
    return user is not None and not what_is_wrong(SOURCE) and are_copied(user)


def qemu_user() -> pwd.struct_passwd | None:
    """Whom QEMU runs as: told in qemu.conf, else what distributions call it."""
    told = (files.value_of(files.read(LIBVIRT / "qemu.conf"), "user") or "").strip("\"'")
    for name in (told,) if told else (accounts.QEMU_USER, "qemu"):
        try:
            return (
                pwd.getpwuid(int(name.lstrip("+")))
                if name.lstrip("+").isdigit()
                else pwd.getpwnam(name)
            )
        except (KeyError, ValueError, OverflowError):
            continue
    return None


def are_copied(user: pwd.struct_passwd) -> bool:
    for name in CERTIFICATE_FILES:
        copied, original = SPICE_CERTIFICATES / name, SOURCE / name
        if not copied.is_file() or copied.read_bytes() != original.read_bytes():
            return False
        status = copied.stat()
        groups = {
            user.pw_gid,
            *(group.gr_gid for group in grp.getgrall() if user.pw_name in group.gr_mem),
        }
        by_group = status.st_gid in groups and status.st_mode & 0o040
        by_owner = status.st_uid == user.pw_uid and status.st_mode & 0o400
        if not (by_group or by_owner or user.pw_uid == 0) or status.st_mode & 0o007:
            return False
    return True


def copy(user: pwd.struct_passwd) -> None:
    SPICE_CERTIFICATES.mkdir(mode=0o755, parents=True, exist_ok=True)
    for name in CERTIFICATE_FILES:
        files.replace(
            SPICE_CERTIFICATES / name, (SOURCE / name).read_bytes(), COPY_MODE, user.pw_gid
        )
    os.sync()
    restart_if_running("libvirtd.service", "virtqemud.service")
