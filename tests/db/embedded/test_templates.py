"""Queries that differ in their data alone are compiled once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from rethinkdb.ast import ReQLEncoder

from db.embedded.templates import prepare
from tests.db.embedded.inprocess import r

pytestmark = pytest.mark.embedded_only("looks at the compiled query")

FIRST, SECOND = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 2, 3, tzinfo=UTC)


def compiled(query: Any) -> Any:
    return prepare(json.loads(ReQLEncoder().encode(query)))


def write_if_newer(value: dict[str, Any]) -> Any:
    """As db/observed.py writes."""
    return r.do(
        value,
        lambda new: (
            r.table("t")
            .get(new["id"])
            .replace(lambda row: r.branch(row["n"].gt(new["n"]), r.error("older"), new))
        ),
    )


@pytest.mark.parametrize(
    "query",
    [
        lambda at, n: r.table("t").insert({"id": n, "at": at, "list": [at, {"n": n}]}),
        lambda at, n: r.table("t").get(n).update({"at": at}),
        lambda at, n: write_if_newer({"id": n, "n": n, "at": at}),
        lambda at, n: r.do(n, at, lambda one, two: [one, two]),
    ],
)
def test_moments_and_what_do_is_given_are_data(query: Callable[[datetime, int], Any]) -> None:
    first, second = compiled(query(FIRST, 1)), compiled(query(SECOND, 2))
    assert first[0] is second[0]
    assert FIRST.isoformat() in first[1]
    assert SECOND.isoformat() in second[1]


def test_what_a_function_names_is_no_data() -> None:
    first = compiled(r.do(1, lambda one: r.table("t").get(one)["a"]))
    second = compiled(r.do(1, lambda one: r.table("t").get(one)["b"]))
    assert first[0] is not second[0]
