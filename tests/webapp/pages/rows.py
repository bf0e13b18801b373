"""Rows as the engine and scripts leave them: desktops in every condition, templates, hosts."""

from __future__ import annotations

import io
import math
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from PIL import Image

from db.states import Condition
from db.windows import DOMAIN_METRICS, HYPERVISOR_METRICS, WINDOWS

Row = dict[str, Any]

NEW_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMHU4XCoIYBgxHJFNCsXTeahBSPDkaBFVOf+5MwZ6yQ"
NEW_KEY_FINGERPRINT = "SHA256:OJO59/0JjS8hzTv0yz5SfDLUFD6Wly6TAfGmcp+6uwg"
"""As `ssh-keygen -lf` prints it."""

NOW = datetime(2031, 1, 10, 9, 0, tzinfo=UTC)

SCALE = {
    "cpu_percent": 40,
    "memory_mib": 2048,
    "resident_mib": 700,
    "memory_used_mib": 900,
    "net_received_bytes_s": 90_000,
    "net_sent_bytes_s": 20_000,
    "disk_read_bytes_s": 2_500_000,
    "disk_written_bytes_s": 900_000,
    "domains": 4,
}

OBSERVED: dict[Condition, tuple[str, bool, Row]] = {
    Condition.CREATING: (
        "stopped",
        False,
        {"state": "absent", "activity": {"name": "creating", "step": "qemu-img", "progress": 40.0}},
    ),
    Condition.STOPPED: (
        "stopped",
        True,
        {"state": "stopped", "reason": "GuestShutdown", "message": "It shut down by itself."},
    ),
    Condition.WAITING: (
        "started",
        False,
        {"state": "stopped", "reason": "NoCapacity", "message": "hyper-1 lacks 4 GiB of memory."},
    ),
    Condition.STARTING: (
        "started",
        False,
        {"state": "stopped", "activity": {"name": "starting", "step": "create", "progress": None}},
    ),
    Condition.STARTED: ("started", True, {"state": "started", "hypervisor": "hyper-1"}),
    Condition.STOPPING: (
        "stopped",
        False,
        {"state": "started", "activity": {"name": "stopping", "step": "acpi"}},
    ),
    Condition.PAUSING: ("paused", False, {"state": "started", "hypervisor": "hyper-1"}),
    Condition.PAUSED: ("paused", True, {"state": "paused", "hypervisor": "hyper-1"}),
    Condition.RESUMING: ("started", False, {"state": "paused", "hypervisor": "hyper-1"}),
    Condition.DELETING: (
        "deleted",
        False,
        {"state": "stopped", "activity": {"name": "deleting", "step": "unlink"}},
    ),
    Condition.FAILED: (
        "started",
        True,
        {
            "state": "stopped",
            "failure": {
                "reason": "StartFailed",
                "message": "The network 'lab' is not there.",
                "step": "create",
                "command": "virDomainCreateXML",
                "answer": "Network not found: 'lab' <b>",
                "terminal": True,
                "attempts": 1,
            },
        },
    ),
    Condition.UNKNOWN: (
        "started",
        True,
        {"state": "unknown", "reason": "HostUnreachable", "hypervisor": "hyper-2"},
    ),
}
"""Condition -> wished state, whether that wish is finished, what is observed."""


def desktop(name: str, condition: Condition, user: str = "ana", **fields: Any) -> Row:
    state, is_finished, observed = OBSERVED[condition]
    desired = {"state": state, "at": NOW}
    return {
        "id": str(uuid.uuid4()),
        "kind": "desktop",
        "name": name,
        "description": "",
        "icon": "",
        "os": "Debian 12",
        "user": user,
        "group": "default",
        "category": "default",
        "created_at": NOW,
        "origin": {"template": str(uuid.uuid4())},
        "parents": [],
        "spec": {"vcpus": 2, "memory_mib": 1536},
        "placement": {"pool": "default"},
        "desired": desired,
        "observed": {"at": NOW, **observed, **({"for": dict(desired)} if is_finished else {})},
        **fields,
    }


def every_condition(user: str = "ana") -> list[Row]:
    return [desktop(f"Desktop {condition.value}", condition, user) for condition in OBSERVED]


