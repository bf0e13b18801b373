"""Who is served first where there is not room for all, and that nobody waits for ever."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from db.states import Reason
from engine.cache import Domains
from engine.capacity import HostRoom, Request
from engine.placement import Placed, Refused
from engine.room import Room
from engine.turns import PATIENCE, Waiting, take_turn

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


def host(name: str = "a", *, free: int, **more: Any) -> HostRoom:
    """Of 10,000 MiB for desktops, so many free."""
    values: dict[str, Any] = {
        "id": name,
        "pools": frozenset({"default"}),
        "problem": None,
        "memory_mib": 20_000,
        "max_memory_mib": 10_000,
        "used_memory_mib": 10_000 - free,
    }
    return HostRoom(**{**values, **more})


def ask(memory_mib: int, **more: Any) -> Request:
    return Request(pool="default", memory_mib=memory_mib, vcpus=1, **more)


def waiting(memory_mib: int, seconds: float = 10, **more: Any) -> Waiting:
    return Waiting(f"w{seconds}", ask(memory_mib, **more), NOW - timedelta(seconds=seconds))


def test_what_is_free_is_for_who_has_waited_longer() -> None:
    answer = take_turn(ask(1000), [waiting(1000)], [host(free=1500)], NOW)
    assert isinstance(answer, Refused)
    assert answer.reason is Reason.NO_CAPACITY
    assert "waited longer" in answer.message


def test_with_room_for_both_both_are_placed() -> None:
    assert take_turn(ask(1000), [waiting(1000)], [host(free=2000)], NOW) == Placed("a")
    two = [host("a", free=1000), host("b", free=1200)]
    assert take_turn(ask(1000), [waiting(1000)], two, NOW) == Placed("a")


def test_a_large_one_that_does_not_fit_yet_holds_up_nobody_at_first() -> None:
    assert take_turn(ask(1000), [waiting(5000)], [host(free=1500)], NOW) == Placed("a")


def test_a_large_one_is_not_overtaken_for_ever() -> None:
    patient = waiting(5000, PATIENCE.total_seconds())
    answer = take_turn(ask(1000), [patient], [host(free=1500)], NOW)
    assert isinstance(answer, Refused)
    assert answer.reason is Reason.NO_CAPACITY
    # Only where it is nearest to fitting; elsewhere others start as before.
    two = [host("a", free=1500), host("b", free=1200)]
    assert take_turn(ask(1000), [patient], two, NOW) == Placed("b")


def test_only_one_host_is_kept_at_a_time() -> None:
    crowd = [waiting(5000, PATIENCE.total_seconds() + at) for at in range(3)]
    two = [host("a", free=1500), host("b", free=1200)]
    assert take_turn(ask(1000), crowd, two, NOW) == Placed("b")


def test_nothing_is_kept_for_what_can_never_run() -> None:
    giant = waiting(50_000, 3600)
    assert take_turn(ask(1000), [giant], [host(free=1500)], NOW) == Placed("a")
    elsewhere = waiting(5000, 3600, forced="z")
    assert take_turn(ask(1000), [elsewhere], [host(free=1500)], NOW) == Placed("a")


def test_a_start_that_has_begun_does_not_queue_again() -> None:
    answer = take_turn(ask(1000, current="a"), [waiting(1000)], [host(free=1000)], NOW)
    assert answer == Placed("a")


@given(st.lists(st.integers(100, 9000), min_size=1, max_size=12), st.integers(0, 9000))
def test_everybody_is_served_in_the_end_however_they_come(sizes: list[int], used: int) -> None:
    """Desktops stop one by one and small ones keep coming: the longest waiting is served while
    the newcomers are not without end.
    """
    queue = [
        Waiting(f"w{at}", ask(size), NOW + timedelta(seconds=at)) for at, size in enumerate(sizes)
    ]
    now = NOW + PATIENCE + timedelta(seconds=60)
    room = host(free=10_000 - used)
    newcomer = ask(100)
    first = queue[0]
    for _ in range(200):
        if isinstance(take_turn(newcomer, queue, [room], now), Placed):
            room = room.with_one_more(newcomer)
        if isinstance(take_turn(first.request, [], [room], now), Placed):
            return
        room = replace(room, used_memory_mib=max(0, room.used_memory_mib - 100))
    raise AssertionError("it was overtaken for ever")


def row(name: str, memory_mib: int, **observed: Any) -> dict[str, Any]:
    return {
        "id": name,
        "kind": "desktop",
        "spec": {"memory_mib": memory_mib, "vcpus": 1},
        "desired": {"state": "started", "at": NOW},
        "observed": observed,
    }


def test_the_queue_is_read_from_the_rows_and_forgets_who_no_longer_waits() -> None:
    domains = Domains()
    room = Room(domains, clock=lambda: NOW)
    for at, name in enumerate(("b", "a", "c")):
        queue = {"position": 1, "of": 1, "since": NOW + timedelta(seconds=at)}
        domains.put(row(name, 1000, state="stopped", reason="NoCapacity", queue=queue))
    assert [one.id for one in room.queue_of("default")] == ["b", "a", "c"]
    assert room.place_in_queue("c", ask(1000), NOW + timedelta(seconds=2)) == (3, 3)
    assert room.place_in_queue("new", ask(1000), NOW + timedelta(seconds=9)) == (4, 4)
    called_off = row("b", 1000, state="stopped", reason="NoCapacity", queue=queue)
    domains.put({**called_off, "desired": {"state": "stopped", "at": NOW}})
    domains.remove("c")
    assert [one.id for one in room.queue_of("default")] == ["a"]
    assert room.queue_of("other") == []


def test_thirty_simultaneous_starts_take_what_there_is_and_no_more() -> None:
    """From as many threads at once, before any row says where it was placed."""
    domains = Domains()
    room = Room(domains, lambda _pool: "free_memory")
    hosts = [replace(host(name, free=0), used_memory_mib=0) for name in ("a", "b", "c")]
    answers: dict[int, Placed | Refused] = {}
    gate = threading.Barrier(30)

    def start(at: int) -> None:
        gate.wait(30)
        answers[at] = room.reserve(f"d{at:02}", ask(1250), hosts)

    threads = [threading.Thread(target=start, args=(at,)) for at in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    placed = Counter(one.hypervisor for one in answers.values() if isinstance(one, Placed))
    assert placed == {"a": 8, "b": 8, "c": 8}
    refused = [one for one in answers.values() if isinstance(one, Refused)]
    assert {one.reason for one in refused} == {Reason.NO_CAPACITY}
    gone = next(f"d{at:02}" for at, one in answers.items() if one == Placed("a"))
    assert room.release(gone), "its room is free again, and whoever waits is told"
    assert not room.release(gone)
    assert room.reserve("late", ask(1250), hosts) == Placed("a")
