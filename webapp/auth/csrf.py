"""Unsafe requests that rest on the session cookie must prove that our own page made them.

The proof is a random token in the session, sent back in the header X-CSRF-Token (scripts of our
pages) or the form field `csrf_token`. A request with a Bearer token needs none: no browser adds
that header by itself. Checked before every request, so no view can forget it.
"""

from __future__ import annotations

import hmac
import secrets

from flask import Flask, request, session

from webapp.auth import tokens
from webapp.errors import Problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
EXEMPT = frozenset({("POST", "/api/v1/tokens")})
"""Logs in by name and password in the body and reads no cookie."""
BY_TICKET = frozenset({"pages.take_delivery"})
"""For disk hosts, which show a ticket: no cookie is read."""


def install(app: Flask) -> None:
    app.before_request(check_request)
    app.jinja_env.globals["csrf_token"] = csrf_token


def csrf_token() -> str:
    """The token of this session, made on first use. Templates call it."""
    token = session.get("csrf")
    if not isinstance(token, str):
        token = session["csrf"] = secrets.token_urlsafe(32)
    return token


def check_request() -> None:
    if request.method in SAFE_METHODS or (request.method, request.path) in EXEMPT:
        return
    if request.endpoint in BY_TICKET:
        return
    if tokens.bearer_of_request() is not None:
        return
    if request.path.startswith("/api/") and "user" not in session:
        return  # nobody is logged in by cookie: the operation itself answers 401
    if request.headers.get("Sec-Fetch-Site") == "cross-site" or not _is_proven():
        raise Problem(
            403,
            "CsrfFailed",
            "This form is too old or was not ours. Reload the page and try again.",
        )


def _is_proven() -> bool:
    expected = session.get("csrf")
    sent = request.headers.get("X-CSRF-Token") or (
        "" if request.is_json else request.form.get("csrf_token", "")
    )
    return isinstance(expected, str) and hmac.compare_digest(expected.encode(), sent.encode())
