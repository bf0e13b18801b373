"""What the database must hold before the web side of a container stack serves.

Each start: the schema of this program; an older one is upgraded after a backup into
/opt/isard/backups, a newer one is refused with a sentence. Once in an installation's life: the
first administrator, the stack's own hypervisor and the demo template. Once only, because the guide
tells people to remove the stack's hypervisor when they have others, and it must not come back. Two
starts at the same time do no harm: every step finds what the other did.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from db import backup, defaults, schema
from db.connection import Database, r
from db.errors import IsardError
from db.settings import Settings
from local.seed import DEMO_DESCRIPTION, DEMO_MEMORY_MIB
from local.stack import layout
from webapp.services import setup, users

DONE = "stack"
BACKUPS = layout.ROOT / "backups"
UPLOADS = layout.ROOT / "uploads"
FIRST_ADMIN = "admin"
DEMO_IMAGE = layout.ROOT / "images" / "demo.qcow2"

Say = Callable[[str], None]


def seed(settings: Settings, secrets: Path, public: Path, replicas: int, say: Say) -> None:
    """`secrets` and `public` are the folders as this container sees them; `replicas`: how many
    servers of a cluster keep each table. Raises IsardError.
    """
    database = Database(settings)
    try:
        bring_to_date(database, say)
        if replicas > 1:
            schema.replicate(database, replicas)
        if database.run(r.table("config").get(DONE)) is not None:
            return
        password = secrets / layout.FIRST_ADMIN_PASSWORD.name
        if password.exists():
            users.add_user(database, FIRST_ADMIN, "admin", password.read_text().strip())
        setup.ensure_hypervisor(database, own_hypervisor(public), update=False)
        add_demo(database)
        database.run(
            r.table("config").insert({"id": DONE, "seeded_at": r.now()}, conflict="replace")
        )
        say("The first administrator, hypervisor and template are there.")
    finally:
        database.close()


def bring_to_date(database: Database, say: Say) -> None:
    """Upgrade after a backup. Raises SchemaError where the database is newer than this program."""
    found = find_version(database)
    if found is not None and found < schema.newest_version():
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        file = BACKUPS / f"before-upgrade-from-schema-{found}-{moment}.jsonl"
        backup.backup(database, file, secrets=True, report=say)
        say(f"The database is of schema {found}: it is upgraded. A backup is in {file}.")
    schema.ensure(database)
    defaults.insert_missing(database)


def require_writable(folders: tuple[Path, ...]) -> None:
    """A folder that was mounted into this container while its disk was read-only stays so until
    the container is started again. Raises IsardError.
    """
    for folder in folders:
        probe = folder / ".isard-writable"
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise IsardError(
                f"{folder} cannot be written ({error.strerror}): mend or free that disk. This "
                "container is started again by itself."
            ) from error


def find_version(database: Database) -> int | None:
    """None in a database that has never been set up."""
    name = database.settings.db_name
    if name not in database.run(r.db_list()):
        return None
    if "config" not in database.run(r.db(name).table_list()):
        return None
    return schema.read_version(database)


def own_hypervisor(public: Path) -> dict[str, Any]:
    return {
        "id": layout.HYPERVISOR_ID,
        "hostname": layout.HYPERVISOR_ID,
        "port": layout.HYPERVISOR_SSH_PORT,
        "user": "root",
        "host_key": setup.read_host_key(public / layout.PUBLIC_HOST_KEY.relative_to("public")),
        "description": "The hypervisor that came with the stack",
        "capabilities": setup.CAPABILITIES["both"],
        "viewer": {"port": layout.HYPERVISOR_VIEWER_PORT},
    }


def add_demo(database: Database) -> None:
    """The image lies in the hypervisor, not here: the engine says so if it should be missing."""
    setup.ensure_template(
        database,
        name="Demo",
        image=str(DEMO_IMAGE),
        owner=FIRST_ADMIN,
        memory_mib=DEMO_MEMORY_MIB,
        vcpus=1,
        os="linux",
        icon="",
        description=DEMO_DESCRIPTION,
    )
