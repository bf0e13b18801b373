"""Templates over REST: thin, see `webapp.services.templates`."""

from __future__ import annotations

from typing import Any

from flask import url_for

from webapp.api.answers import MadeDesktops, Template, Templates, Tree
from webapp.api.operations import Reply, operation
from webapp.api.requests import ChangeTemplate, NewDesktops, NewTemplate
from webapp.auth.permissions import Person
from webapp.services import bulk, template_tree, templates


@operation("GET", "/templates", tag="Templates", summary="List templates", answer=Templates)
def list_templates(user: Person) -> dict[str, Any]:
    """Those I may make desktops from."""
    return {"items": templates.list_templates(user)}


@operation(
    "POST",
    "/templates",
    tag="Templates",
    summary="Make a template from a stopped desktop",
    body=NewTemplate,
    answer=Template,
    status=201,
    refusals=(403, 409),
)
def make_template(user: Person, body: NewTemplate) -> Reply:
    """With all its disks. The desktop stays, built upon the template; it can be neither started nor
    deleted until that is done.
    """
    made = templates.make_template(user, body.model_dump())
    return Reply(made, {"Location": url_for("api.get_template", template_id=made["id"])})


@operation(
    "GET", "/templates/<template_id>", tag="Templates", summary="Read a template", answer=Template
)
def get_template(user: Person, template_id: str) -> dict[str, Any]:
    return templates.get_template(user, template_id)


@operation(
    "PATCH",
    "/templates/<template_id>",
    tag="Templates",
    summary="Change or share a template, or try again what failed",
    body=ChangeTemplate,
    answer=Template,
    refusals=(403, 409),
)
def change_template(user: Person, template_id: str, body: ChangeTemplate) -> dict[str, Any]:
    """New hardware is that of desktops made from now on."""
    changes = body.model_dump(exclude_unset=True)
    if body.allowed is not None:
        changes["allowed"] = body.allowed.model_dump()  # whole: what is left out is nobody
    return templates.change(user, template_id, changes)


@operation(
    "DELETE",
    "/templates/<template_id>",
    tag="Templates",
    summary="Delete a template",
    answer=Template,
    status=202,
    refusals=(403, 409),
)
def delete_template(user: Person, template_id: str) -> dict[str, Any]:
    """One on which nothing is built. With what is built upon it: DELETE …/tree/{version}."""
    return templates.delete(user, template_id)


@operation(
    "GET",
    "/templates/<template_id>/tree",
    tag="Templates",
    summary="What is built upon a template",
    answer=Tree,
    refusals=(403,),
)
def get_template_tree(user: Person, template_id: str) -> dict[str, Any]:
    """Templates and desktops whose disks stand on its disks, directly or through others."""
    return template_tree.get_tree(user, template_id)


@operation(
    "DELETE",
    "/templates/<template_id>/tree/<version>",
    tag="Templates",
    summary="Delete a template with all that is built upon it",
    answer=Template,
    status=202,
    refusals=(403, 409),
)
def delete_template_tree(user: Person, template_id: str, version: str) -> dict[str, Any]:
    """Exactly the tree that was read: one that has changed meanwhile is refused."""
    return template_tree.delete_tree(user, template_id, version)


@operation(
    "POST",
    "/desktops/bulk",
    tag="Desktops",
    summary="Make several desktops from a template",
    body=NewDesktops,
    answer=MadeDesktops,
    status=201,
    refusals=(409,),
)
def make_desktops(user: Person, body: NewDesktops) -> dict[str, Any]:
    """`count` or `names` for myself; `users` or a `group`, one each, for managers and
    administrators. In `name`, {n} is the number and {user} whose it is. All or none.
    """
    return bulk.make_desktops(user, body.model_dump())
