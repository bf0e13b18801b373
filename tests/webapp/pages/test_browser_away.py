"""While the database is away pages say so kindly, and come back by themselves."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser, expect

from db import defaults, schema
from db.connection import Database
from db.settings import Settings
from tests.servers import EmbeddedServer, ManagedProcess, free_port
from tests.webapp.conftest import PASSWORDS, put_user
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site


def test_a_page_without_its_database_comes_back_with_it(chromium: Browser, tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "reql")
    server.start()
    environment = {
        "ISARD_DATA": str(tmp_path / "data"),
        "ISARD_DB_PORT": str(server.port),
        "ISARD_WEB_PORT": str(free_port()),
    }
    settings = Settings.from_environment(environment)
    database = Database(settings)
    schema.ensure(database)
    defaults.insert_missing(database)
    put_user(database, "ana", PASSWORDS["ana"])
    process = ManagedProcess([sys.executable, "-m", "webapp"], tmp_path / "webapp.log", environment)
    site = Site(database, f"http://127.0.0.1:{settings.web_port}", process, chromium)
    try:
        site.start()
        site.insert("domains", *rows.every_condition())
        page = site.log_in("ana")
        server.kill()
        site.open(page, "/account")
        expect(page.get_by_role("heading", name="The database is away")).to_be_visible()
        server.start()
        expect(page.get_by_role("heading", name="Account")).to_be_visible(timeout=60_000)
        page.context.close()
    finally:
        database.close()
        process.stop()
        server.stop()
