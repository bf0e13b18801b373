"""/healthz: what is missing, and that only a moving counter counts as an engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask

from db.connection import Database, r
from db.settings import Settings
from tests.servers import free_port
from tests.webapp.conftest import Rows
from webapp import create_app
from webapp.services.health import FRESH_S, LeaseWatch
from webapp.settings import WebSettings


@contextmanager
def engine_at_work(database: Database) -> Iterator[None]:
    """Renews the lease as an engine does."""
    begun, ended = threading.Event(), threading.Event()

    def renew() -> None:
        counter = 0
        while not ended.wait(0.05):
            counter += 1
            row = {"id": "lease", "holder": "e1", "epoch": 1, "counter": counter, "at": r.now()}
            database.run(r.table("engine").insert(row, conflict="replace"))
            begun.set()

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        assert begun.wait(20)
        yield
    finally:
        ended.set()
        thread.join()


def ask(app: Flask) -> tuple[int, Any]:
    answer = app.test_client().get("/healthz")
    return answer.status_code, answer.json


def test_it_names_what_is_missing_until_nothing_is(
    app: Flask, database: Database, rows: Rows
) -> None:
    assert ask(app) == (503, {"status": "unavailable", "missing": ["engine", "hypervisor"]})
    with engine_at_work(database):
        assert ask(app) == (503, {"status": "unavailable", "missing": ["hypervisor"]})
        rows.hypervisor()
        rows.observe("host-a", "hypervisors", state="connecting")
        assert ask(app)[0] == 503
        rows.observe("host-a", "hypervisors", state="online")
        assert ask(app) == (200, {"status": "ok", "missing": []})


def test_without_a_database_it_says_so(settings: Settings) -> None:
    dead = {"ISARD_DATA": str(settings.data), "ISARD_DB_PORT": str(free_port())}
    web = WebSettings.from_environment(dead)
    app = create_app(web, Database(web.kernel))
    assert ask(app) == (503, {"status": "unavailable", "missing": ["database"]})
    answer = app.test_client().get("/api/v1/me", headers={"Authorization": "Bearer " + "x" * 43})
    assert (answer.status_code, answer.json["reason"]) == (503, "DatabaseUnavailable")


def lease(counter: int, holder: str = "e1") -> dict[str, Any]:
    return {"id": "lease", "holder": holder, "epoch": 1, "counter": counter}


def test_a_counter_that_stands_still_is_no_engine() -> None:
    watch = LeaseWatch()
    assert not watch.look(lease(5), 0), "one look tells nothing: it may be a dead engine's row"
    assert not watch.look(lease(5), 100)
    assert watch.look(lease(6), 101)
    assert watch.look(lease(6), 101 + FRESH_S - 1)
    assert not watch.look(lease(6), 101 + FRESH_S)
    assert watch.look(lease(1, "e2"), 200), "another engine took over"
    assert not watch.look(None, 201)
