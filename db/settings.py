"""Where things are and how to reach the database: read once, from environment variables.

Every process of the product reads the same few variables (docs/install.md lists them), so two
copies run side by side by giving them other values. `engine/settings.py` and `webapp/settings.py`
add what only they need.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from db.errors import SettingsError

DATABASE_NAME = "isard"


@dataclass(frozen=True)
class Settings:
    """Ports are TCP ports; `data` is this installation's absolute folder."""

    data: Path
    host: str
    db_host: str
    db_port: int
    db_user: str
    db_password: str
    db_name: str
    web_port: int
    viewer_port: int
    ssh_port: int

    @staticmethod
    def from_environment(environ: Mapping[str, str] | None = None) -> Settings:
        """Raises SettingsError naming the variable that is wrong."""
        env = os.environ if environ is None else environ
        return Settings(
            data=Path(env.get("ISARD_DATA") or "data").absolute(),
            host=env.get("ISARD_HOST") or "127.0.0.1",
            db_host=env.get("ISARD_DB_HOST") or "127.0.0.1",
            db_port=read_port(env, "ISARD_DB_PORT", 28015),
            db_user=env.get("ISARD_DB_USER") or "admin",
            db_password=read_secret(env, "ISARD_DB_PASSWORD"),
            db_name=env.get("ISARD_DB_NAME") or DATABASE_NAME,
            web_port=read_port(env, "ISARD_WEB_PORT", 8080),
            viewer_port=read_port(env, "ISARD_VIEWER_PORT", 6080),
            ssh_port=read_port(env, "ISARD_SSH_PORT", 2022),
        )


def read_secret(env: Mapping[str, str], name: str) -> str:
    """From the variable, or from the file that `<name>_FILE` names, as containers are given it."""
    file = env.get(f"{name}_FILE")
    if env.get(name) or not file:
        return env.get(name) or ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{name}_FILE: {file} cannot be read ({error.strerror}).") from error


def read_port(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise SettingsError(f"{name} must be a TCP port between 1 and 65535, not {text!r}.")
    return int(text)
