"""Work on disks over REST: thin, see `webapp.services.tasks`."""

from __future__ import annotations

from typing import Any

from flask import url_for

from db.states import TaskKind
from webapp.api.answers import Task, Tasks
from webapp.api.operations import Reply, operation
from webapp.api.requests import NewImport, NewTask
from webapp.auth.permissions import Person
from webapp.services import tasks


@operation("GET", "/tasks", tag="Tasks", summary="List tasks", answer=Tasks)
def list_tasks(user: Person) -> dict[str, Any]:
    """Those I ordered and those on what is mine; all for administrators. Ended ones are kept for a
    week.
    """
    return {"items": tasks.list_tasks(user)}


@operation("GET", "/tasks/<task_id>", tag="Tasks", summary="Read a task", answer=Task)
def get_task(user: Person, task_id: str) -> dict[str, Any]:
    return tasks.get_task(user, task_id)


@operation(
    "DELETE",
    "/tasks/<task_id>",
    tag="Tasks",
    summary="Cancel a task",
    answer=Task,
    status=202,
    refusals=(403,),
)
def cancel_task(user: Person, task_id: str) -> dict[str, Any]:
    """The command on the host is ended and what it made is removed; the disk is as it was. One that
    has ended stays as it ended.
    """
    return tasks.cancel(user, task_id)


@operation(
    "POST",
    "/desktops/<desktop_id>/tasks",
    tag="Tasks",
    summary="Order work on a desktop's disks",
    body=NewTask,
    answer=Task,
    status=202,
    refusals=(403, 409),
)
def order_of_desktop(user: Person, desktop_id: str, body: NewTask) -> Reply:
    """Work on a running desktop waits until it is stopped, and while it is worked on it does not
    start. docs/storage.md has the kinds and their arguments.
    """
    return _accepted(tasks.order_of_desktop(user, desktop_id, TaskKind(body.kind), body.args))


@operation(
    "POST",
    "/templates/<template_id>/tasks",
    tag="Tasks",
    summary="Order work on a template's disks",
    body=NewTask,
    answer=Task,
    status=202,
    refusals=(403, 409),
)
def order_of_template(user: Person, template_id: str, body: NewTask) -> Reply:
    """What would break the desktops built upon it is refused."""
    return _accepted(tasks.order_of_template(user, template_id, TaskKind(body.kind), body.args))


@operation(
    "POST",
    "/media/<media_id>/tasks",
    tag="Tasks",
    summary="Make a desktop or template of a disk image",
    body=NewImport,
    answer=Task,
    status=202,
    refusals=(403, 409),
)
def import_medium(user: Person, media_id: str, body: NewImport) -> Reply:
    """Of qcow2, raw, VMDK, VDI or OVA. `args`: `name`, and `kind` (desktop or template),
    `os` (a system profile), `firmware`, `vcpus`, `memory_mib`, `disk_bus`; what is left out is the
    medium's `import_defaults`. The answer's `args.into` is the id of what is made.
    """
    return _accepted(tasks.import_medium(user, media_id, body.args))


def _accepted(made: dict[str, Any]) -> Reply:
    return Reply(made, {"Location": url_for("api.get_task", task_id=made["id"])})
