"""Tasks: order work on the disks of a desktop or template, list, cancel. Called by API and pages.

What is ordered is judged here by the same models as the engine judges rows with; whether it can be
done now is the engine's to say, and it says so in the task. Who owns a desktop or template may
grow, check, tidy and copy it; what touches how the storage is used is for administrators.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from db import desired, queries
from db.errors import Conflict
from db.rowcheck import is_uuid
from db.states import TASK_ENDED, Condition, Observed, TaskKind, condition_of
from db.taskcheck import read_args
from webapp import payloads
from webapp.auth.permissions import (
    Person,
    can_import,
    can_order,
    can_order_of_task,
    can_see_task,
    can_use_template,
    tasks_for,
)
from webapp.errors import Problem, invalid, not_found
from webapp.extensions import database
from webapp.services import audit, desktops, made_by_tasks
from webapp.services.made_by_tasks import CopyWish, ExportWish, ImportWish
from webapp.task_payloads import newest_first, task
from webapp.tidy import as_mapping, as_mappings, as_text, tidy_domain

W = TypeVar("W", CopyWish, ImportWish, ExportWish)
Payload = dict[str, Any]
Row = dict[str, Any]

"""An administrator can grow a disk further."""


def list_tasks(user: Person) -> list[Payload]:
    """One's own and those on one's things; for administrators all. What is to be done comes first,
    then the newest.
    """
    rows = queries.list_rows(database(), "tasks")
    return sorted((task(row, user) for row in rows if can_see_task(user, row)), key=newest_first)


def open_by_target(user: Person) -> dict[str, Payload]:
    """Of each thing that is worked on, or is to be, the task."""
    found: dict[str, Payload] = {}
    for item in list_tasks(user):
        if item["is_open"]:
            found.setdefault(item["target"], item)
    return found


def get_task(user: Person, task_id: str) -> Payload:
    return task(_find(user, task_id), user)


def list_tasks_of(user: Person, domain_id: str) -> list[Payload]:
    """Those on one desktop or template."""
    rows = queries.list_by_index(database(), "tasks", "target", domain_id)
    return sorted((task(row, user) for row in rows if can_see_task(user, row)), key=newest_first)


def describe_desktop(user: Person, desktop_id: str) -> Payload:
    """The desktop with its disks, what may be ordered of them, and the paths they could move to."""
    row = desktops.find(user, desktop_id)
    return {**desktops.get_desktop(user, desktop_id), **_possibilities(user, row)}


def describe_template(user: Person, template_id: str) -> Payload:
    row = _find_template(user, template_id)
    return {**payloads.template(row, user), **_possibilities(user, row)}


def _possibilities(user: Person, row: Row) -> Payload:
    tidy = tidy_domain(row)
    kinds = sorted(tasks_for(user, row))
    return {
        "disks": payloads.disks(tidy["observed"]["disks"], user),
        "kinds": kinds,
        "paths": _other_paths(tidy) if TaskKind.MOVE in kinds else [],
    }


def _other_paths(row: Row) -> list[str]:
    """The pool's paths for what this is, without the one where all of its disks are."""
    pool_id = as_text(row["placement"].get("pool")) or "default"
    pool = queries.get_row(database(), "hypervisors_pools", pool_id) or {}
    uses = {"desktop": "groups", "template": "templates", "base": "bases"}
    use = uses.get(str(row.get("kind")), "groups")
    entries = as_mappings(as_mapping(pool.get("paths")).get(use))
    paths = [path for entry in entries if (path := as_text(entry.get("path")))]
    there = {str(disk.get("path")).rsplit("/", 2)[0] for disk in row["observed"]["disks"]}
    return [path for path in paths if there != {path}]


def order_of_desktop(
    user: Person, desktop_id: str, kind: TaskKind, args: Mapping[str, Any]
) -> Payload:
    return _order(user, desktops.find(user, desktop_id), kind, args)


def order_of_template(
    user: Person, template_id: str, kind: TaskKind, args: Mapping[str, Any]
) -> Payload:
    return _order(user, _find_template(user, template_id), kind, args)


