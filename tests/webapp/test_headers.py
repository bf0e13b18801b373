"""What every answer carries, and the log line about it."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from db.connection import Database
from tests.webapp.conftest import Rows
from tests.webapp.test_login import log_in
from webapp import create_app
from webapp.settings import WebSettings
from webapp.viewers import origins


def policy_of(answer: Any) -> dict[str, list[str]]:
    parts = answer.headers["Content-Security-Policy"].split(";")
    words = [part.split() for part in parts]
    return {word[0]: word[1:] for word in words}


def test_every_answer_carries_the_security_headers(app: Flask) -> None:
    client = app.test_client()
    for path in ("/login", "/api/v1/me", "/healthz", "/nowhere", "/static/logo.svg"):
        answer = client.get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert answer.headers["Referrer-Policy"] == "no-referrer", path
        policy = policy_of(answer)
        assert policy["script-src"] == ["'self'"], path
        assert policy["frame-ancestors"] == ["'none'"], path
        assert "'unsafe-inline'" not in str(policy), path
        answer.close()
    assert client.get("/login").headers["Cache-Control"] == "no-store"


def test_pages_may_connect_to_the_viewer_proxies_only(app: Flask, rows: Rows) -> None:
    rows.hypervisor("host-a", viewer={"hostname": None, "port": 6090})
    rows.hypervisor("host-b", viewer={"hostname": "v.example", "port": 443})
    rows.hypervisor("host-c", viewer={"hostname": "x; script-src *", "port": 1})
    answer = app.test_client().get("/login", base_url="http://pc7.example:8080")
    assert policy_of(answer)["connect-src"] == [
        "'self'",
        "ws://pc7.example:8080",
        "ws://pc7.example:1",
        "ws://pc7.example:6090",
        "ws://v.example:443",
    ]
    secure = app.test_client().get("/login", base_url="https://pc7.example")
    assert "wss://pc7.example:6090" in policy_of(secure)["connect-src"]


def test_a_host_header_full_of_nonsense_gets_into_no_header(app: Flask) -> None:
    answer = app.test_client().get("/login", headers={"Host": "a;script-src *"})
    assert policy_of(answer)["script-src"] == ["'self'"]
    with app.test_request_context(headers={"Host": "a b"}):
        assert origins.host_of_request() == "127.0.0.1"


def test_errors_of_pages_are_pages(browser: FlaskClient) -> None:
    answer = browser.get("/nowhere")
    assert answer.status_code == 404
    assert answer.mimetype == "text/html"


def test_a_defect_is_a_page_that_names_its_line_in_the_log(
    web_settings: WebSettings, database: Database, capfd: Any
) -> None:
    app = create_app(web_settings, database)
    app.add_url_rule("/defect", view_func=lambda: str(1 // 0))
    answer = app.test_client().get("/defect")
    assert answer.status_code == 500
    assert "Something went wrong here" in answer.text
    assert "css/gate.css" in answer.text
    number = answer.text.partition("under ")[2].partition(".")[0]
    log = "".join(capfd.readouterr())
    assert f"request_id={number}" in log
    assert "ZeroDivisionError" in log
    assert "ZeroDivisionError" not in answer.text


def test_a_host_that_was_just_added_can_be_viewed(
    app: Flask, browser: FlaskClient, rows: Rows
) -> None:
    """The list of proxies is kept for seconds, but the viewer's page reads it anew."""
    log_in(browser, "ana")
    page = f"/desktops/{rows.desktop(user='ana')['id']}/viewer"
    assert browser.get(page).status_code == 200
    rows.hypervisor("late", viewer={"hostname": "late.example", "port": 6443})
    assert "ws://late.example:6443" in policy_of(browser.get(page))["connect-src"]


def test_a_too_large_form_is_refused(browser: FlaskClient) -> None:
    answer = browser.post("/login", data={"name": "x" * 100_000, "csrf_token": "x"})
    assert answer.status_code == 413


def test_proxies_are_believed_only_when_told_to(
    app: Flask, web_settings: WebSettings, database: Database
) -> None:
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "d.example"}
    cookie = app.test_client().get("/login", headers=told).headers["Set-Cookie"]
    assert "Secure" not in cookie
    behind = create_app(WebSettings(kernel=web_settings.kernel, trusted_proxies=1), database)
    answer = behind.test_client().get("/login", headers=told)
    assert "Secure" in answer.headers["Set-Cookie"]
    assert "wss://d.example" in policy_of(answer)["connect-src"]


def test_the_log_has_a_line_for_each_request_without_its_query(app: Flask, capfd: Any) -> None:
    app.test_client().get("/api/v1/me?token=secret-in-a-query")
    line = "".join(capfd.readouterr())
    assert "path=/api/v1/me" in line
    assert "status=401" in line
    assert "secret-in-a-query" not in line
