"""The audit log: who asked what of which row. Never a secret, never a request's body."""

from __future__ import annotations

import uuid
from typing import Any

from db.connection import r
from webapp.extensions import database


def record(who: str, what: str, target: str, **detail: Any) -> None:
    """`what` is `<noun>.<verb>`; `target` is `domain/<id>`, `user/<id>`, `hypervisor/<id>`."""
    row = {
        "id": str(uuid.uuid4()),
        "at": r.now(),
        "who": who,
        "what": what,
        "target": target,
        "detail": detail,
    }
    database().run(r.table("events").insert(row, durability="soft"))
