"""Where the container stack keeps what lasts: every folder below /opt/isard, whose it is, and who
may look in.

The paths are those of the machine, seen by the preparing container as they are. Other containers
are shown parts of it (docker-compose.yml): the web side never sees the engine's SSH key, and no
hypervisor sees a private key but its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/opt/isard")
HYPERVISOR_ID = "isard-hypervisor"
HYPERVISOR_SSH_PORT = 2022
HYPERVISOR_VIEWER_PORT = 6080

NOBODY_ELSE, GROUP_LOOKS, ALL_LOOK, ALL_PASS = 0o700, 0o750, 0o755, 0o711
SUPERUSER = 0
ISARD = 64100
"""The user of database, web side and engine in the image of isard-app (docker/app/Dockerfile)."""

STACK_NAME = Path("stack")
"""Which stack this folder is of."""
DATABASE_PASSWORD = Path("secrets/database/password")
SESSION_KEY = Path("secrets/web/session.key")
FIRST_ADMIN_PASSWORD = Path("secrets/web/first_admin_password")
TICKET_KEYS = Path("secrets/web/tickets")
AUTHORITY_KEY = Path("secrets/ca-key.pem")
ENGINE_KEY = Path("ssh/id_ed25519")
CERTIFICATES = Path("certs/default")
HOST_KEY = Path("hypervisor/ssh/ssh_host_ed25519_key")
HOST_TICKET_KEYS = Path("hypervisor/tickets")
PUBLIC_ENGINE_KEY = Path("public/ssh/id_ed25519.pub")
PUBLIC_HOST_KEY = Path("public/hosts") / f"{HYPERVISOR_ID}.pub"


@dataclass(frozen=True)
class Folder:
    """One folder below ROOT. Its content is never touched, only the folder itself."""

    path: str
    mode: int
    owner: int


FOLDERS = (
    Folder("secrets", ALL_PASS, SUPERUSER),
    Folder("secrets/database", NOBODY_ELSE, ISARD),
    Folder("secrets/web", NOBODY_ELSE, ISARD),
    Folder("secrets/web/tickets", NOBODY_ELSE, ISARD),
    Folder("database", ALL_PASS, SUPERUSER),
    Folder("database/embedded", NOBODY_ELSE, ISARD),
    Folder("database/rethinkdb", NOBODY_ELSE, SUPERUSER),
    Folder("database/rethinkdb-2", NOBODY_ELSE, SUPERUSER),
    Folder("database/rethinkdb-3", NOBODY_ELSE, SUPERUSER),
    Folder("ssh", NOBODY_ELSE, ISARD),
    Folder("engine", NOBODY_ELSE, ISARD),
    Folder("engine-2", NOBODY_ELSE, ISARD),
    Folder("public", ALL_LOOK, SUPERUSER),
    Folder("public/ssh", ALL_LOOK, SUPERUSER),
    Folder("public/hosts", ALL_LOOK, SUPERUSER),
    Folder("certs", ALL_LOOK, SUPERUSER),
    Folder("hypervisor", ALL_LOOK, SUPERUSER),
    Folder("hypervisor/ssh", ALL_LOOK, SUPERUSER),
    Folder("hypervisor/tickets", ALL_LOOK, SUPERUSER),
    Folder("bases", ALL_LOOK, SUPERUSER),
    Folder("templates", ALL_LOOK, SUPERUSER),
    Folder("groups", ALL_LOOK, SUPERUSER),
    Folder("media", ALL_LOOK, SUPERUSER),
    Folder("images", ALL_LOOK, SUPERUSER),
    Folder("logs", ALL_LOOK, SUPERUSER),
    Folder("backups", NOBODY_ELSE, ISARD),
    Folder("uploads", NOBODY_ELSE, ISARD),
)
