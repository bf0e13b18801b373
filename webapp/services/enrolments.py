"""Enrolments: hand a host's one-time password to the engine, sealed so that it alone can read it.

The password is in this process for the length of one call and in the database only as a sealed box,
for two minutes at most. Where no engine is at work nothing is written at all. What comes of it is
shown by the engine in the hypervisor's `observed.enrolment`; `order` there is what `give` returned.
Used by services.hypervisors and the command line.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from typing import Any

from nacl.public import PublicKey, SealedBox

from db import enrolments, queries
from db.connection import Database, r
from db.errors import Conflict
from db.rowcheck import FINGERPRINT
from webapp.errors import Problem
from webapp.services.health import LeaseWatch
from webapp.settings import WebSettings
from webapp.tidy import Row, as_text
from webapp.viewers import tickets

ENGINE_AWAY = (
    "The engine is not running, so nobody can log in to the host. Start it (docker-compose up -d, "
    "or make run) and try again. Nothing was changed."
)


def require_engine(database: Database, watch: LeaseWatch) -> Row:
    """The engine's published key. Raises Problem 503 where no engine is at work."""
    row = queries.get_row(database, "engine", "enrolment_key")
    if row is None or not watch.is_engine_at_work(database):
        raise Problem(503, "EngineNotRunning", ENGINE_AWAY)
    return row


def authorized_keys_line(database: Database) -> str:
    """What lets the engine in where it stands in a user's ~/.ssh/authorized_keys; empty while no
    engine has published it.
    """
    row = queries.get_row(database, "engine", "enrolment_key") or {}
    return as_text(row.get("ssh_key")) or ""


def give(
    database: Database,
    settings: WebSettings,
    engine_key: Row,
    hypervisor: Row,
    password: str,
    *,
    fingerprint: str | None,
    trust: str,
    by: str,
) -> str:
    """Seal the password for this hypervisor as its row is (or is about to be) and put the order.

    `trust`: `ask` or `first_use`, for a host key neither accepted nor named by its fingerprint.
    """
    publish_ticket_keys(database, settings)
    order = str(uuid.uuid4())
    content = {
        "hypervisor": hypervisor["id"],
        "hostname": hypervisor["hostname"],
        "port": hypervisor.get("port") or 22,
        "user": hypervisor.get("user") or "root",
        "password": password,
        "fingerprint": fingerprint,
        "trust": trust,
    }
    box = SealedBox(PublicKey(base64.b64decode(engine_key["public"])))
    enrolments.put(database, hypervisor["id"], box.encrypt(json.dumps(content).encode()), order, by)
    return order


def withdraw(database: Database, hypervisor_id: str) -> None:
    database.run(r.table(enrolments.TABLE).get(hypervisor_id).delete(durability="hard"))


def read_fingerprint(text: str | None) -> str | None:
    """`SHA256:…` out of what people paste, such as a whole line of ssh-keygen -l."""
    words = (text or "").split()
    if not words:
        return None
    found = [word for word in words if re.fullmatch(FINGERPRINT, word.rstrip("="))]
    if not found and re.fullmatch(FINGERPRINT, f"SHA256:{words[0]}"):
        found = [f"SHA256:{words[0]}"]
    if not found:
        sentence = (
            "This is no fingerprint of a host key: give it as ssh-keygen -lf shows it, "
            "SHA256: and 43 characters."
        )
        raise Problem(422, "InvalidField", sentence, field="fingerprint")
    return found[0].rstrip("=")


def publish_ticket_keys(database: Database, settings: WebSettings) -> None:
    """For hypervisors, which check viewers' tickets with them; the engine takes them there."""
    keys = tickets.public_keys(settings.ticket_keys_dir)
    if not keys:
        return
    row = {"id": "viewer_tickets", "keys": keys}
    if database.run(r.table("config").get(row["id"])) != row:
        database.run(r.table("config").insert(row, conflict="replace", durability="hard"))


def require_same_address(present: Row, hypervisor: Row) -> None:
    """Raises Conflict where the id belongs to another host."""
    keys: dict[str, Any] = {"hostname": None, "port": 22, "user": "root"}
    for key, default in keys.items():
        if (present.get(key) or default) != (hypervisor.get(key) or default):
            raise Conflict(
                "Exists",
                f"There is a hypervisor {present['id']!r} already, at "
                f"{present.get('hostname')} port {present.get('port') or 22}. Choose another name.",
            )
