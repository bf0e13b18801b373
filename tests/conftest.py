"""What every test may use: one ReQL server for the run, and a fresh database in it for each test.

With RETHINKDB_URL=host:port (a real RethinkDB) the same tests run against that server instead.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from playwright.sync_api import expect

from db import defaults, schema
from db.connection import Database, r
from db.settings import Settings
from tests.servers import EmbeddedServer

hypothesis_settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
hypothesis_settings.load_profile("project")

# How long a page may take to show what it will show: a machine may be busy with other work.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def reql_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """(host, port) of the run's ReQL server."""
    url = os.environ.get("RETHINKDB_URL")
    if url:
        host, _, port = url.removeprefix("rethinkdb://").partition(":")
        yield host, int(port or 28015)
        return
    server = EmbeddedServer(tmp_path_factory.mktemp("reql"))
    server.start()
    try:
        yield "127.0.0.1", server.port
    finally:
        server.stop()


@pytest.fixture
def settings(reql_address: tuple[str, int], tmp_path: Path) -> Settings:
    """Settings of an installation of its own: own database name, own data folder."""
    return Settings.from_environment(
        {
            "ISARD_DATA": str(tmp_path / "data"),
            "ISARD_DB_HOST": reql_address[0],
            "ISARD_DB_PORT": str(reql_address[1]),
            "ISARD_DB_NAME": "test_" + uuid.uuid4().hex[:12],
        }
    )


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A database with the product's schema and defaults, gone after the test."""
    handle = Database(settings)
    schema.ensure(handle)
    defaults.insert_missing(handle)
    yield handle
    handle.run(r.db_drop(settings.db_name))
    handle.close()
