"""Joins and what zips their pairs."""

from __future__ import annotations

from typing import Any

from tests.db.embedded.conftest import Run, r


def test_inner_and_outer_joins_pair_rows(reql: Run) -> None:
    left, right = r.expr([1, 2]), r.expr([2, 3, 2])
    same = lambda a, b: a == b  # noqa: E731
    pair = {"left": 2, "right": 2}
    assert reql(left.inner_join(right, same)) == [pair, pair]
    assert reql(left.outer_join(right, same)) == [{"left": 1}, pair, pair]
    assert reql(left.inner_join([], same)) == []


def test_eq_join_finds_rows_by_key_and_by_index(reql: Run, people: Any) -> None:
    orders = r.expr([{"who": 1}, {"who": 99}, {"who": None}, {}, {"who": 0}])
    joined = reql(orders.eq_join("who", people, ordered=True))
    assert [(pair["left"]["who"], pair["right"]["id"]) for pair in joined] == [(1, 1), (0, 0)]
    towns = r.expr([{"name": "Alp"}])
    found = reql(towns.eq_join("name", people, index="town").zip())
    assert sorted(row["id"] for row in found) == [0, 3, 6]
    assert all(row["name"] == "Alp" for row in found)
    by_function = towns.eq_join(lambda row: row["name"], people, index="town").count()
    assert reql(by_function) == 3
    assert reql(towns.eq_join("name", people, index="town").type_of()) == "ARRAY"
    assert reql(people.eq_join("id", people).type_of()) == "STREAM"


def test_zip_wants_pairs(reql: Run, refusal: Any) -> None:
    assert reql(r.expr([{"left": {"a": 1, "b": 1}, "right": {"b": 2}}]).zip()) == [{"a": 1, "b": 2}]
    assert reql(r.expr([{"left": {"a": 1}}]).zip()) == [{"a": 1}]
    assert refusal(r.expr([{"a": 1}]).zip()) == (
        "ReqlQueryLogicError",
        "ZIP can only be called on the result of a join.",
    )
