"""What tests of the pages share: clients that are logged in, and a real site for a real browser."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from db.connection import Database, r
from db.settings import Settings
from tests.servers import ManagedProcess, free_port, wait_until
from tests.webapp.conftest import PASSWORDS
from tests.webapp.pages import rows
from webapp.services import users

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture
def page_of(app: Flask) -> Callable[[str], FlaskClient]:
    """A client with the session cookie of a user."""

    def make(user_id: str) -> FlaskClient:
        client = app.test_client()
        with client.session_transaction() as session:
            session["user"], session["epoch"] = user_id, 1
        return client

    return make


@pytest.fixture
def insert(database: Database) -> Callable[..., None]:
    """Write rows straight into a table, as a script or the engine would."""

    def write(table: str, *items: dict[str, Any]) -> None:
        database.run(r.table(table).insert(list(items), conflict="replace"))

    return write


@pytest.fixture
def showroom(insert: Callable[..., None]) -> list[dict[str, Any]]:
    """ana's desktops in every condition, a template, two hypervisors."""
    desktops = rows.every_condition()
    insert("domains", *desktops, rows.template("Office"))
    insert("hypervisors", rows.hypervisor("hyper-1"), rows.hypervisor_with_new_key("hyper-2"))
    return desktops


@dataclass
class Site:
    """The web side as a process of its own, over this test's database."""

    database: Database
    url: str
    process: ManagedProcess
    browser: Browser

    def run(self, term: Any) -> Any:
        return self.database.run(term)

    def insert(self, table: str, *items: dict[str, Any]) -> None:
        self.run(r.table(table).insert(list(items), conflict="replace"))

    def observe(self, desktop_id: str, **observed: Any) -> None:
        """Write `observed` whole, as the engine does."""
        self.run(r.table("domains").get(desktop_id).update({"observed": r.literal(observed)}))

    def log_in(self, user_id: str, **options: Any) -> Page:
        """A page of a fresh browser, logged in through the form; it shows the desktops, live."""
        context = self.browser.new_context(**{"locale": "en-GB", **options})
        context.set_default_timeout(20_000)
        page = context.new_page()
        open_page(page, f"{self.url}/login")
        page.fill("#name", user_id)
        page.fill("#password", PASSWORDS[user_id])
        page.click("button[type=submit]")
        page.wait_for_url("**/desktops")
        wait_live(page)
        return page

    def open(self, page: Page, path: str) -> None:
        open_page(page, self.url + path)


def open_page(page: Page, url: str) -> None:
    """Go there. A machine whose network interfaces come and go (other tests start guests) makes
    Chromium drop requests with ERR_NETWORK_CHANGED: then, and only then, the page is loaded again.
    """
    dropped: list[str] = []

    def note(request: Request) -> None:
        if request.failure and "NETWORK_CHANGED" in request.failure:
            dropped.append(request.url)

    page.on("requestfailed", note)
    for _ in range(5):
        dropped.clear()
        page.goto(url, wait_until="load")
        if not dropped:
            break
    page.remove_listener("requestfailed", note)
    assert not dropped, f"the network kept changing while {url} was loading"


def wait_live(page: Page) -> None:
    page.wait_for_selector("html[data-live=on]", state="attached")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def site(
    settings: Settings, database: Database, chromium: Browser, tmp_path: Path
) -> Iterator[Site]:
    """A served site with ana and root. Everything the browser complains of fails the test."""
    for name in ("ana", "root"):
        users.add_user(database, name, "admin" if name == "root" else "user", PASSWORDS[name])
    port = free_port()
    process = ManagedProcess(
        [sys.executable, "-m", "webapp"],
        tmp_path / "webapp.log",
        {
            "ISARD_DATA": str(settings.data),
            "ISARD_DB_HOST": settings.db_host,
            "ISARD_DB_PORT": str(settings.db_port),
            "ISARD_DB_NAME": settings.db_name,
            "ISARD_WEB_PORT": str(port),
        },
    )
    process.start()
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        assert process.is_running(), process.log_text()
        try:
            return requests.get(f"{url}/login", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    wait_until(is_up, 30, "the site answers")
    before = set(chromium.contexts)
    yield Site(database, url, process, chromium)
    for context in set(chromium.contexts) - before:
        close_context(context)
    process.stop()


def close_context(context: BrowserContext) -> None:
    context.close()
