"""Where disks lie in a pool of the tests of this folder, and what else lies there."""

from __future__ import annotations

import uuid
from pathlib import Path

from tests.engine.hosts import INSTALLATION

LOCKS = ".isard-locks"


def names_in(folder: str | Path) -> list[str]:
    return [entry.name for entry in Path(folder).iterdir()]


def new_path(pool: str, disk: str = "disk0") -> str:
    return f"{pool}/{uuid.uuid4()}/{disk}.qcow2"


def files_in(pool: str) -> set[str]:
    """Everything in the pool but the engine's own marker and lock folder."""
    found = {str(path.relative_to(pool)) for path in Path(pool).rglob("*")}
    return found - {".isard-storage.json", LOCKS, f"{LOCKS}/{INSTALLATION}"}
