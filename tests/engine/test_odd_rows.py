"""Rows as a broken script leaves them: the feeds go on, and the engine with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from db.connection import Database, r
from db.states import Condition, Reason, condition_of
from engine.decisions import decide
from engine.sight import Facts
from engine.supervisor import Supervisor
from engine.watcher import TABLES, Watcher
from engine.workqueue import Topics, WorkQueue
from tests.servers import wait_until

ODD = [{}, [], {"a": 1}, ["NoCapacity"], 7, None, True]
WAIT_S = 40.0


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    running = Supervisor(lambda: None)
    yield running
    assert running.stop(running.names(), WAIT_S) == []


def watch(database: Database, supervisor: Supervisor) -> Watcher:
    """As the engine does it: every table in a loop of its own."""
    queue = WorkQueue()
    watcher = Watcher(database, queue, Topics(queue.add))
    for name, loop in watcher.loops().items():
        supervisor.start(name, loop)
    return watcher


def odd_rows() -> dict[str, list[dict[str, Any]]]:
    wish = {"state": "started"}
    tasks = [
        {"id": f"task {at}", "target": "d", "observed": {"state": odd}}
        for at, odd in enumerate(ODD)
    ]
    domains = [
        {"id": f"domain {at}", "kind": "desktop", "desired": wish, "observed": {"reason": odd}}
        for at, odd in enumerate(ODD)
    ]
    return {"tasks": tasks, "domains": domains}


def test_an_odd_row_breaks_no_feed(database: Database, supervisor: Supervisor) -> None:
    """Found at the start, and come later: every other row is kept, old and new."""
    for table, rows in odd_rows().items():
        database.run(r.table(table).insert(rows))
    watcher = watch(database, supervisor)
    assert watcher.wait_synced(WAIT_S)
    kept = {f"domain {at}" for at in range(len(ODD))}
    assert set(watcher.domains.ids()) == kept
    assert set(watcher.tasks.open_on("d")) == {f"task {at}" for at in range(len(ODD))}
    for table in ("domains", "tasks"):
        database.run(r.table(table).insert({"id": "new"}))
    wait_until(lambda: watcher.domains.get("new") and watcher.tasks.get("new"), WAIT_S, "the new")
    assert all(tick["restarts"] == 0 for tick in supervisor.ticks().values())


def test_a_row_that_cannot_be_kept_is_passed_over(
    database: Database, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is that nobody has foreseen."""

    def put(watcher: Watcher, row: dict[str, Any], listed: bool) -> None:
        watcher.interests.put({"id": row["must_be_there"]})

    monkeypatch.setitem(TABLES, "interests", (put, TABLES["interests"][1]))
    rows = [{"id": name, "must_be_there": name} for name in "abyz"]
    interests = r.table("interests")
    database.run(interests.insert([*rows[:2], {"id": "odd"}]))
    watcher = watch(database, supervisor)
    assert watcher.wait_synced(WAIT_S)
    database.run(interests.insert({"id": "odd as well"}))
    database.run(interests.insert(rows[2:]))
    wait_until(lambda: len(watcher.interests.all()) == 4, WAIT_S, "all that can be kept")
    assert supervisor.ticks()["feed-interests"]["restarts"] == 0


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_reason_is_no_reason(odd: Any) -> None:
    """The row is decided about, and shown, as if there was none."""
    row = {
        "id": "d",
        "kind": "desktop",
        "desired": {"state": "stopped"},
        "observed": {"state": "stopped", "reason": odd},
    }
    assert decide(row, Facts(has_disks=True), datetime.now(UTC)).sight.reason is None
    assert condition_of({**row, "desired": {"state": "started"}}) is Condition.STARTING
    waiting = {"state": "stopped", "reason": Reason.NO_CAPACITY.value}
    assert condition_of({**row, "desired": {"state": "started"}, "observed": waiting}) is (
        Condition.WAITING
    )
