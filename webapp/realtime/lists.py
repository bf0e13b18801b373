"""The lists that pages keep live besides desktops: what each is called, who may see a row of it,
and how it is shown.

One `Listing` a table. `feeds` follows every table named here, tells each connected person of the
rows they may see (`<noun>.changed`, `<noun>.removed`, and `<plural>.list` whenever they connect or
the table was listed anew), and never tells anybody else. To add a live table is to add a line.
`payload_of` makes every payload that is sent: a row that cannot be shown is left out alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from db.connection import r
from db.logs import get_logger
from webapp import (
    backup_payloads,
    hypervisor_payloads,
    media_payloads,
    payloads,
    pool_payloads,
    task_payloads,
)
from webapp.auth.permissions import Person, can_see_media, can_see_task, can_use_template

log = get_logger(__name__)

Row = dict[str, Any]


def _by_name(item: Mapping[str, Any]) -> tuple[str, str]:
    return str(item.get("name") or "").casefold(), str(item.get("id"))


@dataclass(frozen=True)
class Listing:
    table: str
    noun: str
    plural: str
    show: Callable[[Row, Person], dict[str, Any]]
    can_see: Callable[[Person, Mapping[str, Any]], bool] | None = None
    """None: a list of administrators, of which others hear nothing at all."""
    select: Callable[[Any], Any] | None = None
    """What of the table is followed, where not all of it is needed."""
    sort_key: Callable[[Mapping[str, Any]], tuple[Any, ...]] = _by_name

    def is_for(self, person: Person) -> bool:
        return person.is_admin or self.can_see is not None

    def shows(self, person: Person, row: Mapping[str, Any]) -> bool:
        return self.can_see(person, row) if self.can_see else person.is_admin

    def items_for(self, rows: Mapping[str, Row], person: Person) -> dict[str, Any]:
        seen = [row for row in rows.values() if self.shows(person, row)]
        shown = [payload_of(self.table, self.show, row, person) for row in seen]
        return {"items": sorted((one for one in shown if one is not None), key=self.sort_key)}


def payload_of(
    table: str, show: Callable[..., dict[str, Any]], row: Row, *more: Any
) -> dict[str, Any] | None:
    """What `show` makes of the row. None, and a line in the log, where it or JSON cannot: the
    others are shown all the same.
    """
    try:
        payload = show(row, *more)
        json.dumps(payload)
    except Exception:  # as at a loop's top: whatever a script has made of one row
        log.exception("row_not_shown", table=table, id=row["id"])
        return None
    return payload


def _templates(table: Any) -> Any:
    return table.filter(lambda row: r.expr(["template", "base"]).contains(row["kind"]))


LISTINGS: tuple[Listing, ...] = (
    Listing("domains", "template", "templates", payloads.template, can_use_template, _templates),
    Listing(
        "hypervisors",
        "hypervisor",
        "hypervisors",
        lambda row, _person: hypervisor_payloads.hypervisor(row),
    ),
    Listing("interfaces", "network", "networks", lambda row, _person: pool_payloads.network(row)),
    Listing("hypervisors_pools", "pool", "pools", lambda row, _person: pool_payloads.pool(row)),
    Listing(
        "tasks",
        "task",
        "tasks",
        task_payloads.task,
        can_see_task,
        sort_key=task_payloads.newest_first,
    ),
    Listing(
        "backups",
        "backup",
        "backups",
        lambda row, _person: backup_payloads.backup(row),
        sort_key=backup_payloads.newest_first,
    ),
    Listing("media", "medium", "media", media_payloads.medium, can_see_media),
)
