"""What an installation is set up with: its first hypervisor, pool paths and template.

Each `ensure_…` brings a row to be as asked: silent where it is so, Conflict where something else is
there that may be in use. Called by the command line, so each takes the database itself.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

from db import desired, queries, schema
from db.connection import Database, r
from db.defaults import EVERYBODY, FIRST_PATHS
from db.errors import Conflict, IsardError, NotFound
from db.rowcheck import PATH, check_domain, check_hypervisor
from db.sentences import counted
from db.states import Desired, Kind
from webapp.services.hypervisors import new_row
from webapp.tidy import as_mapping

ACTOR = "setup"

CAPABILITIES = {
    "both": {"hypervisor": True, "disk_operations": True},
    "hypervisor": {"hypervisor": True, "disk_operations": False},
    "disk_operations": {"hypervisor": False, "disk_operations": True},
}

POOL_USES = ("bases", "templates", "groups", "media")


def read_host_key(path: Path) -> str:
    """`ssh-ed25519 AAAA…` of a public key file, without the comment. Raises IsardError."""
    try:
        words = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise IsardError(f"The host key file cannot be read: {error}") from error
    if len(words) < 2 or not re.fullmatch(r"[a-z0-9@.-]+", words[0]):
        raise IsardError(f"{path} holds no public key (as in ssh_host_ed25519_key.pub).")
    return f"{words[0]} {words[1]}"


def ensure_hypervisor(database: Database, fields: dict[str, Any], *, update: bool) -> None:
    """Add the hypervisor. One that is there and differs is changed with `update`, or a Conflict."""
    row = new_row(fields, database.settings.viewer_port)
    problem = check_hypervisor({**row, "desired": {"state": "enabled"}})
    if problem:
        raise IsardError(problem.message)
    present = queries.get_row(database, "hypervisors", row["id"])
    if present is None:
        desired.create_hypervisor(database, row, ACTOR)
        return
    compared = {key: row[key] for key in ("hostname", "port", "user", "capabilities")}
    if row["host_key"]:
        compared["host_key"] = row["host_key"]
    if fields.get("viewer"):
        compared["viewer"] = {**as_mapping(present.get("viewer")), **fields["viewer"]}
    different = {key: value for key, value in compared.items() if present.get(key) != value}
    if different and not update:
        raise Conflict(
            "Exists",
            f"There is a hypervisor {row['id']!r} already with another "
            f"{', '.join(sorted(different))}. Use --update to change it.",
        )
    if different:
        desired.edit_hypervisor(database, row["id"], different)


def ensure_pool_paths(
    database: Database, pool_id: str, root: str, *, only_first: bool = False
) -> None:
    """Keep the pool's files in folders below `root`. Raises Conflict where files are elsewhere.
    `only_first`: where its paths are those it came with; what somebody has made of them stays.
    """
    if not re.fullmatch(PATH, root) or ".." in root.split("/"):
        raise IsardError("The folder must be an absolute path of plain characters, without '..'.")
    pool = queries.get_row(database, "hypervisors_pools", pool_id)
    if pool is None:
        raise NotFound(f"There is no pool {pool_id!r}.")
    folder = root.rstrip("/")
    paths = {
        use: [{"path": f"{folder}/{use}", "disk_operations": [], "weight": 100}]
        for use in POOL_USES
    }
    if pool.get("paths") == paths or (only_first and pool.get("paths") != FIRST_PATHS):
        return
    in_use = database.run(r.table("disks").filter({"pool": pool_id}).count())
    if in_use:
        raise Conflict(
            "InUse",
            f"{counted(in_use, 'disk is', 'disks are')} in other folders of the pool {pool_id!r}: "
            "move what is there first.",
        )
    change = {"paths": r.literal(paths)}
    database.run(r.table("hypervisors_pools").get(pool_id).update(change, durability="hard"))


def ensure_template(
    database: Database,
    *,
    name: str,
    image: str,
    owner: str,
    memory_mib: int,
    vcpus: int,
    os: str,
    icon: str,
    description: str,
) -> None:
    """A template named `name`, made of the disk image at `image` on the disk host."""
    user = queries.get_row(database, "users", owner)
    if user is None:
        raise NotFound(f"There is no user {owner!r} to own the template: add the user first.")
    # The same name gives the same id, so two set-ups at once make one template.
    namespace = uuid.UUID(schema.installation_id(database))
    row = {
        "id": str(uuid.uuid5(namespace, f"template/{name}")),
        "kind": Kind.TEMPLATE.value,
        "name": name,
        "description": description,
        "icon": icon,
        "os": os,
        "user": user["id"],
        "group": user["group"],
        "category": user["category"],
        "origin": {"image": image},
        "parents": [],
        "spec": {
            "vcpus": vcpus,
            "memory_mib": memory_mib,
            "firmware": "bios",
            "boot": ["disk"],
            "disks": [{"id": "system", "bus": "virtio"}],
            "media": [],
            "interfaces": [{"id": "default"}],
            "graphics": ["vnc"],
            "video": "vga",
            "sound": "none",
        },
        "placement": {"pool": "default"},
        "allowed": EVERYBODY,
    }
    problem = check_domain({**row, "desired": {"state": "stopped"}})
    if problem:
        raise IsardError(problem.message)
    present = queries.get_row(database, "domains", row["id"])
    if present is None:
        desired.create_domain(database, row, ACTOR)
        return
    if as_mapping(present.get("desired")).get("state") == Desired.DELETED:
        raise Conflict("BeingDeleted", f"The template {name!r} is being deleted: wait for its end.")
    if as_mapping(present.get("origin")).get("image") != image:
        raise Conflict("Exists", f"There is a template {name!r} already, made of another image.")
