"""Orders of work on disks for tests: rows as a script would write them, and what came of them."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

from db.connection import r
from tests.engine.world import START_TIMEOUT_S, World

ENDED = ("done", "failed", "cancelled")


def order(world: World, kind: str, target: str, **args: Any) -> str:
    task_id = str(uuid.uuid4())
    row = {
        "id": task_id,
        "kind": kind,
        "target": target,
        "args": args,
        "desired": {"state": "done"},
    }
    assert world.database.run(r.table("tasks").insert(row))["inserted"] == 1
    return task_id


def cancel(world: World, task_id: str) -> None:
    wish = {"desired": {"state": "cancelled", "at": r.now()}}
    world.database.run(r.table("tasks").get(task_id).update(wish))


def seen(world: World, task_id: str) -> dict[str, Any]:
    row = world.database.run(r.table("tasks").get(task_id))
    observed = (row or {}).get("observed")
    return dict(observed) if isinstance(observed, dict) else {}


def wait_state(
    world: World, task_id: str, *states: str, timeout_s: float = 2 * START_TIMEOUT_S
) -> dict[str, Any]:
    def is_there() -> bool:
        state = seen(world, task_id).get("state")
        if state in ENDED and state not in states:
            raise AssertionError(f"it ended otherwise: {seen(world, task_id)}")
        return state in states

    world.wait_until(is_there, f"task {states}, not {seen(world, task_id)}", timeout_s)
    return seen(world, task_id)


def carry_out(world: World, kind: str, target: str, **args: Any) -> dict[str, Any]:
    """Order it and wait until it is done."""
    return wait_state(world, order(world, kind, target, **args), "done")


def info(path: Path) -> dict[str, Any]:
    answer = _qemu("qemu-img", "info", "--output=json", str(path))
    return dict(json.loads(answer.stdout))


def are_same(one: Path, other: Path) -> bool:
    """For a guest."""
    return _qemu("qemu-img", "compare", str(one), str(other), check=False).returncode == 0


def is_sound(path: Path) -> bool:
    return _qemu("qemu-img", "check", "-q", str(path), check=False).returncode == 0


def write(path: Path, *commands: str) -> None:
    """Data into a disk, as a guest would: `write -P 7 1M 4M`."""
    options = [word for command in commands for word in ("-c", command)]
    _qemu("qemu-io", "-f", "qcow2", *options, str(path))


def copy(path: Path, to: Path) -> Path:
    """What a guest sees of it, to compare with later."""
    _qemu("qemu-img", "convert", "-O", "qcow2", str(path), str(to))
    return to


def _qemu(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=check, capture_output=True, text=True)
