"""What a pool says of its storage, from what its hosts see."""

from __future__ import annotations

from typing import Any

import pytest

from engine.pool_report import HostView, describe_pool
from engine.storage.path_facts import PathFacts, read_facts

GIB = 1024**3
PATH = "/isard/groups"
MINE = "11111111-2222-4333-8444-555555555555"


def facts(**changes: Any) -> PathFacts:
    values: dict[str, Any] = {
        "there": True,
        "writable": True,
        "size_bytes": 100 * GIB,
        "free_bytes": 40 * GIB,
        "path_id": "mark",
    }
    return PathFacts(**{**values, **changes})


def host(name: str, seen: PathFacts | None = None, **changes: Any) -> HostView:
    values: dict[str, Any] = {"id": name, "runs_desktops": True, "works_on_disks": True}
    return HostView(**{**values, "facts": {PATH: seen} if seen else {}, **changes})


def report(*hosts: HostView, owners: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    entry = {"path": PATH, "disk_operations": list(owners), "weight": 100}
    row = {"id": "default", "paths": {"groups": [entry]}}
    return describe_pool(
        row, hosts, more.get("marks", {PATH: "mark"}), more.get("disks", {PATH: 3}), 0
    )


def only(observed: dict[str, Any]) -> dict[str, Any]:
    (path,) = observed["paths"]
    assert bool(path["message"]) == bool(path["remedy"]), "what is wrong has a remedy"
    return dict(path)


def test_a_healthy_path_says_who_owns_it_and_how_much_is_free() -> None:
    observed = report(host("a", facts()), host("b", facts(free_bytes=20 * GIB)))
    path = only(observed)
    assert (observed["state"], observed["reason"]) == ("ok", None)
    assert (path["state"], path["same_storage"], path["disks"]) == ("ok", True, 3)
    assert path["free_bytes"] == 20 * GIB, "what every host can count on"
    assert [(one["id"], one["owner"], one["ok"]) for one in path["hosts"]] == [
        ("a", True, True),
        ("b", True, True),
    ]


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (facts(path_id=None), "does not have the storage mounted"),
        (facts(there=False, path_id=None), "does not have the storage mounted"),
        (facts(path_id="other"), "has another storage mounted"),
        (facts(foreign=True, path_id=None), "another installation"),
        (facts(writable=False), "cannot write"),
        (facts(free_bytes=GIB // 2), "less than 1 GiB free"),
    ],
)
def test_one_bad_owner_degrades_a_path_and_all_of_them_fail_it(seen: PathFacts, words: str) -> None:
    observed = report(host("a", facts()), host("b", seen))
    assert observed["state"] == "degraded"
    assert words in observed["message"]
    assert only(observed)["message"].startswith("b ")
    alone = report(host("b", seen))
    assert (alone["state"], alone["reason"]) == ("failed", "NoDiskHost")


def test_hosts_that_only_run_desktops_need_to_see_the_storage_not_to_write_it() -> None:
    runner = host("r", facts(writable=False), works_on_disks=False)
    path = only(report(host("nas", facts(), runs_desktops=False), runner, owners=("nas",)))
    assert path["state"] == "ok"
    assert [(one["id"], one["owner"]) for one in path["hosts"]] == [("nas", True), ("r", False)]
    blind = host("r", facts(there=False, path_id=None), works_on_disks=False)
    assert only(report(host("nas", facts()), blind, owners=("nas",)))["state"] == "degraded"


def test_a_path_never_used_is_no_fault_and_has_no_proof_yet() -> None:
    fresh = facts(there=False, writable=False, path_id=None)
    path = only(report(host("a", fresh), host("b", fresh), marks={}))
    assert (path["state"], path["same_storage"]) == ("ok", None)
    assert path["hosts"][0]["message"] == "will make it at first use"


def test_owners_that_are_wrong_or_away_are_named() -> None:
    observed = report(
        host("a", facts()),
        host("b", away="is not connected"),
        host("c", facts(), works_on_disks=False),
        owners=("a", "b", "c", "z"),
    )
    messages = {one["id"]: one["message"] for one in only(observed)["hosts"]}
    assert messages["a"] == "works on it"
    assert messages["b"] == "is not connected"
    assert "does no disk operations" in messages["c"]
    assert "is no hypervisor of this pool" in messages["z"]
    assert observed["state"] == "degraded"
    assert report()["state"] == "failed", "nobody works on disks at all"


def test_a_host_that_was_not_looked_at_yet_is_no_fault() -> None:
    assert only(report(host("a", facts()), host("b")))["state"] == "ok"


def test_disks_on_a_path_that_is_no_longer_listed_are_told() -> None:
    observed = report(host("a", facts()), disks={"/old": 7})
    assert observed["removed"] == [{"path": "/old", "disks": 7}]
    assert (observed["state"], observed["reason"]) == ("degraded", "PathRemoved")
    assert "7 disks lie in /old" in observed["message"]


def test_what_a_host_printed_is_read_with_suspicion() -> None:
    mark = f'{{"installation": "{MINE}", "path_id": "p1"}}'
    text = "\n".join(
        [
            f"yes\tyes\t2097152 1048576\t{mark}",
            'yes\tno\t5 x\t{"installation": "other", "path_id": "p2"}',
            "no\tno\t\tnonsense",
            "no",
        ]
    )
    found = read_facts(text, ["/a", "/b", "/c", "/d", "/e"], MINE)
    assert found["/a"] == PathFacts(True, True, 2 * GIB, GIB, "p1")
    assert found["/b"] == PathFacts(True, False, 0, None, None, foreign=True)
    assert found["/c"] == found["/d"] == PathFacts(False, False, None, None, None)
    assert "/e" not in found
