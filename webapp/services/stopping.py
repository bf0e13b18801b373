"""Stopping what runs on a hypervisor, for administrators: all of it, or what nobody watches.

The wish is each desktop's own, so it stays stopped until somebody starts it; emptying a host for
its maintenance is another thing (`webapp.services.hypervisors.wish`).
"""

from __future__ import annotations

from typing import Any

from db import stopping
from webapp.auth.permissions import Person
from webapp.extensions import database
from webapp.services import audit, hypervisors

Payload = dict[str, Any]


def count(user: Person, hypervisor_id: str) -> Payload:
    """How many either would be asked of now. Raises 404 for a hypervisor that is not there."""
    found = hypervisors.get_hypervisor(user, hypervisor_id)["id"]
    return dict(stopping.count_on(database(), found))


def stop(user: Person, hypervisor_id: str, *, unwatched_only: bool) -> Payload:
    """How many were asked, and how many stay up. The owners read of it in their history."""
    found = hypervisors.get_hypervisor(user, hypervisor_id)["id"]
    asked = stopping.stop_on(database(), found, user.actor, unwatched_only=unwatched_only)
    kept = stopping.count_on(database(), found)["all"]
    audit.record_each(user.actor, "desktop.shutdown", [f"domain/{one}" for one in asked])
    what = "hypervisor.stop_unwatched" if unwatched_only else "hypervisor.stop_all"
    audit.record(user.actor, what, f"hypervisor/{found}", desktops=asked)
    return {"stopped": len(asked), "kept": kept}
