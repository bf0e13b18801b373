"""The public keys of viewer tickets, as webapp has published them for hypervisors."""

from __future__ import annotations

import re
from collections.abc import Mapping

from db import queries
from db.connection import Database

TICKET_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
TICKET_KEY = re.compile(
    r"-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]{50,1000}-----END PUBLIC KEY-----\n?"
)


def read_ticket_keys(database: Database) -> dict[str, str]:
    """Key id -> PEM. What is no public key is left out. Raises DatabaseUnavailable."""
    row = queries.get_row(database, "config", "viewer_tickets") or {}
    keys = row.get("keys")
    return {
        key_id: pem
        for key_id, pem in (keys.items() if isinstance(keys, Mapping) else ())
        if TICKET_KEY_ID.fullmatch(key_id) and isinstance(pem, str) and TICKET_KEY.fullmatch(pem)
    }
