"""What is built upon a template, as a tree; and deleting such a tree as it was seen.

The tree's version is a digest of who is built upon whom: a tree that has changed since somebody
looked at it is not deleted. The wishes are written leaves first, and the engine deletes each domain
when nothing is built upon it any more, so whatever is cut off leaves a tree without some leaves.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from db import desired, queries
from db.errors import Conflict
from db.sentences import counted
from db.states import Desired, condition_of
from webapp import payloads
from webapp.auth.permissions import Person, can_edit_template, can_see_desktop
from webapp.errors import Problem
from webapp.extensions import database
from webapp.services import audit, templates, thumbnails
from webapp.tidy import as_text, tidy_domain

Payload = dict[str, Any]
Row = dict[str, Any]


def get_tree(user: Person, template_id: str) -> Payload:
    """For who may change the template."""
    root = templates.find_own(user, template_id)
    return _show(user, root, _read(root))


def delete_tree(user: Person, template_id: str, version: str) -> Payload:
    """Delete the template with all that is built upon it, if that is still what `version` says."""
    root = templates.find_own(user, template_id)
    children = _read(root)
    shown = _show(user, root, children)
    if shown["version"] != version:
        raise Conflict(
            "TreeChanged",
            "Something was built upon it, or deleted, since you looked. Look at the tree again.",
        )
    if not shown["may_delete"]:
        raise Problem(
            403,
            "NotYours",
            f"{counted(shown['others'], 'of these is', 'of these are')} other people's: only an "
            "administrator deletes that.",
        )
    rows = list(_walk(root, children))
    for row in reversed(rows):
        desired.wish_domain(database(), row["id"], Desired.DELETED, user.actor)
    audit.record(user.actor, "template.delete_tree", f"domain/{root['id']}", count=len(rows))
    return templates.get_template(user, template_id)


def _read(root: Row) -> dict[str, list[Row]]:
    """By each id the rows built upon it, level by level. None is twice in it."""
    known = {root["id"]}
    children: dict[str, list[Row]] = {}
    level = [root["id"]]
    while level:
        found = queries.list_children_of(database(), level)
        level = []
        for parent, rows in found.items():
            new = [row for row in rows if row["id"] not in known]
            known |= {row["id"] for row in new}
            children[parent] = sorted(new, key=_by_kind_and_name)
            level += [row["id"] for row in new]
    return children


def _walk(row: Row, children: dict[str, list[Row]]) -> list[Row]:
    """The row, then all below it: each after what it is built upon."""
    found = [row]
    for child in children.get(row["id"], []):
        found += _walk(child, children)
    return found


def _show(user: Person, root: Row, children: dict[str, list[Row]]) -> Payload:
    below = _walk(root, children)[1:]
    shots = thumbnails.times_of(row["id"] for row in below)
    others = sum(1 for row in below if not _is_own(user, row))

    def node(row: Row) -> Payload:
        tidy = tidy_domain(row)
        condition = condition_of(tidy)
        shot = shots.get(row["id"])
        is_own = _is_own(user, row)
        return {
            "id": row["id"],
            "name": (as_text(row.get("name")) or "") if is_own else None,
            "kind": as_text(row.get("kind")) or "",
            "user": as_text(row.get("user")) or "",
            "condition": condition.value,
            "condition_label": payloads.CONDITION_LABELS[condition],
            "thumbnail_url": payloads.thumbnail_url(row["id"], shot) if shot and is_own else None,
            "children": [node(child) for child in children.get(row["id"], [])],
        }

    return {
        "version": _version(children),
        "count": len(below),
        "others": others,
        "may_delete": others == 0,
        "root": node(root),
    }


def _is_own(user: Person, row: Row) -> bool:
    return can_see_desktop(user, row) or can_edit_template(user, row)


def _version(children: dict[str, list[Row]]) -> str:
    pairs = sorted((parent, row["id"]) for parent, rows in children.items() for row in rows)
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:24]


def _by_kind_and_name(row: Row) -> tuple[bool, str, str]:
    return row.get("kind") == "desktop", str(row.get("name")).casefold(), row["id"]
