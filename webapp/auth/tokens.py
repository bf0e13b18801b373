"""Bearer tokens for scripts: random, shown once, kept only as their SHA-256.

A token carries its owner's `sessions_epoch`, so a password change ends tokens as it ends sessions.
Used by guards (every API request with `Authorization: Bearer`), the API's login and realtime.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from flask import request

from db.connection import r
from db.queries import get_row
from webapp.auth.permissions import Person
from webapp.auth.sessions import read_person
from webapp.extensions import backend, database

TOKEN_MAX = 200


def bearer_of_request() -> str | None:
    """The token sent, "" for a malformed header, None where no Bearer header is there."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    kind, _, token = header.partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def issue(person: Person, name: str = "") -> tuple[str, datetime]:
    """A new token and when it ends."""
    token = secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    expires_at = now + timedelta(seconds=backend().settings.token_life_s)
    row = {
        "id": _hash(token),
        "user": person.id,
        "name": name,
        "sessions_epoch": person.sessions_epoch,
        "created_at": now,
        "expires_at": expires_at,
    }
    database().run(r.table("api_tokens").insert(row, durability="hard"))
    expired = r.row["expires_at"].lt(r.now())
    database().run(r.table("api_tokens").get_all(person.id, index="user").filter(expired).delete())
    return token, expires_at


def revoke(token: str) -> None:
    database().run(r.table("api_tokens").get(_hash(token)).delete(durability="hard"))


def find_person(token: str) -> Person | None:
    """The Person this token speaks for; None where it is unknown, over or ended."""
    if not token or len(token) > TOKEN_MAX:
        return None
    row = get_row(database(), "api_tokens", _hash(token))
    if row is None or row["expires_at"] <= datetime.now(UTC):
        return None
    person = read_person(row["user"])
    return person if person and person.sessions_epoch == row["sessions_epoch"] else None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
