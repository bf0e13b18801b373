"""What removing a hypervisor touches, said before it is done: what is on it, what must or would
rather run there, which storage it alone works on. The engine empties the host, removes its row and
takes its name out of the lists of owners that have another one.

Used by the page's question, by the API, and for the audit of a removal by force.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from db import queries
from db.connection import r
from db.states import condition_of
from webapp.auth.permissions import Person
from webapp.extensions import database
from webapp.services import hypervisors
from webapp.tidy import as_list, as_mapping, as_mappings, as_text, tidy_domain

ON_IT = ("started", "paused", "unknown")


def describe_removal(user: Person, hypervisor_id: str) -> dict[str, Any]:
    """For administrators. The hypervisor must exist."""
    found = hypervisors.get_hypervisor(user, hypervisor_id)["id"]
    rows = [tidy_domain(row) for row in _desktops_naming(found)]
    return {
        "desktops": [_named(row) for row in rows if _is_on(row, found)],
        "forced": [
            _named(row) for row in rows if row["placement"].get("forced_hypervisor") == found
        ],
        "favourite": [
            _named(row) for row in rows if row["placement"].get("favourite_hypervisor") == found
        ],
        "paths": sorted(_paths_of(found), key=lambda path: (path["pool"], path["path"])),
    }


def _desktops_naming(hypervisor_id: str) -> list[dict[str, Any]]:
    def names(row: Any) -> Any:
        return r.or_(
            queries.field(row, "observed", "hypervisor").eq(hypervisor_id),
            queries.field(row, "placement", "forced_hypervisor").eq(hypervisor_id),
            queries.field(row, "placement", "favourite_hypervisor").eq(hypervisor_id),
        )

    query = r.table("domains").get_all("desktop", index="kind").filter(names)
    rows: list[dict[str, Any]] = database().run(query)
    return sorted(rows, key=lambda row: (str(row.get("name")), str(row["id"])))


def _is_on(row: Mapping[str, Any], hypervisor_id: str) -> bool:
    observed = row["observed"]
    return observed.get("hypervisor") == hypervisor_id and observed.get("state") in ON_IT


def _named(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "id": str(row["id"]),
        "name": as_text(row.get("name")) or "",
        "user": as_text(row.get("user")) or "",
        "condition": condition_of(row).value,
    }


def _paths_of(hypervisor_id: str) -> Iterator[dict[str, Any]]:
    """The storage paths whose list of owners names it. `alone`: there is no other owner."""
    for pool in queries.list_rows(database(), "hypervisors_pools"):
        for use, entries in as_mapping(pool.get("paths")).items():
            for entry in as_mappings(entries):
                owners = as_list(entry.get("disk_operations"))
                if hypervisor_id in owners:
                    path, alone = as_text(entry.get("path")) or "", len(set(owners)) == 1
                    yield {"pool": str(pool["id"]), "use": use, "path": path, "alone": alone}
