"""Which hypervisor a desktop gets, and what the sentence says when it gets none."""

from __future__ import annotations

from typing import Any

from db.states import Reason
from engine.placement import HostRoom, Placed, Refused, Request, choose


def make_host(name: str, **changes: Any) -> HostRoom:
    values: dict[str, Any] = {
        "id": name,
        "pools": frozenset({"default"}),
        "problem": None,
        "memory_mib": 8192,
        "used_memory_mib": 0,
    }
    return HostRoom(**{**values, **changes})


def ask(**changes: Any) -> Request:
    return Request(**{"pool": "default", "memory_mib": 1024, "vcpus": 2, **changes})


def test_the_host_with_most_memory_free_is_taken() -> None:
    hosts = [make_host("a", used_memory_mib=4096), make_host("b", used_memory_mib=1024)]
    assert choose(ask(), hosts) == Placed("b")


def test_equal_hosts_are_taken_by_name_so_that_a_repeated_decision_is_the_same() -> None:
    assert choose(ask(), [make_host("b"), make_host("a")]) == Placed("a")


def test_a_start_that_has_begun_stays_where_it_is() -> None:
    hosts = [make_host("a"), make_host("b", used_memory_mib=2048)]
    assert choose(ask(current="b"), hosts) == Placed("b")


def test_the_favourite_wins_over_free_memory_but_only_with_room() -> None:
    hosts = [make_host("a"), make_host("b", used_memory_mib=2048)]
    assert choose(ask(favourite="b"), hosts) == Placed("b")
    full = [make_host("a"), make_host("b", used_memory_mib=8000)]
    assert choose(ask(favourite="b"), full) == Placed("a")


def test_where_it_failed_last_is_taken_only_if_there_is_no_other() -> None:
    hosts = [make_host("a"), make_host("b", used_memory_mib=2048)]
    assert choose(ask(avoid="a"), hosts) == Placed("b")
    assert choose(ask(avoid="a"), hosts[:1]) == Placed("a")


def test_a_host_without_its_hardware_is_passed_over_and_named() -> None:
    wanted = ask(hardware=frozenset({"uefi", "tpm"}))
    plain = make_host("a", offers=frozenset({"uefi"}))
    able = make_host("b", offers=frozenset({"uefi", "tpm"}), used_memory_mib=4096)
    assert choose(wanted, [plain, able]) == Placed("b")
    answer = choose(wanted, [plain])
    assert answer == Refused(
        Reason.HARDWARE_MISSING,
        "No hypervisor can give it its hardware: "
        "a has no TPM emulator (packages swtpm and swtpm-tools).",
    )


def test_a_forced_host_is_the_only_choice() -> None:
    hosts = [make_host("a"), make_host("b", problem="it is offline")]
    answer = choose(ask(forced="b"), hosts)
    assert answer == Refused(Reason.NO_HYPERVISOR, "No hypervisor is ready. b: it is offline.")
    nowhere = choose(ask(forced="c"), hosts)
    assert isinstance(nowhere, Refused)
    assert "'c', which was removed" in nowhere.message
    assert "Where it runs" in nowhere.message


def test_an_empty_pool_says_so() -> None:
    answer = choose(ask(pool="gpu"), [make_host("a")])
    assert isinstance(answer, Refused)
    assert answer.reason == Reason.NO_HYPERVISOR
    assert "'gpu'" in answer.message


def test_no_room_names_what_is_missing_on_each_host() -> None:
    hosts = [
        make_host("a", used_memory_mib=7500),
        make_host("b", used_vcpus=7, max_vcpus=8),
        make_host("c", domains=5, max_domains=5),
    ]
    answer = choose(ask(), hosts)
    assert isinstance(answer, Refused)
    assert answer.reason == Reason.NO_CAPACITY
    for part in ("a has 283 MiB of memory free, 1024 MiB", "b has 7 of 8", "c runs 5 of at most 5"):
        assert part in answer.message


def test_the_host_keeps_some_memory_and_limits_bind() -> None:
    assert isinstance(choose(ask(memory_mib=8000), [make_host("a")]), Refused)
    assert choose(ask(memory_mib=7600), [make_host("a")]) == Placed("a")
    assert isinstance(choose(ask(), [make_host("a", max_memory_mib=1000)]), Refused)
