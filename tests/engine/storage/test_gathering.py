"""What several threads want at the same time is done by one of them for all, and nobody waits for
company.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from engine.storage.gathering import Gathering
from tests.lab import wait_until


class Work:
    """Doubles numbers, and stops before it does until it is let go on."""

    def __init__(self) -> None:
        self.done: list[list[int]] = []
        self.go_on = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> Mapping[int, int]:
        self.done.append(list(numbers))
        assert self.go_on.wait(30)
        return {number: 2 * number for number in numbers}


class Threads:
    """Each brings one number and keeps what came of it."""

    def __init__(self, gathering: Gathering[int, int]) -> None:
        self.gathering = gathering
        self.came: dict[int, Any] = {}
        self._threads: list[threading.Thread] = []

    def bring(self, kind: str, number: int, work: Callable[..., Mapping[int, int]]) -> None:
        def run() -> None:
            try:
                self.came[number] = self.gathering.bring(kind, number, work, 60)
            except ArithmeticError as error:
                self.came[number] = error

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def wait_for_waiting(self, count: int) -> None:
        kinds = self.gathering._kinds
        wait_until(lambda: sum(len(kind.waiting) for kind in kinds.values()) == count, 20)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def test_who_comes_alone_begins_at_once_and_the_next_go_together() -> None:
    work, threads = Work(), Threads(Gathering(3, 1))
    threads.bring("a", 0, work)
    wait_until(lambda: work.done == [[0]], 20)
    for number in range(1, 6):
        threads.bring("a", number, work)
        threads.wait_for_waiting(number)
    work.go_on.set()
    threads.join()
    assert work.done == [[0], [1, 2, 3], [4, 5]]
    assert threads.came == {number: 2 * number for number in range(6)}
    assert not threads.gathering._kinds


def test_so_many_groups_are_under_way_at_once() -> None:
    work, threads = Work(), Threads(Gathering(3, 2))
    for number in range(2):
        threads.bring("a", number, work)
        wait_until(lambda number=number: len(work.done) == number + 1, 20)
    for number in range(2, 4):
        threads.bring("a", number, work)
    threads.wait_for_waiting(2)
    assert work.done == [[0], [1]]
    work.go_on.set()
    threads.join()
    assert threads.came == {0: 0, 1: 2, 2: 4, 3: 6}


def test_another_kind_waits_for_nobody() -> None:
    stuck, work, threads = Work(), Work(), Threads(Gathering(3, 1))
    threads.bring("a", 1, stuck)
    wait_until(lambda: stuck.done == [[1]], 20)
    work.go_on.set()
    assert threads.gathering.bring("b", 2, work, 60) == 4
    stuck.go_on.set()
    threads.join()


def test_who_got_nothing_is_told_and_the_others_have_theirs() -> None:
    first, threads = Work(), Threads(Gathering(3, 1))
    threads.bring("a", 0, first)
    wait_until(lambda: first.done == [[0]], 20)
    for number in (1, 2, 3):
        threads.bring("a", number, lambda numbers: {n: 2 * n for n in numbers if n != 2})
    threads.wait_for_waiting(3)
    first.go_on.set()
    threads.join()
    assert threads.came == {0: 0, 1: 2, 2: None, 3: 6}


def test_nobody_waits_beyond_its_limit_nor_is_done_afterwards() -> None:
    stuck, threads = Work(), Threads(Gathering(3, 1))
    threads.bring("a", 0, stuck)
    wait_until(lambda: stuck.done == [[0]], 20)
    assert threads.gathering.bring("a", 1, stuck, 0.1) is None
    stuck.go_on.set()
    threads.join()
    assert stuck.done == [[0]]
    assert threads.came == {0: 0}
    assert not threads.gathering._kinds


def test_one_that_was_taken_along_and_does_not_end_is_waited_for_no_longer() -> None:
    first, stuck, threads = Work(), Work(), Threads(Gathering(3, 1))
    threads.bring("a", 0, first)
    wait_until(lambda: first.done == [[0]], 20)
    threads.bring("a", 1, stuck)
    threads.wait_for_waiting(1)
    late: list[int | None] = []
    hurried = threading.Thread(
        target=lambda: late.append(threads.gathering.bring("a", 2, stuck, 10)), daemon=True
    )
    hurried.start()
    threads.wait_for_waiting(2)
    first.go_on.set()
    wait_until(lambda: stuck.done == [[1, 2]], 20)
    hurried.join(30)
    assert late == [None]
    stuck.go_on.set()
    threads.join()
    assert threads.came == {0: 0, 1: 2}


def test_a_failure_is_raised_where_it_happened_and_holds_up_nobody() -> None:
    def fail(numbers: Sequence[int]) -> Mapping[int, int]:
        raise ZeroDivisionError(str(list(numbers)))

    first, threads = Work(), Threads(Gathering(3, 1))
    threads.bring("a", 0, first)
    wait_until(lambda: first.done == [[0]], 20)
    threads.bring("a", 1, fail)
    threads.wait_for_waiting(1)
    threads.bring("a", 2, fail)
    threads.wait_for_waiting(2)
    first.go_on.set()
    threads.join()
    assert str(threads.came[1]) == "[1, 2]"
    assert threads.came[2] is None
    assert threads.gathering.bring("a", 3, first, 60) == 6
    with pytest.raises(ZeroDivisionError, match=r"\[4\]"):
        threads.gathering.bring("a", 4, fail, 60)
