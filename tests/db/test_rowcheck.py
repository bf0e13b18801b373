"""Rows are judged when read: what a script may have written is named field by field."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.rowcheck import check_domain, check_hypervisor

GOOD: dict[str, Any] = {
    "id": "0b0f3b3e-54a7-4c3b-9d9e-0d6b5d9f2f10",
    "kind": "desktop",
    "name": "Ana's desktop",
    "user": "ana",
    "group": "class-1a",
    "category": "default",
    "origin": {"template": "5f0f3b3e-54a7-4c3b-9d9e-0d6b5d9f2f10"},
    "spec": {"vcpus": 1, "memory_mib": 128, "disks": [], "interfaces": [{"id": "default"}]},
    "desired": {"state": "stopped"},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    row = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    target = row
    for key in parents:
        target = target[key]
    target[last] = value
    return row


def test_a_good_row_is_good() -> None:
    assert check_domain(GOOD) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", "../../etc/passwd"),
        ("id", "0B0F3B3E-54A7-4C3B-9D9E-0D6B5D9F2F10"),
        ("kind", "router"),
        ("name", ""),
        ("name", "x" * 81),
        ("name", "<b>bold</b>"),
        ("name", "two\nlines"),
        ("user", "ana; rm -rf /"),
        ("origin", {}),
        ("origin", {"template": "nope"}),
        ("origin", {"image": "/images/$(id).qcow2"}),
        ("spec.vcpus", 0),
        ("spec.memory_mib", "lots"),
        ("spec.disks", [{"id": "../x"}]),
        ("spec.disks", [{"id": "a"}, {"id": "a"}]),
        ("spec.interfaces", [{"id": "default", "mac": "zz"}]),
        ("desired", {"state": "exploded"}),
        ("desired", None),
    ],
)
def test_nonsense_is_named(path: str, value: Any) -> None:
    problem = check_domain(changed(path, value))
    assert problem is not None
    assert problem.field.split(".")[0] == path.split(".")[0]
    assert problem.why


def test_a_template_is_never_started() -> None:
    row = {**GOOD, "kind": "template", "desired": {"state": "started"}}
    problem = check_domain(row)
    assert problem is not None
    assert problem.field == "desired.state"


@pytest.mark.parametrize(
    ("field", "value"),
    [("hostname", "a b"), ("hostname", "-oProxyCommand=x"), ("port", 0), ("user", "root; id")],
)
def test_a_hypervisor_row_is_judged_too(field: str, value: Any) -> None:
    row = {"id": "local", "hostname": "127.0.0.1", "port": 22, "desired": {"state": "enabled"}}
    assert check_hypervisor(row) is None
    problem = check_hypervisor({**row, field: value})
    assert problem is not None
    assert problem.field == field


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from([*GOOD, "state", "at", "vcpus"]), children, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(list(GOOD)), JSON, max_size=9))
def test_no_row_breaks_the_judge(row: dict[str, Any]) -> None:
    problem = check_domain(row)
    assert problem is None or problem.why
