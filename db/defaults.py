"""What a fresh installation holds before anybody has done anything. Inserted once, never
overwritten.

The first administrator is not here: `python -m webapp user add` makes it, with a password of its
own.
"""

from __future__ import annotations

from typing import Any

from db import backup_schedule
from db.connection import Database, r
from db.os_profiles import OS_PROFILES

NOBODY: dict[str, Any] = {"roles": False, "categories": False, "groups": False, "users": False}
EVERYBODY: dict[str, Any] = {"roles": [], "categories": False, "groups": False, "users": False}

FIRST_PATHS: dict[str, list[dict[str, Any]]] = {
    use: [{"path": f"/opt/isard/{use}", "disk_operations": [], "weight": 100}]
    for use in ("bases", "templates", "groups", "media")
}
"""Of the first pool, until somebody says where its files are to be."""
DEFAULTS: dict[str, list[dict[str, Any]]] = {
    "roles": [
        {
            "id": "user",
            "name": "User",
            "description": "Uses desktops made from shared templates",
            "rank": 0,
        },
        {
            "id": "advanced",
            "name": "Advanced user",
            "description": "Makes templates too",
            "rank": 1,
        },
        {
            "id": "manager",
            "name": "Manager",
            "description": "Manages the people of a category",
            "rank": 2,
        },
        {"id": "admin", "name": "Administrator", "description": "Manages everything", "rank": 3},
    ],
    "categories": [{"id": "default", "name": "Default", "description": "The first category"}],
    "groups": [
        {
            "id": "default",
            "name": "Default",
            "description": "The first group",
            "category": "default",
        }
    ],
    "interfaces": [
        {
            "id": "default",
            "name": "Default",
            "description": "The hypervisor's own NAT network: guests reach out, nobody reaches in",
            "kind": "network",
            "network": "default",
            "model": "virtio",
            "allowed": EVERYBODY,
        }
    ],
    "os_profiles": OS_PROFILES,
    "config": [
        {"id": backup_schedule.CONFIG, **backup_schedule.DEFAULTS, "changed_at": r.now()},
    ],
    "hypervisors_pools": [
        {
            "id": "default",
            "name": "Default",
            "description": "The first pool",
            "paths": FIRST_PATHS,
            "balancer": "free_memory",
            "interfaces": ["default"],
            "allowed": EVERYBODY,
        }
    ],
}
"""`disk_operations: []` means: any host of the pool that does disk operations."""


def insert_missing(database: Database) -> None:
    for table, rows in DEFAULTS.items():
        database.run(r.table(table).insert(rows, conflict=lambda _id, old, _new: old))