def import_medium(user: Person, media_id: str, args: Mapping[str, Any]) -> Payload:
    """Make a desktop or template of a disk image."""
    row = queries.get_row(database(), "media", media_id) if is_uuid(media_id) else None
    if row is None or not can_import(user, row):
        raise not_found("medium")
    if row.get("kind") != "disk":
        raise Conflict("NoDiskImage", "Only a disk image can be made a desktop of.")
    wish = _read_wish(ImportWish, args)
    task_id = str(uuid.uuid4())
    args = made_by_tasks.add_import(user, row, task_id, wish)
    return _write(user, "media", row, task_id, TaskKind.IMPORT, args)


def order_of_medium(
    user: Person, medium: Row, kind: TaskKind, *, before: Callable[[str], None]
) -> Payload:
    """Whether they may was judged. `before` gets the task's id right before its row is written."""
    task_id = str(uuid.uuid4())
    before(task_id)
    return _write(user, "media", medium, task_id, kind, {})


def cancel(user: Person, task_id: str) -> Payload:
    """Asking again, or after it has ended, changes nothing."""
    row = _find(user, task_id)
    if not can_order_of_task(user, row):
        raise Problem(403, "NotYours", "Somebody else ordered this: ask them to cancel it.")
    if str(as_mapping(row.get("observed")).get("state")) in TASK_ENDED:
        return task(row, user)
    after = desired.cancel_task(database(), row["id"], user.actor)
    audit.record(user.actor, "task.cancel", f"task/{row['id']}")
    return task(after, user)


def _order(user: Person, target: Row, kind: TaskKind, args: Mapping[str, Any]) -> Payload:
    if not can_order(user, target, kind):
        raise Problem(
            403, "NotAllowed", "You may not order this. Ask who owns it, or an administrator."
        )
    _require_possible(target, kind)
    task_id = str(uuid.uuid4())
    if kind is TaskKind.DUPLICATE:
        wish = _read_wish(CopyWish, args)
        judged = {"into": made_by_tasks.add_copy(user, target, task_id, wish)}
    elif kind is TaskKind.EXPORT:
        asked = _read_wish(ExportWish, args)
        judged = asked.model_dump(exclude={"name"}, exclude_none=True)
        judged["medium"] = made_by_tasks.add_export(user, target, task_id, asked)
    else:
        judged = _judge(user, kind, args)
    return _write(user, "domain", target, task_id, kind, judged)


def _write(
    user: Person, noun: str, target: Row, task_id: str, kind: TaskKind, args: dict[str, Any]
) -> Payload:
    row = {
        "id": task_id,
        "kind": kind.value,
        "target": target["id"],
        "name": as_text(target.get("name")) or "",
        "user": user.id,
        "owner": as_text(target.get("user")) or "",
        "args": args,
    }
    made = desired.create_task(database(), row, user.actor)
    audit.record(user.actor, f"task.{kind.value}", f"{noun}/{target['id']}", task=task_id, **args)
    return task(made, user)


def _read_wish(model: type[W], args: Mapping[str, Any]) -> W:
    try:
        return model.model_validate(dict(args))
    except ValidationError as error:
        raise invalid(error, "args") from error


def _judge(user: Person, kind: TaskKind, args: Mapping[str, Any]) -> dict[str, Any]:
    try:
        judged = read_args(kind, args).model_dump(exclude_none=True)
    except ValidationError as error:
        raise invalid(error, "args") from error
    desktops.require_disk_size(user, judged.get("size_gib"), "args.size_gib")
    return judged


def _require_possible(target: Row, kind: TaskKind) -> None:
    tidy = tidy_domain(target)
    if condition_of(tidy) is Condition.DELETING:
        raise Conflict("BeingDeleted", "It is being deleted: nothing else can be asked of it.")
    if tidy["observed"].get("state") in (None, Observed.ABSENT):
        raise Conflict("NotReady", "Its disks are not made yet.")
    running = tidy["observed"]["state"] in (Observed.STARTED, Observed.PAUSED)
    if kind is TaskKind.VERIFY and running:
        raise Conflict("NotStopped", "The disks of a running desktop cannot be checked: stop it.")


def _find_template(user: Person, template_id: str) -> Row:
    row = queries.get_row(database(), "domains", template_id) if is_uuid(template_id) else None
    if row is None or not can_use_template(user, row):
        raise not_found("template")
    return row


def _find(user: Person, task_id: str) -> Row:
    row = queries.get_row(database(), "tasks", task_id) if is_uuid(task_id) else None
    if row is None or not can_see_task(user, row):
        raise not_found("task")
    return row
