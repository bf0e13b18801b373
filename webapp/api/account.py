"""Tokens for scripts, and one's own account."""

from __future__ import annotations

from typing import Any

from flask import Response, g, request

from webapp import payloads
from webapp.api.answers import Me, Token
from webapp.api.operations import operation
from webapp.api.requests import ChangePassword, Login
from webapp.auth import csrf, sessions, tokens
from webapp.auth.permissions import Person
from webapp.errors import Problem
from webapp.services import users
from webapp.tidy import as_iso


@operation(
    "POST",
    "/tokens",
    tag="Account",
    summary="Log in and get a token",
    who="anyone",
    body=Login,
    answer=Token,
    refusals=(401, 429),
)
def create_token(body: Login) -> dict[str, Any]:
    """Send it with every request as `Authorization: Bearer <token>`. It ends at `expires_at`, at a
    password change, or when it is revoked.
    """
    person = users.authenticate(body.username, body.password, request.remote_addr or "")
    token, expires_at = tokens.issue(person)
    return {"token": token, "expires_at": as_iso(expires_at)}


@operation(
    "DELETE", "/tokens", tag="Account", summary="Revoke the token of this request", status=204
)
def revoke_token(user: Person) -> None:
    """A request that rests on a session cookie has no token: 409."""
    bearer = tokens.bearer_of_request()
    if not bearer:
        raise Problem(409, "NoToken", "This request was not made with a token.")
    tokens.revoke(bearer)


@operation("GET", "/me", tag="Account", summary="Who I am", answer=Me)
def get_me(user: Person) -> dict[str, Any]:
    return payloads.me(user)


@operation(
    "POST",
    "/me/password",
    tag="Account",
    summary="Change my password",
    body=ChangePassword,
    status=204,
    refusals=(429,),
)
def change_password(user: Person, body: ChangePassword) -> Response:
    """Ends all my other sessions, and all tokens. The session that asked goes on."""
    person = users.change_password(
        user, body.current_password, body.new_password, request.remote_addr or ""
    )
    if not g.by_token:
        sessions.log_in(person)
        # The page goes on with a new CSRF token, which it reads from this header.
        return Response(status=204, headers={"X-CSRF-Token": csrf.csrf_token()})
    return Response(status=204)
