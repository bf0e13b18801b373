"""Who makes this request, and what stands before a view.

`current_user` is the Person of the request (falsy when nobody is logged in), found on first use by
Bearer token or session cookie and read from its `users` row each time, so a disabled account ends
at the next request. `login_required` and `admin_required` go on page views; the API's operations
state who may call them in their declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import g, redirect, request, url_for
from werkzeug.local import LocalProxy

from webapp.auth import sessions, tokens
from webapp.auth.permissions import Person, can_administer
from webapp.errors import Problem, wants_json

View = TypeVar("View", bound=Callable[..., Any])


def find_user() -> Person | None:
    """The Person of this request, or None. Asks the database once a request."""
    if "person" not in g:
        bearer = tokens.bearer_of_request()
        g.by_token = bearer is not None
        g.person = tokens.find_person(bearer) if bearer is not None else sessions.find_person()
    return cast("Person | None", g.person)


current_user: Person = cast("Person", LocalProxy(find_user))


def require_user() -> Person:
    """The Person of this request; 401 where there is none."""
    person = find_user()
    if person is None:
        raise Problem(
            401,
            "NotLoggedIn",
            "Log in first, or send a valid token.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return person


def require_admin() -> Person:
    person = require_user()
    if not can_administer(person):
        raise Problem(403, "AdministratorsOnly", "Only administrators may do this.")
    return person


def login_required(view: View) -> View:
    """Sends who is not logged in to the page `login` and back afterwards."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if find_user() is None:
            if wants_json():
                require_user()
            return redirect(url_for("pages.login", next=request.full_path.rstrip("?")))
        return view(*args, **kwargs)

    return cast("View", guarded)


def admin_required(view: View) -> View:
    @wraps(view)
    @login_required
    def guarded(*args: Any, **kwargs: Any) -> Any:
        require_admin()
        return view(*args, **kwargs)

    return cast("View", guarded)
