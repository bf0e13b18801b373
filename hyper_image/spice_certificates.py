"""The certificates that SPICE speaks TLS with: taken from the folder where people put them, to
where QEMU's user may read them and nobody else.

Only what can be used is taken: all three files, of one authority, the key the certificate's own.
Otherwise what was taken before stays, and the reason is said, and kept in PROBLEM for the engine's
check of this host. QEMU reads the files when a guest starts, so a certificate that is put right
later is taken while everything runs (`Watch`, which `services.py` lets look).
"""

from __future__ import annotations

import os
import pwd
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from hyper_image import accounts, certificates, configuration
from hyper_image.configuration import CERTIFICATE_FILES, SPICE_CERTIFICATES

PROBLEM = SPICE_CERTIFICATES / "problem"
"""Why those in the people's folder are not used. Not there where they are, or where are none."""
LOOK_EVERY_S = 5.0

Stamp = tuple[tuple[int, int, int] | None, ...]


def take(source: Path) -> str:
    """Copies what can be used. A sentence for a person where there is something wrong, or nothing.
    Raises OSError where the host's own folder cannot be written.
    """
    SPICE_CERTIFICATES.mkdir(mode=0o755, parents=True, exist_ok=True)
    broken = certificates.what_is_broken(source)
    if not broken:
        copy(source)
        PROBLEM.unlink(missing_ok=True)
        if certificates.is_valid_for(source, 0):
            return ""
        return f"{source}: {certificates.EXPIRED}; SPICE viewers refuse it. Put a new one there."
    meanwhile = (
        "those from before are used" if configuration.has_certificates() else "SPICE has no TLS"
    )
    problem = (
        f"The certificates in {source} cannot be used ({broken}): {meanwhile}. Put the right files "
        "there; they are taken by themselves."
    )
    if any(stamp(source)):
        configuration.write(PROBLEM, problem + "\n")
    return problem


def copy(source: Path) -> None:
    group = pwd.getpwnam(accounts.QEMU_USER).pw_gid
    for name in CERTIFICATE_FILES:
        unfinished = SPICE_CERTIFICATES / f".new-{name}"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as copied, (source / name).open("rb") as original:
            shutil.copyfileobj(original, copied)
            os.fchown(copied.fileno(), 0, group)
            os.fchmod(copied.fileno(), 0o640)
        unfinished.replace(SPICE_CERTIFICATES / name)


def stamp(source: Path) -> Stamp:
    """Another one where a file has been replaced, has come or has gone."""
    return tuple(stamp_of(source / name) for name in CERTIFICATE_FILES)


def stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class Watch:
    """Takes them at the start and when they change. A change counts once it has stood still for one
    look: three files are not replaced at the same moment.
    """

    def __init__(self, source: Path, say: Callable[[str], None]) -> None:
        self._source, self._say = source, say
        self._taken: Stamp | None = None
        self._before: Stamp | None = None
        self._look_at = 0.0

    def begin(self) -> None:
        """Raises OSError, as `take`."""
        self._taken = self._before = stamp(self._source)
        problem = take(self._source)
        if problem:
            self._say(problem)

    def look(self) -> bool:
        """True where libvirt has to read its configuration anew: SPICE has TLS from now on."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY_S
        seen, before, self._before = stamp(self._source), self._before, stamp(self._source)
        if seen == self._taken or seen != before:
            return False
        had_certificates = configuration.has_certificates()
        try:
            problem = take(self._source)
        except OSError as error:
            problem = f"{error.filename} cannot be written ({error.strerror})."
        else:
            self._taken = seen
        self._say(problem or f"The certificates in {self._source} are used from now on.")
        return configuration.has_certificates() != had_certificates
