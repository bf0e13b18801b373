"""The pages of templates. What is done with one goes through the REST interface."""

from __future__ import annotations

from flask import render_template, request

from webapp.auth.guards import current_user, login_required
from webapp.auth.permissions import can_make_templates, has_rank
from webapp.errors import Problem
from webapp.services import desktops, template_tree, templates
from webapp.views.pages import blueprint
from webapp.views.people import sharing_choices


@blueprint.get("/templates", endpoint="templates")
@login_required
def show_templates() -> str:
    """For who makes templates; others find theirs in the dialog that makes a desktop."""
    _require_maker()
    stopped = [
        item
        for item in desktops.list_desktops(current_user)
        if item["condition"] == "stopped" and item["observed"]["state"] == "stopped"
    ]
    return render_template(
        "templates.html",
        templates=templates.list_templates(current_user),
        desktops=stopped,
        chosen=request.args.get("desktop", ""),
    )


@blueprint.get("/templates/<template_id>", endpoint="template")
@login_required
def show_template(template_id: str) -> str:
    _require_maker()
    found = templates.get_template(current_user, template_id)
    is_mine = found["allowed"] is not None
    return render_template(
        "template.html",
        template=found,
        tree=template_tree.get_tree(current_user, template_id) if is_mine else None,
        people=sharing_choices(),
        may_make_for_others=has_rank(current_user, "manager"),
        active="pages.templates",
    )


@blueprint.get("/templates/<template_id>/tree")
@login_required
def show_template_tree(template_id: str) -> str:
    tree = template_tree.get_tree(current_user, template_id)
    return render_template("parts/template_tree.html", tree=tree)


def _require_maker() -> None:
    if not can_make_templates(current_user):
        raise Problem(403, "AdvancedUsersOnly", "Your role does not make templates.")
