"""The queue's promises: once each, one thread a key, nothing forgotten."""

from __future__ import annotations

import threading
from collections import Counter

from engine.workqueue import Key, Topics, WorkQueue

A, B, C = (Key("domain", name) for name in "abc")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_key_added_often_waits_once() -> None:
    queue = WorkQueue()
    for _ in range(5):
        queue.add(A)
    queue.add(B)
    assert [queue.get(0), queue.get(0), queue.get(0)] == [A, B, None]


def test_a_key_added_while_worked_on_comes_again_only_afterwards() -> None:
    queue = WorkQueue()
    queue.add(A)
    assert queue.get(0) == A
    queue.add(A)
    assert queue.get(0) is None
    queue.done(A)
    assert queue.get(0) == A
    queue.done(A)
    assert queue.get(0) is None


def test_a_delayed_key_comes_when_it_is_due_and_the_earliest_time_counts() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    queue.add_after(A, 10)
    queue.add_after(A, 60)
    queue.add_after(B, 20)
    queue.add_after(B, 5)
    assert queue.get(0) is None
    clock.now += 6
    assert queue.get(0) == B
    queue.done(B)
    clock.now += 5
    assert queue.get(0) == A
    queue.done(A)
    clock.now += 100
    assert queue.get(0) is None, "a superseded time must not bring the key again"


def test_a_delay_set_while_the_key_is_worked_on_is_kept() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    queue.add(A)
    assert queue.get(0) == A
    queue.add_after(A, 5)
    queue.done(A)
    assert queue.get(0) is None
    clock.now += 5
    assert queue.get(0) == A


def test_adding_at_once_supersedes_a_delay() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    queue.add_after(A, 5)
    queue.add(A)
    assert queue.get(0) == A
    queue.done(A)
    clock.now += 6
    assert queue.get(0) is None


def test_closing_wakes_those_who_wait() -> None:
    queue = WorkQueue()
    answers: list[Key | None] = []
    thread = threading.Thread(target=lambda: answers.append(queue.get(60)))
    thread.start()
    queue.close()
    thread.join(10)
    assert answers == [None]
    queue.add(A)
    assert queue.get(0) is None


def test_many_threads_never_share_a_key_and_lose_none() -> None:
    queue = WorkQueue()
    keys = [Key("domain", number) for number in range(20)]
    inside: Counter[Key] = Counter()
    worked: Counter[Key] = Counter()
    together: list[Key] = []
    lock = threading.Lock()

    def work() -> None:
        while (key := queue.get(0.3)) is not None:
            with lock:
                inside[key] += 1
                if inside[key] > 1:
                    together.append(key)
            with lock:
                inside[key] -= 1
                worked[key] += 1
            queue.done(key)

    def feed() -> None:
        for _ in range(50):
            for key in keys:
                queue.add(key)

    threads = [threading.Thread(target=work) for _ in range(6)]
    threads += [threading.Thread(target=feed) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert together == []
    assert set(worked) == set(keys)
    assert queue.depth().waiting == queue.depth().processing == 0


def test_a_topic_wakes_those_who_wait_for_it_and_no_others() -> None:
    woken: list[Key] = []
    topics = Topics(woken.append)
    mark = topics.mark()
    assert topics.wait(B, ["room"], mark)
    assert topics.wait(A, ["room", "parent/x"], mark)
    assert topics.wait(C, ["parent/y"], mark)
    topics.fire("room")
    assert woken == [A, B]
    topics.fire("parent/y")
    assert woken == [A, B, C]


def test_a_change_between_the_facts_and_the_waiting_is_not_missed() -> None:
    topics = Topics(lambda key: None)
    mark = topics.mark()
    topics.fire("room")
    assert not topics.wait(A, ["room"], mark)
    assert topics.wait(A, ["room"], topics.mark())
