"""Logging in: sessions, tokens, passwords, CSRF and the limit on guessing."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient

from db.connection import Database, r
from tests.webapp.conftest import PASSWORDS, Api, Rows
from webapp.auth import throttle
from webapp.services import users


def post_token(client: FlaskClient, username: str, password: str, **more: Any) -> Any:
    body = {"username": username, "password": password}
    return client.post("/api/v1/tokens", json=body, **more)


def log_in(browser: FlaskClient, name: str, password: str | None = None) -> Any:
    form = {
        "name": name,
        "password": password or PASSWORDS[name],
        "csrf_token": read_csrf(browser, "/login"),
    }
    return browser.post("/login", data=form)


def read_csrf(browser: FlaskClient, path: str) -> str:
    page = browser.get(path).get_data(as_text=True)
    found = re.search(r'name="csrf[-_]token" (?:content|value)="([^"]+)"', page)
    assert found, page
    return found[1]


def test_a_right_login_gives_a_token_that_works_and_ends(app: Flask, database: Database) -> None:
    client = app.test_client(use_cookies=False)
    answer = post_token(client, "ana", PASSWORDS["ana"])
    assert answer.status_code == 200
    assert set(answer.json) == {"token", "expires_at"}
    bearer = {"Authorization": f"Bearer {answer.json['token']}"}
    assert client.get("/api/v1/me", headers=bearer).json["id"] == "ana"
    stored = database.run(r.table("api_tokens"))
    assert answer.json["token"] not in str(list(stored)), "the token itself is never stored"
    database.run(r.table("api_tokens").update({"expires_at": datetime.now(UTC)}))
    assert client.get("/api/v1/me", headers=bearer).status_code == 401


def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(app: Flask) -> None:
    client = app.test_client()
    wrong = post_token(client, "ana", "not it")
    unknown = post_token(client, "nobody", "not it")
    odd = post_token(client, "<b>\u2603'\"", "x" * 1000)
    assert wrong.status_code == unknown.status_code == odd.status_code == 401
    assert wrong.json == unknown.json == odd.json
    assert wrong.json["reason"] == "WrongLogin"
    assert wrong.content_type == "application/problem+json"


def test_a_disabled_account_is_out_at_once(app: Flask, ana: Api, database: Database) -> None:
    assert ana("GET", "/me").status_code == 200
    database.run(r.table("users").get("ana").update({"enabled": False}))
    assert ana("GET", "/me").status_code == 401
    assert post_token(app.test_client(), "ana", PASSWORDS["ana"]).status_code == 401


def test_nonsense_for_a_token_is_refused(app: Flask) -> None:
    client = app.test_client()
    for header in ("Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer " + "y" * 5000):
        answer = client.get("/api/v1/me", headers={"Authorization": header})
        assert (answer.status_code, answer.json["reason"]) == (401, "NotLoggedIn"), header


def test_a_token_can_be_revoked(ana: Api) -> None:
    assert ana("DELETE", "/tokens").status_code == 204
    assert ana("GET", "/me").status_code == 401


def test_a_browser_logs_in_and_its_cookie_is_kept_from_scripts(browser: FlaskClient) -> None:
    assert browser.get("/desktops").status_code == 302
    answer = log_in(browser, "ana")
    assert answer.status_code in (302, 303)
    cookie = next(value for key, value in answer.headers if key == "Set-Cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie, "plain http on the loopback"
    assert browser.get("/api/v1/me").json["id"] == "ana"


def test_the_cookie_is_secure_behind_https(app: Flask) -> None:
    answer = app.test_client().get("/login", base_url="https://desktops.example")
    cookies = [value for key, value in answer.headers if key == "Set-Cookie"]
    assert cookies
    assert all("Secure" in cookie for cookie in cookies)


def test_a_cookie_that_was_tampered_with_is_nobody(app: Flask, browser: FlaskClient) -> None:
    log_in(browser, "ana")
    name = app.config["SESSION_COOKIE_NAME"]
    cookie = browser.get_cookie(name)
    assert cookie is not None
    browser.set_cookie(name, "x" + cookie.value)
    assert browser.get("/api/v1/me").status_code == 401


def test_unsafe_requests_on_a_cookie_need_the_csrf_token(browser: FlaskClient, rows: Rows) -> None:
    log_in(browser, "ana")
    desktop = rows.desktop("ana")
    path = f"/api/v1/desktops/{desktop['id']}"
    refused = browser.delete(path)
    assert (refused.status_code, refused.json["reason"]) == (403, "CsrfFailed")
    wrong = browser.delete(path, headers={"X-CSRF-Token": "x" * 43})
    assert wrong.status_code == 403
    assert rows.get(desktop["id"])["desired"]["state"] == "stopped", "nothing changed"
    token = read_csrf(browser, "/desktops")
    foreign = {"X-CSRF-Token": token, "Sec-Fetch-Site": "cross-site"}
    assert browser.delete(path, headers=foreign).status_code == 403
    assert browser.delete(path, headers={"X-CSRF-Token": token}).status_code == 202


def test_a_login_form_from_elsewhere_is_refused(browser: FlaskClient) -> None:
    form = {"name": "ana", "password": PASSWORDS["ana"]}
    assert browser.post("/login", data=form).status_code == 403
    assert browser.get("/api/v1/me").status_code == 401


def test_the_csrf_token_of_before_the_login_is_worth_nothing_after(browser: FlaskClient) -> None:
    before = read_csrf(browser, "/login")
    log_in(browser, "ana")
    answer = browser.delete("/api/v1/tokens", headers={"X-CSRF-Token": before})
    assert answer.status_code == 403


def test_a_password_change_ends_other_sessions_and_tokens_but_not_this_one(
    app: Flask, browser: FlaskClient, ana: Api
) -> None:
    other = app.test_client()
    log_in(browser, "ana")
    log_in(other, "ana")
    token = read_csrf(browser, "/desktops")
    body = {"current_password": PASSWORDS["ana"], "new_password": "another long password"}
    changed = browser.post("/api/v1/me/password", json=body, headers={"X-CSRF-Token": token})
    assert changed.status_code == 204
    assert browser.get("/api/v1/me").status_code == 200
    assert other.get("/api/v1/me").status_code == 401
    assert ana("GET", "/me").status_code == 401
    fresh = app.test_client()
    assert post_token(fresh, "ana", PASSWORDS["ana"]).status_code == 401
    assert post_token(fresh, "ana", "another long password").status_code == 200
    new_csrf = changed.headers["X-CSRF-Token"]
    again = browser.post("/api/v1/me/password", json=body, headers={"X-CSRF-Token": new_csrf})
    assert (again.status_code, again.json["reason"]) == (422, "WrongPassword")


def test_a_weak_new_password_is_refused_with_its_field(ana: Api) -> None:
    for weak in ("short", "x" * 1025, ""):
        body = {"current_password": PASSWORDS["ana"], "new_password": weak}
        answer = ana("POST", "/me/password", body)
        assert (answer.status_code, answer.json["field"]) == (422, "new_password"), weak


def test_a_hash_with_older_parameters_is_made_anew_at_login(app: Flask, database: Database) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8 * 1024).hash(PASSWORDS["ana"])
    database.run(r.table("credentials").get("ana").update({"argon2": old}))
    assert post_token(app.test_client(), "ana", PASSWORDS["ana"]).status_code == 200
    fresh = database.run(r.table("credentials").get("ana"))["argon2"]
    assert fresh != old
    assert fresh.startswith("$argon2id$")
    assert post_token(app.test_client(), "ana", PASSWORDS["ana"]).status_code == 200


def test_guessing_is_slowed_down_for_that_name_and_address_alone(app: Flask) -> None:
    client = app.test_client()
    for _ in range(throttle.LIMITS["pair"]):
        assert post_token(client, "ana", "guess").status_code == 401
    refused = post_token(client, "ana", PASSWORDS["ana"])
    assert (refused.status_code, refused.json["reason"]) == (429, "TooManyLogins")
    assert 0 < int(refused.headers["Retry-After"]) <= throttle.WINDOW_S + 1
    assert post_token(client, "ben", PASSWORDS["ben"]).status_code == 200
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    right = post_token(client, "ana", PASSWORDS["ana"], environ_base=elsewhere)
    assert right.status_code == 200


def test_the_limit_is_over_when_the_failures_have_left_the_window(
    app: Flask, database: Database
) -> None:
    client = app.test_client()
    for _ in range(throttle.LIMITS["pair"]):
        post_token(client, "ana", "guess")
    long_ago = datetime.now(UTC) - timedelta(seconds=throttle.WINDOW_S + 1)
    database.run(r.table("events").update({"at": long_ago}))
    assert post_token(client, "ana", PASSWORDS["ana"]).status_code == 200


def test_a_flood_of_guesses_at_once_does_not_slip_through(app: Flask, database: Database) -> None:
    answers: list[int] = []

    def guess() -> None:
        answers.append(post_token(app.test_client(), "ana", "guess").status_code)

    most = throttle.LIMITS["pair"] * throttle.UNDER_WAY
    threads = [threading.Thread(target=guess) for _ in range(most + 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == most + 10
    assert answers.count(401) <= most
    assert 429 in answers


def test_the_audit_says_who_failed_but_never_what_was_typed(app: Flask, database: Database) -> None:
    client = app.test_client()
    post_token(client, "ana", "her secret typed wrongly")
    post_token(client, "ana's long password", "typed into the wrong field")
    post_token(client, "ana", PASSWORDS["ana"])
    events = database.run(r.table("events").order_by("at"))
    assert [event["what"] for event in events] == ["login.failed", "login.failed", "login.ok"]
    assert [event["target"] for event in events] == ["user/ana", "login", "user/ana"]
    for secret in ("her secret", "long password", "wrong field"):
        assert secret not in str(events)


def test_names_are_found_whatever_their_case_and_blanks(app: Flask) -> None:
    assert post_token(app.test_client(), " Ana ", PASSWORDS["ana"]).status_code == 200


def test_checking_an_unknown_name_does_the_same_work(app: Flask, database: Database) -> None:
    """Not timed: the hash of nobody is verified, with the same parameters as everybody's."""
    from webapp.auth import passwords

    stored = database.run(r.table("credentials").get("ana"))["argon2"]
    nobody = passwords._hash_of_nobody()
    assert nobody.rsplit("$", 2)[0] == stored.rsplit("$", 2)[0]
    assert passwords.is_right(database, "", "nobody has this password") is False


def test_a_reset_password_ends_sessions(app: Flask, ana: Api, database: Database) -> None:
    users.reset_password(database, "ana", "given by the administrator")
    assert ana("GET", "/me").status_code == 401
    answer = post_token(app.test_client(), "ana", "given by the administrator")
    assert answer.status_code == 200
    assert answer.json["expires_at"] > time.strftime("%Y")
