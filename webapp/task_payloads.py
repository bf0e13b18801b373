"""Tasks as people and pages may see them: the part of webapp.payloads that is about work on disks.

task {
  id, kind: one of db.states.TaskKind, target: id, name (of the target), user, created_at,
  args: as ordered, without paths for who is no administrator,
  desired: {state: "done" | "cancelled", at, by, force: false},
  observed: {state: "queued"|"running"|"done"|"failed"|"cancelled", step, reason, message,
             progress: null | {percent, bytes, total_bytes, speed_bytes_s, eta_s: each may be null},
             result: {disks: [{id, …numbers}], ok, …} | null, started_at, at,
             (admin) hypervisor, (admin) command, (admin) answer},
  is_open: bool (it has not ended), can_cancel: bool,
  problem: null | {field, message}
}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db.rowcheck import RowProblem
from db.states import TASK_ENDED, TaskDesired, TaskState
from db.taskcheck import read_order
from webapp import payloads
from webapp.auth.permissions import Person, can_order_of_task
from webapp.tidy import as_iso, as_mapping, as_mappings, as_number, as_text, tidy_desired

Payload = dict[str, Any]

PROGRESS = ("percent", "bytes", "total_bytes", "speed_bytes_s", "eta_s")
STATES = frozenset(state.value for state in TaskState)


def task(row: Mapping[str, Any], person: Person) -> Payload:
    """Any row, however damaged, has a payload."""
    desired, observed = tidy_desired(row.get("desired")), as_mapping(row.get("observed"))
    state = as_text(observed.get("state"))
    state = state if state in STATES else TaskState.QUEUED.value
    is_open = state not in TASK_ENDED
    order = read_order({**row, "observed": {}})
    problem = order if isinstance(order, RowProblem) else None
    return {
        "id": str(row["id"]),
        "kind": as_text(row.get("kind")) or "",
        "target": as_text(row.get("target")) or "",
        "name": as_text(row.get("name")) or as_text(row.get("target")) or "",
        "user": as_text(row.get("user")) or "",
        "created_at": as_iso(row.get("created_at")),
        "args": _args(as_mapping(row.get("args")), person),
        "desired": payloads.wish(desired),
        "observed": _observed(observed, state, person),
        "is_open": is_open,
        "can_cancel": is_open
        and desired["state"] != TaskDesired.CANCELLED
        and can_order_of_task(person, row),
        "problem": {"field": problem.field, "message": problem.message} if problem else None,
    }


def newest_first(item: Mapping[str, Any]) -> tuple[Any, ...]:
    """A key to sort payloads by: those still to be done, then the newest."""
    made_at = str(item.get("created_at") or "")
    return (not item["is_open"], [-ord(letter) for letter in made_at], str(item["id"]))


def _args(args: Mapping[str, Any], person: Person) -> Payload:
    plain = {key: value for key, value in args.items() if isinstance(value, str | int | float)}
    return plain if person.is_admin else {k: v for k, v in plain.items() if k != "path"}


def _observed(observed: Mapping[str, Any], state: str, person: Person) -> Payload:
    failure, result = as_mapping(observed.get("failure")), as_mapping(observed.get("result"))
    progress = as_mapping(observed.get("progress"))
    payload = {
        "state": state,
        "step": as_text(observed.get("step")),
        "progress": {key: as_number(progress.get(key)) for key in PROGRESS} if progress else None,
        "reason": as_text(observed.get("reason")),
        "message": payloads.sentence(observed.get("message"), person),
        "result": _result(result, person) if result else None,
        "started_at": as_iso(observed.get("started_at")),
        "at": as_iso(observed.get("at")),
    }
    if person.is_admin:
        payload |= {
            "hypervisor": as_text(observed.get("hypervisor")),
            "command": as_text(failure.get("command")),
            "answer": as_text(failure.get("answer")),
        }
    return payload


def _result(result: Mapping[str, Any], person: Person) -> Payload:
    kept = {key: value for key, value in result.items() if isinstance(value, str | int | float)}
    disks = [
        {
            key: value
            for key, value in disk.items()
            if isinstance(value, str | int | float) and (person.is_admin or key != "path")
        }
        for disk in as_mappings(result.get("disks"))
    ]
    return {**kept, "disks": disks}
