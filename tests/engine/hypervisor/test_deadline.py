"""Calls that hang are left behind, and never more of them than there are slots."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from engine.hypervisor.deadline import CallSlots, LateCall, call_within


def test_a_result_and_an_error_come_through() -> None:
    slots = CallSlots("test", 2)
    assert slots.call(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        slots.call(5, lambda: 1 // 0)
    assert call_within(5, lambda: "x", name="test") == "x"


def test_a_late_call_is_left_and_frees_its_slot_when_it_ends() -> None:
    slots = CallSlots("test", 1)
    release, ended = threading.Event(), threading.Event()

    def hang() -> None:
        release.wait(30)
        ended.set()

    with pytest.raises(LateCall, match="deadline"):
        slots.call(0.05, hang)
    with pytest.raises(LateCall, match="taken by calls that hang"):
        slots.call(0.05, lambda: 1)
    release.set()
    assert ended.wait(10)
    assert slots.call(10, lambda: 2) == 2


def test_calls_at_once_never_exceed_the_slots() -> None:
    slots = CallSlots("test", 3)
    inside, peak, lock = 0, 0, threading.Lock()
    meet = threading.Barrier(3)

    def work() -> None:
        nonlocal inside, peak
        with lock:
            inside += 1
            peak = max(peak, inside)
        meet.wait(30)
        with lock:
            inside -= 1

    run_together(12, lambda: slots.call(30, work))
    assert (peak, inside) == (3, 0)


def test_threads_are_used_again() -> None:
    slots = CallSlots("test", 4)
    threads = {slots.call(5, threading.get_ident) for _ in range(50)}
    assert len(threads) <= 4


def test_many_callers_all_get_their_own_answer() -> None:
    slots = CallSlots("test", 4)
    answers: list[tuple[int, int]] = []
    numbers = iter(range(200))

    def ask() -> None:
        number = next(numbers)
        answers.append((number, slots.call(30, lambda: number * 2)))

    run_together(200, ask)
    assert len(answers) == 200
    assert all(answer == number * 2 for number, answer in answers)


def run_together(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
