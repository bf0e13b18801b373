"""What the engine alone needs to know, read once from environment variables (db/settings.py has the
common ones).

The engine's SSH key is made by the installer, one for each installation. Under `ssh_state` every
hypervisor has a folder with what the `ssh` program must know about it (its one accepted key):
derived from the rows, safe to delete.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from db.errors import SettingsError
from db.settings import Settings


@dataclass(frozen=True)
class EngineSettings:
    """Times are seconds. `images` is the folder from which images may be taken for bases, on any
    disk host.
    """

    db: Settings
    ssh_key: Path
    ssh_state: Path
    images: Path
    enrolment_key: Path
    """What one-time passwords are sealed for (engine/hypervisor/enrolment_key.py)."""
    shutdown_timeout_s: float = 60.0
    """How long a guest may take to obey the ACPI button before it is powered off."""
    connect_timeout_s: float = 8.0
    """Resolving, connecting and logging in, each way."""
    call_timeout_s: float = 20.0
    """One ordinary libvirt call or short command."""
    create_timeout_s: float = 60.0
    """createXML: QEMU under load takes its time."""
    disk_timeout_s: float = 60.0
    """Making an overlay, deleting a file."""
    convert_timeout_s: float = 3600.0
    """Copying a whole image."""
    download_timeout_s: float = 86400.0
    """Fetching one medium, however slow the line is."""
    stall_timeout_s: float = 30.0
    """A download that brings next to nothing for so long is begun again where it was."""
    task_timeout_s: float = 86400.0
    """One command of work on disks."""
    task_retention_s: float = 7 * 86400.0
    """How long ended tasks are kept."""
    keepalive_interval_s: int = 2
    keepalive_count: int = 2
    """Of libvirt and of its ssh: a dead link is noticed after interval * (count + 1)."""
    call_slots: int = 8
    """libvirt calls at once per hypervisor, those that hang included."""
    events_days: int = 365
    """How long table `events` keeps what was asked and what came of it."""

    @staticmethod
    def from_environment(environ: Mapping[str, str] | None = None) -> EngineSettings:
        """Raises SettingsError naming the variable that is wrong."""
        env = os.environ if environ is None else environ
        common = Settings.from_environment(env)
        return EngineSettings(
            db=common,
            ssh_key=common.data / "ssh" / "id_ed25519",
            ssh_state=common.data / "ssh" / "hosts",
            images=common.data / "images",
            enrolment_key=common.data / "ssh" / "enrolment.key",
            shutdown_timeout_s=read_seconds(env, "ISARD_SHUTDOWN_TIMEOUT", 60.0),
            connect_timeout_s=read_seconds(env, "ISARD_CONNECT_TIMEOUT", 8.0),
            call_timeout_s=read_seconds(env, "ISARD_CALL_TIMEOUT", 20.0),
            events_days=read_days(env, "ISARD_EVENTS_DAYS", 365),
            stall_timeout_s=read_seconds(env, "ISARD_STALL_TIMEOUT", 30.0),
        )


def read_days(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name)
    if not text:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= 36500:
        raise SettingsError(f"{name} must be a number of days from 1 to 36500, not {text!r}.")
    return int(text)


def read_seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 86400:
        raise SettingsError(
            f"{name} must be a number of seconds between 0 and 86400, not {text!r}."
        )
    return value
