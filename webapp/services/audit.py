"""The audit log: who asked what of which row. Never a secret, never a request's body."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from db.connection import r
from webapp.extensions import database


def record(who: str, what: str, target: str, **detail: Any) -> None:
    """`what` is `<noun>.<verb>`; `target` is `domain/<id>`, `user/<id>`, `hypervisor/<id>`."""
    _write([_line(who, what, target, detail)])


def record_each(who: str, what: str, targets: Sequence[str], **detail: Any) -> None:
    """The same of several at once."""
    if targets:
        _write([_line(who, what, target, detail) for target in targets])


def _line(who: str, what: str, target: str, detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "at": r.now(),
        "who": who,
        "what": what,
        "target": target,
        "detail": detail,
    }


def _write(rows: list[dict[str, Any]]) -> None:
    database().run(r.table("events").insert(rows, durability="soft"))