def template(name: str) -> Row:
    return {
        **desktop(name, Condition.STOPPED, "admin"),
        "kind": "template",
        "description": "LibreOffice & Firefox",
        "origin": {"image": "/isard/templates/base.qcow2"},
        "allowed": {"roles": [], "categories": False, "groups": False, "users": False},
    }


def thumbnail(desktop_id: str, colour: str = "#336699") -> Row:
    """As stored; wrap `png` in r.binary."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 40), colour).save(picture, "PNG")
    return {"id": desktop_id, "png": picture.getvalue(), "at": datetime.now(UTC)}


def hypervisor(hypervisor_id: str, state: str = "online", **observed: Any) -> Row:
    desired = {"state": "enabled", "at": NOW}
    return {
        "id": hypervisor_id,
        "hostname": f"{hypervisor_id}.example",
        "port": 22,
        "user": "root",
        "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==",
        "description": "In room 204",
        "capabilities": {"hypervisor": True, "disk_operations": True},
        "pools": ["default"],
        "viewer": {"hostname": None, "port": 6080},
        "limits": {},
        "created_at": NOW,
        "desired": desired,
        "observed": {
            "state": state,
            "virtualization": state,
            "disk_operations": state,
            "checks": [check("tcp", True), check("libvirt", state == "online")],
            "info": {"cpus": 8, "memory_mib": 32768, "cpu_model": "A processor"},
            "at": NOW,
            "for": dict(desired),
            **observed,
        },
    }


def pool(pool_id: str, **fields: Any) -> Row:
    """One path in good order, one that a host lacks, one that was never looked at."""
    good = {
        "use": "groups",
        "path": "/isard/groups",
        "state": "ok",
        "hosts": [{"id": "hyper-1", "owner": True, "ok": True, "message": "works on it"}],
        "same_storage": True,
        "free_bytes": 30 * 2**30,
        "size_bytes": 120 * 2**30,
        "disks": 41,
        "message": "",
        "remedy": "",
    }
    bad = {
        **good,
        "use": "templates",
        "path": "/isard/templates",
        "state": "degraded",
        "hosts": [
            *good["hosts"],
            {"id": "hyper-2", "owner": False, "ok": False, "message": "is not connected"},
        ],
        "same_storage": False,
        "free_bytes": 2**30,
        "message": "hyper-2 is not connected",
        "remedy": "See the hypervisor's own page.",
    }
    return {
        "id": pool_id,
        "name": "Laboratory",
        "description": "In the cellar",
        "balancer": "round_robin",
        "paths": {
            "bases": [],
            "groups": [
                {"path": "/isard/groups", "disk_operations": ["hyper-1"], "weight": 100},
                {"path": "/mnt/nvme/groups", "disk_operations": [], "weight": 20},
            ],
            "templates": [{"path": "/isard/templates"}],
            "media": [],
        },
        "observed": {
            "state": "degraded",
            "reason": "NoDiskHost",
            "message": "/isard/templates: hyper-2 is not connected",
            "paths": [good, bad],
            "removed": [{"path": "/old/groups", "disks": 3}],
            "waiting": 2,
            "at": NOW,
        },
        **fields,
    }


def hypervisor_with_new_key(hypervisor_id: str) -> Row:
    return hypervisor(
        hypervisor_id,
        "error",
        reason="HostKeyChanged",
        message="It shows another key.",
        host_key_offered=NEW_KEY,
        retry_at=NOW + timedelta(seconds=30),
    )


def classes(*names: str) -> list[Row]:
    """Groups: 1A has the id class-1A."""
    return [
        {"id": f"class-{name}", "name": f"Class {name}", "category": "default"} for name in names
    ]


def check(name: str, is_ok: bool, level: str = "") -> Row:
    return {
        "name": name,
        "title": f"The check {name}",
        "ok": is_ok,
        "level": level or ("ok" if is_ok else "failed"),
        "message": "It answers." if is_ok else "It does not answer.",
        "remedy": "" if is_ok else "Start the service and check again.",
        "duration_ms": 12.4,
        "affects": "both",
    }


def stats(key: str, subject: str, *, minutes: float = 8, pause: bool = True) -> list[Row]:
    """Points of the last minutes as the engine appends them, with a pause in the middle."""
    metrics = DOMAIN_METRICS if key == "domain" else HYPERVISOR_METRICS
    window, now = WINDOWS["10m"], time.time()
    found: dict[str, Row] = {}
    for step in range(int(minutes * 60 / window.step_s), -1, -1):
        at = int(now) - step * window.step_s
        if pause and 30 <= step < 50:
            continue
        wave = 1 + math.sin(step / 7)
        values = [round(wave * SCALE.get(name, 1), 1) for name in metrics]
        row_id = window.row_id(window.chunk_of(at), subject)
        row = found.setdefault(
            row_id,
            {
                "id": row_id,
                key: subject,
                "window": "10m",
                "metrics": list(metrics),
                "points": [],
            },
        )
        row["points"].append([at, *values])
    return list(found.values())


def history(desktop_id: str) -> list[Row]:
    """What was asked and what came of it, oldest first."""
    failure = {"message": "The network 'lab' is not there.", "reason": "StartFailed"}
    lines: list[tuple[str, str, Row]] = [
        ("user/ana", "desktop.create", {}),
        ("engine", "domain.made", {}),
        ("user/ana", "desktop.start", {}),
        ("engine", "domain.failed", failure),
        ("user/ana", "viewer.open", {}),
    ]
    return [
        {
            "id": str(uuid.uuid4()),
            "at": NOW + timedelta(minutes=at),
            "who": who,
            "what": what,
            "target": f"domain/{desktop_id}",
            "detail": detail,
        }
        for at, (who, what, detail) in enumerate(lines)
    ]


TASK_ARGS: dict[str, Row] = {
    "resize": {"size_gib": 40},
    "move": {"path": "/isard/groups"},
    "convert": {"compress": True},
}


def task(kind: str, target: Row, state: str, **observed: Any) -> Row:
    """An order on a desktop's or template's disks, as the engine shows it."""
    running = {
        "step": "copy",
        "hypervisor": "hyper-1",
        "progress": {
            "percent": 41.5,
            "bytes": 4_456_000_000,
            "total_bytes": 10_737_418_240,
            "speed_bytes_s": 182_452_224,
            "eta_s": 96.0,
        },
    }
    failed = {
        "reason": "NoSpace",
        "message": "This may take 12.40 GiB in /isard/groups on hyper-1, where 3.10 GiB are free.",
        "failure": {"command": "qemu-img convert -p", "answer": "no room", "terminal": True},
    }
    seen = {"running": running, "failed": failed}.get(state, {})
    return {
        "id": str(uuid.uuid4()),
        "kind": kind,
        "target": target["id"],
        "name": target["name"],
        "user": "root",
        "owner": target["user"],
        "args": TASK_ARGS.get(kind, {}),
        "created_at": NOW,
        "desired": {"state": "done", "at": NOW},
        "observed": {"state": state, "at": NOW, "started_at": NOW, **seen, **observed},
    }


def every_task(target: Row) -> list[Row]:
    waiting = {"reason": "NotStopped", "message": "It is in use on hyper-1."}
    return [
        task("convert", target, "running"),
        task("flatten", target, "queued", **waiting),
        task("verify", target, "done", message="No errors were found."),
        task("move", target, "failed"),
        task("sparsify", target, "cancelled", reason="CalledOff", message="It was cancelled."),
    ]


def every_backup() -> list[dict[str, Any]]:
    """One in each state. Their ids are no names of files, so that the clock leaves them alone."""
    return [
        {
            "id": f"a/{state}",
            "kind": "scheduled",
            "created_at": NOW,
            "desired": {"state": "available", "at": NOW},
            "observed": {
                "state": state,
                "size": 183_000,
                "rows": 412,
                "schema": 1,
                "progress": {"done": 9, "of": 20},
                "message": None if state == "verified" else "It could not be restored whole.",
                "for": None
                if state in ("writing", "checking")
                else {"state": "available", "at": NOW},
            },
        }
        for state in ("writing", "checking", "verified", "unverified", "failed", "missing")
    ]
