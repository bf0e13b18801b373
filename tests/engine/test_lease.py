"""One engine is active; the next takes over when the holder stands still, dies, or lets go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from db.connection import Database, r
from db.errors import Fenced
from db.lease import Sighting, observe
from engine.errors import Transient
from engine.lease import FRESH_S, TAKE_OVER_S, DataLock, Lease


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def after(polls: int) -> Callable[[], bool]:
    """A `stopped` that gives up after so many looks."""
    left = iter(range(polls))
    return lambda: next(left, None) is None


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_lease(database: Database, folder: Path, clock: Clock) -> Lease:
    return Lease(database, DataLock(folder / "engine.lock"), clock)


def test_the_first_engine_is_active_at_once(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    lease = make_lease(database, tmp_path, clock)
    assert lease.acquire(after(3), poll_s=0)
    row = database.run(r.table("engine").get("lease"))
    assert (row["holder"], row["epoch"]) == (lease.holder, 1)
    assert lease.is_held()


def test_a_second_engine_waits_while_the_counter_moves(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    first = make_lease(database, tmp_path / "a", clock)
    assert first.acquire(after(3), poll_s=0)
    second = make_lease(database, tmp_path / "b", clock)
    looks = 0

    def stopped() -> bool:
        nonlocal looks
        looks += 1
        clock.now += TAKE_OVER_S / 2
        first.renew()
        return looks > 10

    assert not second.acquire(stopped, poll_s=0)


def test_a_holder_that_stands_still_is_taken_over_and_fenced(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    first = make_lease(database, tmp_path / "a", clock)
    assert first.acquire(after(3), poll_s=0)
    second = make_lease(database, tmp_path / "b", clock)
    assert not second.acquire(after(3), poll_s=0)

    def stopped() -> bool:
        clock.now += TAKE_OVER_S / 2
        return clock.now > 1000 + 10 * TAKE_OVER_S

    assert second.acquire(stopped, poll_s=0)
    assert second.epoch == first.epoch + 1
    with pytest.raises(Fenced):
        first.check()
    with pytest.raises(Fenced):
        first.renew()
    second.check()


def test_a_dead_holder_on_the_same_data_folder_is_taken_over_at_once(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    lock = DataLock(tmp_path / "engine.lock")
    first = Lease(database, lock, clock)
    assert first.acquire(after(3), poll_s=0)
    second = make_lease(database, tmp_path, clock)
    assert not second.acquire(after(3), poll_s=0), "the holder lives: its lock is held"
    lock.close()  # as the end of its process does
    assert second.acquire(after(3), poll_s=0)


def test_a_lock_file_elsewhere_proves_nothing(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    lock = DataLock(tmp_path / "a" / "engine.lock")
    assert Lease(database, lock, clock).acquire(after(3), poll_s=0)
    lock.close()
    assert not make_lease(database, tmp_path / "b", clock).acquire(after(3), poll_s=0)


def test_a_released_lease_is_taken_without_waiting(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    first = make_lease(database, tmp_path / "a", clock)
    assert first.acquire(after(3), poll_s=0)
    first.release()
    assert make_lease(database, tmp_path / "b", clock).acquire(after(3), poll_s=0)
    with pytest.raises(Fenced):
        first.check()


def test_the_check_before_a_side_effect_asks_again_when_the_renewal_is_old(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    lease = make_lease(database, tmp_path, clock)
    assert lease.acquire(after(3), poll_s=0)
    before = database.run(r.table("engine").get("lease")["counter"])
    lease.check()
    assert database.run(r.table("engine").get("lease")["counter"]) == before
    clock.now += FRESH_S
    lease.check()
    assert database.run(r.table("engine").get("lease")["counter"]) == before + 1


def test_without_the_database_nothing_is_done_on_any_host(
    database: Database, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from tests.servers import free_port

    lease = make_lease(database, tmp_path, clock)
    assert lease.acquire(after(3), poll_s=0)
    away = Database(replace(database.settings, db_port=free_port()))
    monkeypatch.setattr(lease, "_database", away)
    clock.now += FRESH_S
    with pytest.raises(Transient) as refused:
        lease.check()
    assert refused.value.reason == "DatabaseUnavailable"


def test_a_mangled_lease_row_keeps_nobody_out(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    database.run(r.table("engine").insert({"id": "lease", "holder": 5, "epoch": "x"}))
    lease = make_lease(database, tmp_path, clock)

    def stopped() -> bool:
        clock.now += TAKE_OVER_S / 2
        return clock.now > 1000 + 10 * TAKE_OVER_S

    assert lease.acquire(stopped, poll_s=0)
    assert lease.epoch == 1


def test_standing_still_is_counted_from_the_last_movement() -> None:
    row = {"holder": "a", "epoch": 1, "counter": 7}
    first = observe(None, row, 10.0)
    assert observe(first, row, 20.0).since == 10.0
    moved = observe(first, {**row, "counter": 8}, 20.0)
    assert moved == Sighting("a", 1, 8, 20.0)
