"""The pages of work on disks: all tasks, and the disks of one desktop or template."""

from __future__ import annotations

from flask import render_template

from webapp.auth.guards import current_user, login_required
from webapp.services import tasks
from webapp.views.pages import blueprint


@blueprint.get("/tasks", endpoint="tasks")
@login_required
def show_tasks() -> str:
    return render_template("tasks.html", tasks=tasks.list_tasks(current_user))


@blueprint.get("/desktops/<domain_id>/disks", endpoint="desktop_disks")
@login_required
def show_desktop_disks(domain_id: str) -> str:
    return _disks(tasks.describe_desktop(current_user, domain_id), "pages.desktops")


@blueprint.get("/templates/<domain_id>/disks", endpoint="template_disks")
@login_required
def show_template_disks(domain_id: str) -> str:
    return _disks(tasks.describe_template(current_user, domain_id), "pages.templates")


def _disks(domain: dict[str, object], active: str) -> str:
    own = tasks.list_tasks_of(current_user, str(domain["id"]))
    return render_template("disks.html", domain=domain, tasks=own, active=active)
