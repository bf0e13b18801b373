"""Which networks inside media may be fetched from: row `downloads` of table `config`.

Disk hosts reach places that people who name an address must not, so only public addresses are
fetched from unless a network is listed here (engine/storage/addresses.py judges).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from db import desired, queries
from webapp.auth.permissions import Person, can_administer
from webapp.errors import Problem
from webapp.extensions import database
from webapp.services import audit
from webapp.tidy import as_list

CONFIG = "downloads"


def read_allowed(user: Person) -> dict[str, Any]:
    _require_admin(user)
    row = queries.get_row(database(), "config", CONFIG) or {}
    return {"allow": [str(item) for item in as_list(row.get("allow"))]}


def set_allowed(user: Person, networks: Sequence[str]) -> dict[str, Any]:
    """Each an address or a network such as 10.20.0.0/16. Counts from the next download on."""
    _require_admin(user)
    judged = [_judge(text) for text in networks]
    desired.put_config(database(), {"id": CONFIG, "allow": list(dict.fromkeys(judged))})
    audit.record(user.actor, "downloads.allow", "config/downloads", networks=judged)
    return read_allowed(user)


def _judge(text: str) -> str:
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise Problem(
            422, "InvalidField", f"{text!r} is no network such as 10.20.0.0/16.", field="allow"
        ) from error
    return str(network)


def _require_admin(user: Person) -> None:
    if not can_administer(user):
        raise Problem(403, "AdministratorsOnly", "Only administrators may do this.")
