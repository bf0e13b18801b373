"""Configuration files of others, in which a few settings are ours.

`with_settings` is pure: our keys get our values, wherever they stand; every other line, also one
that is no text at all, stays as it is. `replace` puts a file in place whole and keeps the version
from before us beside it as `.isard-backup`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

BACKUP = ".isard-backup"
LIBVIRT_CONF_MODE = 0o600


def read(path: Path) -> str:
    """Bytes that are no UTF-8 survive reading and writing."""
    try:
        return path.read_bytes().decode("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""


def value_of(text: str, key: str) -> str | None:
    """What a file of libvirt says, as it is written there; None where it says nothing."""
    values = [found.group(2) for found in setting_pattern(key).finditer(text)]
    return values[-1] if values else None


def with_settings(text: str, settings: Mapping[str, str]) -> str:
    for key, value in settings.items():
        pattern = setting_pattern(key)
        if pattern.search(text):
            # Of two lines for one key libvirt and people may believe different ones.
            text = pattern.sub(lambda found, new=value: found.group(1) + new, text)  # type: ignore[misc]
        else:
            text += ("" if not text or text.endswith("\n") else "\n") + f"{key} = {value}\n"
    return text


def setting_pattern(key: str) -> re.Pattern[str]:
    value = r"\"[^\"\n]*\"|'[^'\n]*'|[^#\s]*"
    return re.compile(rf"^([ \t]*{re.escape(key)}[ \t]*=[ \t]*)({value})", re.MULTILINE)


def replace(path: Path, content: bytes, mode: int, group: int = 0) -> None:
    """Written whole, as root's. A link is followed: what it leads to is replaced."""
    path = path.resolve()
    unfinished = path.with_name(f".new-{path.name}")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchown(file.fileno(), 0, group)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    keep_first(path)
    unfinished.replace(path)


def change_settings(path: Path, settings: Mapping[str, str]) -> None:
    text = with_settings(read(path), settings)
    mode, group = LIBVIRT_CONF_MODE, 0
    if path.exists():
        status = path.stat()
        mode, group = status.st_mode & 0o777, status.st_gid
    replace(path, text.encode("utf-8", errors="surrogateescape"), mode, group)


def keep_first(path: Path) -> None:
    """The version from before we came; later ones are our own."""
    backup = path.with_name(path.name + BACKUP)
    if not path.exists() or backup.is_symlink() or backup.exists():
        return
    unfinished = path.with_name(f".new-{backup.name}")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    shutil.copy2(path, unfinished)
    status = path.stat()
    os.chown(unfinished, status.st_uid, status.st_gid)
    unfinished.replace(backup)
