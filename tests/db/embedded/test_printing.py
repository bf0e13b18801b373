"""The text that `jobs`, `index_status` and `get_write_hook` show of a query."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rethinkdb.ast import ReQLEncoder

import db.embedded.terms  # noqa: F401  (fills the registry)
from db.embedded.printing import LONGEST, show_term
from tests.db.embedded.conftest import r

pytestmark = pytest.mark.embedded_only("looks at functions of this server")

TEXTS: list[tuple[Any, str]] = [
    (r.table("t").get(1), 'r.table("t").get(1)'),
    (
        r.db("d").table("t").get_all(1, 2, index="n"),
        'r.db("d").table("t").getAll(1, 2, {"index": "n"})',
    ),
    (r.expr(1) + 2, "r.expr(1).add(2)"),
    (r.expr([1, {"a": None}]).count(), 'r.expr([1, {"a": null}]).count()'),
    (r.row["a"], 'r.row("a")'),
    (r.now(), "r.now()"),
    (r.range(3).limit(1), "r.range(3).limit(1)"),
]


def raw(query: Any) -> Any:
    return json.loads(ReQLEncoder().encode(r.expr(query)))


@pytest.mark.parametrize(("query", "text"), TEXTS, ids=lambda value: str(value)[:40])
def test_a_term_reads_like_the_query(query: Any, text: str) -> None:
    assert show_term(raw(query)) == text


def test_functions_show_their_variables() -> None:
    term = [39, [[15, ["t"]], [69, [[2, [7]], [17, [[170, [[10, [7]], "a"]], 5]]]]]]
    assert show_term(term) == 'r.table("t").filter(function(_var7) { return _var7("a").eq(5); })'
    assert show_term([64, [[69, [[2, [1, 2]], [10, [1]]]], 3, 4]]) == (
        "r.do(3, 4, function(_var1, _var2) { return _var1; })"
    )


def test_a_long_query_is_cut_off_and_a_broken_one_marked() -> None:
    assert len(show_term(raw(r.expr(["x" * 10] * 10_000)))) <= LONGEST + 1
    assert len(show_term("y" * 10_000_000)) <= LONGEST + 1
    assert show_term([9999, []]).endswith("?")
    assert show_term([]).endswith("?")
