"""Media as the pages' tests show them: one in every condition."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from db.media_states import MediaCondition
from tests.webapp.pages.rows import NOW

Row = dict[str, Any]
GIB = 1024**3


def medium(name: str, condition: MediaCondition, user: str = "root", **more: Any) -> Row:
    media_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
    wished = {"deleting": "deleted", "absent": "absent", "uploading": "absent"}.get(
        condition.value, "available"
    )
    desired = {"state": wished, "at": NOW}
    source: Row = {"url": f"https://images.example.org/{name.lower().replace(' ', '-')}.iso"}
    if condition is MediaCondition.UPLOADING:
        source = {"upload": media_id, "size": 3 * GIB, "file": "office.iso"}
    return {
        "id": media_id,
        "kind": "iso",
        "name": name,
        "description": "",
        "user": user,
        "group": "default",
        "category": "default",
        "pool": "default",
        "source": source,
        "allowed": {"roles": False, "categories": False, "groups": False, "users": False},
        "created_at": NOW,
        "desired": desired,
        "observed": {**_observed(condition, media_id, desired), "at": NOW},
        **more,
    }


def _observed(condition: MediaCondition, media_id: str, desired: Row) -> Row:
    working = {"name": "downloading", "step": "download", "deadline": NOW + timedelta(hours=1)}
    progress = {
        "percent": 41.3,
        "bytes": 0.41 * 4 * GIB,
        "total_bytes": 4 * GIB,
        "speed_bytes_s": 23_400_000,
        "eta_s": 101,
    }
    failure = {
        "reason": "DownloadFailed",
        "message": "https://images.example.org/x.iso is not there (404).",
        "terminal": True,
        "step": "ask",
        "command": "curl https://images.example.org/x.iso",
    }
    by_condition: dict[MediaCondition, Row] = {
        MediaCondition.WAITING: {"state": "absent", "reason": "WaitingItsTurn"},
        MediaCondition.DOWNLOADING: {
            "state": "downloading",
            "activity": working,
            "progress": progress,
        },
        MediaCondition.CHECKING: {
            "state": "downloading",
            "activity": {**working, "step": "check"},
        },
        MediaCondition.AVAILABLE: {
            "state": "available",
            "size": 4 * GIB,
            "format": "iso",
            "for": dict(desired),
        },
        MediaCondition.FAILED: {"state": "failed", "failure": failure, "for": dict(desired)},
        MediaCondition.DELETING: {"state": "deleting"},
    }
    return by_condition.get(condition, {"state": "absent", "for": dict(desired)})


def every_condition(user: str = "root") -> list[Row]:
    names = ("Ubuntu", "Fedora", "Debian", "Alpine", "Windows 11", "openSUSE", "Arch", "Mint")
    return [
        medium(f"{name} 1", condition, user)
        for name, condition in zip(names, MediaCondition, strict=True)
    ]
