"""What belongs to no row, for administrators: list, and ask to have it removed.

The engine finds it and looks again before it removes anything (engine/reconcilers/orphan.py). What
carries another installation's id is refused here too, so that a page never promises it.
"""

from __future__ import annotations

from typing import Any

from db import desired, queries
from db.errors import Conflict
from webapp import hypervisor_payloads
from webapp.auth.permissions import Person, can_administer
from webapp.errors import Problem, not_found
from webapp.extensions import database
from webapp.services import audit

Payload = dict[str, Any]


def list_orphans(user: Person) -> list[Payload]:
    """Ours first, then by place."""
    _require_admin(user)
    listed = [hypervisor_payloads.orphan(row) for row in queries.list_rows(database(), "orphans")]
    return sorted(listed, key=lambda item: (not item["ours"], item["hypervisor"], item["id"]))


def remove(user: Person, orphan_id: str) -> Payload:
    """Asking again after a refusal has everything looked at again."""
    _require_admin(user)
    row = queries.get_row(database(), "orphans", orphan_id)
    if row is None:
        raise not_found("orphan")
    if row.get("ours") is not True:
        raise Conflict(
            "NotOurs", "It belongs to another installation, or to nobody we know: it stays."
        )
    after = desired.wish_orphan_removed(database(), orphan_id, user.actor)
    audit.record(user.actor, "orphan.remove", f"orphan/{orphan_id}")
    return hypervisor_payloads.orphan(after)


def _require_admin(user: Person) -> None:
    if not can_administer(user):
        raise Problem(403, "AdministratorsOnly", "Only administrators may do this.")
