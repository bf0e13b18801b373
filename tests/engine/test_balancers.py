"""How each balancer spreads desktops, for any hosts and any requests."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.balancers import BALANCERS
from engine.capacity import HostRoom, Request, missing_on
from engine.placement import Placed, Refused, choose

REQUEST = Request(pool="default", memory_mib=100, vcpus=1)


def make_host(name: str, **changes: Any) -> HostRoom:
    values: dict[str, Any] = {
        "id": name,
        "pools": frozenset({"default"}),
        "problem": None,
        "memory_mib": 100_000,
        "used_memory_mib": 0,
        "cpus": 8,
    }
    return HostRoom(**{**values, **changes})


HOSTS = st.lists(
    st.builds(
        make_host,
        st.sampled_from([f"h{at}" for at in range(9)]),
        memory_mib=st.integers(0, 200_000),
        used_memory_mib=st.integers(0, 200_000),
        domains=st.integers(0, 50),
        used_vcpus=st.integers(0, 64),
        max_vcpus=st.none() | st.integers(0, 64),
        max_domains=st.none() | st.integers(0, 50),
        memory_ratio=st.floats(0.1, 10),
        cpu_ratio=st.none() | st.floats(0.1, 100),
        weight=st.integers(0, 1000),
        cpu_percent=st.none() | st.floats(0, 100),
        recent_vcpus=st.integers(0, 64),
        turn=st.integers(0, 1000),
        problem=st.none() | st.just("it is not connected"),
    ),
    unique_by=lambda host: host.id,
    max_size=9,
)
REQUESTS = st.builds(
    Request,
    pool=st.just("default"),
    memory_mib=st.integers(16, 100_000),
    vcpus=st.integers(1, 32),
    forced=st.none() | st.sampled_from(["h0", "h1"]),
    favourite=st.none() | st.sampled_from(["h0", "h1", "h2"]),
)


@given(REQUESTS, HOSTS, st.sampled_from(list(BALANCERS)))
def test_whatever_is_chosen_is_ready_has_room_and_is_the_forced_one(
    request: Request, hosts: list[HostRoom], balancer: str
) -> None:
    answer = choose(request, hosts, balancer)
    able = [
        host
        for host in hosts
        if host.problem is None
        and missing_on(request, host) is None
        and request.forced in (None, host.id)
    ]
    if isinstance(answer, Refused):
        assert not able
        assert answer.message
        return
    assert answer.hypervisor in {host.id for host in able}
    if request.favourite in {host.id for host in able}:
        assert answer.hypervisor == request.favourite


@given(REQUESTS, HOSTS, st.sampled_from(list(BALANCERS)), st.randoms())
def test_the_order_in_which_hosts_are_listed_decides_nothing(
    request: Request, hosts: list[HostRoom], balancer: str, random: Any
) -> None:
    mixed = list(hosts)
    random.shuffle(mixed)
    assert choose(request, mixed, balancer) == choose(request, hosts, balancer)


def spread(hosts: list[HostRoom], count: int, balancer: str) -> Counter[str]:
    """Where so many desktops go, one after the other."""
    placed: Counter[str] = Counter()
    for turn in range(1, count + 1):
        answer = choose(REQUEST, hosts, balancer)
        assert isinstance(answer, Placed)
        placed[answer.hypervisor] += 1
        hosts = [
            replace(host.with_one_more(REQUEST), turn=turn)
            if host.id == answer.hypervisor
            else host
            for host in hosts
        ]
    return placed


@given(st.integers(1, 8), st.integers(0, 60))
def test_round_robin_gives_each_host_as_many_give_or_take_one(hosts: int, count: int) -> None:
    placed = spread([make_host(f"h{at}") for at in range(hosts)], count, "round_robin")
    numbers = [placed[f"h{at}"] for at in range(hosts)]
    assert max(numbers) - min(numbers) <= 1


@given(st.lists(st.integers(1, 10), min_size=1, max_size=5), st.integers(0, 80))
def test_no_host_gets_less_than_its_weight_says(weights: list[int], count: int) -> None:
    hosts = [make_host(f"h{at}", weight=weight) for at, weight in enumerate(weights)]
    placed = spread(hosts, count, "weighted")
    for at, weight in enumerate(weights):
        assert placed[f"h{at}"] >= count * weight // sum(weights)


@given(st.lists(st.integers(1000, 90_000), min_size=1, max_size=6))
def test_most_free_memory_is_taken(memory: list[int]) -> None:
    hosts = [make_host(f"h{at}", used_memory_mib=used) for at, used in enumerate(memory)]
    answer = choose(REQUEST, hosts, "free_memory")
    assert answer == Placed(f"h{memory.index(min(memory))}")


def test_the_least_busy_is_taken_and_starts_in_flight_count_before_they_are_measured() -> None:
    hosts = [make_host("busy", cpu_percent=50.0), make_host("idle", cpu_percent=10.0)]
    placed = spread(hosts, 10, "least_cpu")
    assert placed["idle"] > placed["busy"] > 0
    assert choose(REQUEST, hosts, "least_cpu") == Placed("idle")
    assert choose(REQUEST, [make_host("a", used_vcpus=9), make_host("b")], "least_cpu") == Placed(
        "b"
    )


def test_a_host_of_weight_0_is_the_last_resort() -> None:
    hosts = [make_host("a", weight=0), make_host("b", weight=1, domains=500)]
    assert choose(REQUEST, hosts, "weighted") == Placed("b")
    assert choose(REQUEST, hosts[:1], "weighted") == Placed("a")


@pytest.mark.parametrize("word", ["", "None", "fastest"])
def test_an_unknown_balancer_spreads_by_free_memory(word: str) -> None:
    hosts = [make_host("a", used_memory_mib=5000), make_host("b")]
    assert choose(REQUEST, hosts, word) == Placed("b")


def test_overcommit_promises_more_than_there_is_and_no_more_than_it_says() -> None:
    host = make_host("a", memory_mib=10_000, cpus=2, memory_ratio=2.0, cpu_ratio=4.0)
    assert host.usable_memory_mib == 19_000
    assert host.usable_vcpus == 8
    full = replace(host, used_vcpus=7)
    assert choose(replace(REQUEST, vcpus=1), [full]) == Placed("a")
    refused = choose(replace(REQUEST, vcpus=2), [full])
    assert isinstance(refused, Refused)
    assert "7 of 8 virtual processors in use, 2 are needed" in refused.message
    small = replace(host, memory_ratio=0.5)
    assert small.usable_memory_mib == 4750, "a ratio below 1 keeps memory for the host"
