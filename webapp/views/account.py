"""Login, logout and one's own account: plain forms that work without scripts."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from webapp.auth import sessions
from webapp.auth.guards import current_user, find_user, login_required
from webapp.errors import Problem
from webapp.services import users
from webapp.views.pages import blueprint

Answer = Response | str | tuple[str, int] | tuple[str, int, dict[str, str]]


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> Answer:
    target = safe_target(request.values.get("next", ""))
    if request.method == "GET":
        if find_user() is not None:
            return redirect(target)
        return render_template("login.html", next=target, name="", problem=None)
    name = request.form.get("name", "")
    try:
        person = users.authenticate(
            name, request.form.get("password", ""), request.remote_addr or ""
        )
    except Problem as problem:
        page = render_template("login.html", next=target, name=name, problem=problem)
        return page, problem.status, problem.headers
    sessions.log_in(person)
    return redirect(target, 303)


@blueprint.post("/logout")
def logout() -> Response:
    sessions.log_out()
    return redirect(url_for("pages.login"), 303)


@blueprint.route("/account", methods=["GET", "POST"])
@login_required
def account() -> Answer:
    if request.method == "GET":
        return _show_account(None, request.args.get("done") == "1")
    try:
        _change_password()
    except Problem as problem:
        return _show_account(problem, False), problem.status, problem.headers
    return redirect(url_for("pages.account", done=1), 303)


def safe_target(target: str) -> str:
    """A path of ours to go to after login; the desktops for anything else (no open redirect)."""
    home = url_for("pages.desktops")
    if not target.startswith("/") or target.startswith("//") or len(target) > 500:
        return home
    if any(character in target for character in "\\\r\n\t"):
        return home
    parts = urlsplit(target)
    return home if parts.scheme or parts.netloc or parts.path == "/login" else target


def _change_password() -> None:
    new = request.form.get("new_password", "")
    if new != request.form.get("again", ""):
        raise Problem(
            422, "PasswordsDiffer", "The two new passwords are not the same.", field="again"
        )
    person = users.change_password(
        current_user, request.form.get("current_password", ""), new, request.remote_addr or ""
    )
    sessions.log_in(person)


def _show_account(problem: Problem | None, done: bool) -> str:
    return render_template("account.html", problem=problem, done=done)
