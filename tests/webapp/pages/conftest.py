"""What tests of the pages share: clients that are logged in, and a real site for a real browser."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from jwcrypto.jwk import JWK
from playwright.sync_api import Browser, Page, Request, sync_playwright

from db import defaults, schema
from db.connection import Database, r
from db.settings import Settings
from tests.servers import ManagedProcess, free_port, wait_until
from tests.webapp.conftest import PASSWORDS, put_user
from tests.webapp.pages import rows

CHROMIUM = "/usr/bin/chromium"

TABLES = (
    "disks",
    "domains",
    "media",
    "uploads",
    "hypervisors",
    "thumbnails",
    "interests",
    "events",
    "engine",
    "orphans",
    "consoles",
    "domain_stats",
    "domain_windows",
    "hypervisor_windows",
    "tasks",
    "backups",
)
"""What tests of pages write to; people and defaults stay."""


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

    def start(self) -> None:
        """Start the process and wait until it serves pages."""
        self.process.start()

        def is_up() -> bool:
            assert self.process.is_running(), self.process.log_text()
            try:
                return requests.get(f"{self.url}/login", timeout=5).status_code == 200
            except requests.ConnectionError:
                return False

        wait_until(is_up, 30, "the site answers")

    def run(self, term: Any) -> Any:
        return self.database.run(term)

    def policy(self) -> str:
        """The content security policy that pages get now."""
        answer = requests.get(f"{self.url}/login", timeout=5)
        return answer.headers["Content-Security-Policy"]

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


@pytest.fixture(scope="session")
def served(
    reql_address: tuple[str, int], chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One site for all browser tests: starting it takes longer than most of them."""
    folder = tmp_path_factory.mktemp("site")
    environment = {
        "ISARD_DATA": str(folder / "data"),
        "ISARD_DB_HOST": reql_address[0],
        "ISARD_DB_PORT": str(reql_address[1]),
        "ISARD_DB_NAME": "test_" + uuid.uuid4().hex[:12],
        "ISARD_CATALOGUE_HTTP": "1",
        "ISARD_WEB_PORT": str(free_port()),
        "ISARD_VIEWER_PORT": str(free_port()),
    }
    settings = Settings.from_environment(environment)
    keys = settings.data / "secrets" / "tickets"
    keys.mkdir(parents=True)
    signing = JWK.generate(kty="EC", crv="P-256")
    (keys / "one.key.pem").write_bytes(signing.export_to_pem(private_key=True, password=None))
    database = Database(settings)
    schema.ensure(database)
    defaults.insert_missing(database)
    for name in ("ana", "root"):
        put_user(database, name, PASSWORDS[name])
    process = ManagedProcess([sys.executable, "-m", "webapp"], folder / "webapp.log", environment)
    site = Site(database, f"http://127.0.0.1:{settings.web_port}", process, chromium)
    site.start()
    yield site
    process.stop()
    database.run(r.db_drop(settings.db_name))
    database.close()


@pytest.fixture
def site(served: Site) -> Iterator[Site]:
    """The served site, without anything of the test before."""
    for table in TABLES:
        served.run(r.table(table).delete())
    served.run(r.table("config").get("updates").delete())
    for table in ("hypervisors_pools", "interfaces", "groups"):
        served.run(r.table(table).filter(r.row["id"].ne("default")).delete())
    if not served.process.is_running():
        served.start()
    yield served
    for context in served.browser.contexts:
        context.close()
