"""Login sessions: a cookie signed with this installation's key, worth nothing beyond it.

The cookie holds the user's id, the user's `sessions_epoch` at login and the CSRF token. Raising the
epoch (password change, disabling) ends every other session at its next request. The key lies in
`$ISARD_DATA/secrets/session.key`, so all webapps of an installation share it and a restart logs
nobody out. Used by guards, the login page and realtime.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask, request, session
from flask.sessions import SecureCookieSessionInterface

from db.errors import SettingsError
from db.queries import get_row
from webapp.auth.permissions import ROLES, Person
from webapp.extensions import database
from webapp.settings import WebSettings

KEY_BYTES = 32


class SessionInterface(SecureCookieSessionInterface):
    """Flask's signed cookie, `Secure` exactly where the request came by https."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def install(app: Flask, settings: WebSettings, key: bytes) -> None:
    app.secret_key = key
    app.session_interface = SessionInterface()
    app.config.update(
        SESSION_COOKIE_NAME=settings.cookie_name,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(seconds=settings.session_idle_s),
    )


def read_or_make_key(path: Path) -> bytes:
    """The signing key; made once, whoever comes first. Raises SettingsError for a damaged file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        with contextlib.suppress(FileExistsError):  # another process was faster: its key it is
            os.link(fresh, path)
        fresh.unlink()
    key = path.read_bytes()
    if len(key) < KEY_BYTES:
        raise SettingsError(f"{path} must hold at least {KEY_BYTES} bytes: remove it and restart.")
    return key


def log_in(person: Person) -> None:
    """Start a fresh session for this person: nothing from before the login stays."""
    session.clear()
    session.permanent = True
    session["user"] = person.id
    session["epoch"] = person.sessions_epoch


def log_out() -> None:
    session.clear()


def find_person() -> Person | None:
    """The Person of the session cookie, or None."""
    user_id = session.get("user")
    if not isinstance(user_id, str):
        return None
    person = read_person(user_id)
    return person if person and person.sessions_epoch == session.get("epoch") else None


def read_person(user_id: str) -> Person | None:
    """The Person of a `users` row; None where there is none or it is disabled."""
    row = get_row(database(), "users", user_id)
    return person_of_row(row) if row else None


def person_of_row(row: dict[str, Any]) -> Person | None:
    """None for a disabled account, or a row whose role is no role."""
    if row.get("enabled", True) is not True or row.get("role") not in ROLES:
        return None
    return Person(
        id=str(row["id"]),
        name=str(row.get("name") or row["id"]),
        role=str(row["role"]),
        group=str(row.get("group") or ""),
        category=str(row.get("category") or ""),
        sessions_epoch=int(row.get("sessions_epoch") or 0),
    )
