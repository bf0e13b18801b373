"""One value of many rows: count, sum, avg, min, max, reduce, fold; and the same for each group."""

from __future__ import annotations

from typing import Any

import pytest

from tests.db.embedded.conftest import Run, r

LOGIC = "ReqlQueryLogicError"
MISSING = "ReqlNonExistenceError"
ROWS = r.expr([{"k": "a", "n": 1}, {"k": "b", "n": 5}, {"k": "a"}, {"n": 2}])

RESULTS: list[tuple[Any, Any]] = [
    (ROWS.count(), 4),
    (ROWS.count({"k": "a"}), 1),
    (ROWS.count(r.row["k"] == "a"), 2),
    (r.expr("héllo").count(), 5),
    (r.expr({"a": 1, "b": 2}).count(), 2),
    (r.binary(b"abc").count(), 3),
    (ROWS.sum("n"), 8),
    (r.expr([]).sum(), 0),
    (r.expr([1, None, 2]).sum(), 3),
    (ROWS.avg("n"), 8 / 3),
    (ROWS.min("n"), {"k": "a", "n": 1}),
    (ROWS.max(lambda row: row["n"]), {"k": "b", "n": 5}),
    (r.expr([2, "a", [0]]).max(), "a"),
    (r.range(5).reduce(lambda a, b: a + b), 10),
    (r.range(4).fold(10, lambda acc, x: acc + x), 16),
    (r.range(4).fold(0, lambda acc, x: acc + x, final_emit=lambda acc: acc * 2), 12),
    (
        r.expr([1, 2]).fold(0, lambda a, x: a + x, emit=lambda old, x, new: [old, x, new]),
        [0, 1, 1, 1, 2, 3],
    ),
    (
        r.range().fold(0, lambda a, x: a + x, emit=lambda old, x, new: [new]).limit(4),
        [0, 1, 3, 6],
    ),
]


@pytest.mark.parametrize(("query", "expected"), RESULTS, ids=lambda value: str(value)[:50])
def test_what_aggregations_yield(reql: Run, query: Any, expected: Any) -> None:
    assert reql(query) == expected


EMPTY = (
    "Cannot take the {} of an empty stream.  (If you passed `{}` a field name, it may be that no "
    "elements of the stream had that field.)"
)
REFUSALS: list[tuple[Any, str, str]] = [
    (r.expr([]).avg(), MISSING, EMPTY.format("average", "avg")),
    (ROWS.min("z"), MISSING, EMPTY.format("min", "min")),
    (r.expr([]).reduce(lambda a, b: a), MISSING, "Cannot reduce over an empty stream."),
    (r.expr(["a"]).sum(), LOGIC, "Expected type NUMBER but found STRING."),
    (r.expr(1).count(), LOGIC, "Cannot convert NUMBER to SEQUENCE"),
    (
        r.expr([1]).fold(0, lambda a: a),
        LOGIC,
        "The accumulator function passed to `fold` should expect 2 arguments",
    ),
    (
        r.expr([1]).fold(0, lambda a, b: a, emit=lambda a, b, c: a),
        LOGIC,
        "Expected type ARRAY but found NUMBER.",
    ),
    (r.expr([1]).min(index="id"), LOGIC, "Expected type TABLE but found DATUM:"),
    (r.expr([1]).group(), LOGIC, "Cannot group by nothing."),
    (
        ROWS.group("k").group("n"),
        LOGIC,
        "Cannot call `group` on the output of `group` (did you mean to `ungroup`?).",
    ),
    (
        r.expr([1]).union(ROWS.group("k")),
        LOGIC,
        "Cannot treat the output of `group` as a stream (did you mean to `ungroup`?).",
    ),
    (r.expr([1]).ungroup(), LOGIC, "Expected type GROUPED_DATA but found DATUM:"),
]


@pytest.mark.parametrize(("query", "kind", "message"), REFUSALS, ids=lambda value: str(value)[:50])
def test_what_aggregations_refuse(refusal: Any, query: Any, kind: str, message: str) -> None:
    assert refusal(query) == (kind, message)


GROUPS: list[tuple[Any, Any]] = [
    (ROWS.group("k").count(), {None: 1, "a": 2, "b": 1}),
    (ROWS.group("k").sum("n"), {None: 2, "a": 1, "b": 5}),
    (ROWS.group("k").avg("z"), {}),
    (ROWS.group("k")["n"], {None: [2], "a": [1], "b": [5]}),
    (ROWS.group("k").filter(r.row["n"] > 1).count(), {None: 1, "b": 1}),
    (ROWS.group("k").count({"n": 2}), {None: 1}),
    (ROWS.group("k").max("n")["n"], {None: 2, "a": 1, "b": 5}),
    (ROWS.group("k").nth(0).has_fields("n"), {None: True, "a": True, "b": True}),
    (ROWS.group("k").limit(1).count(), {None: 1, "a": 1, "b": 1}),
    (ROWS.group("k").map(lambda x: 1).reduce(lambda a, b: a + b), {None: 1, "a": 2, "b": 1}),
    (ROWS.group("k").fold(0, lambda a, _: a + 1), {None: 1, "a": 2, "b": 1}),
    (ROWS.group("k").count().do(lambda n: n * 10), {None: 10, "a": 20, "b": 10}),
    (ROWS.group("k").count() + 1, {None: 2, "a": 3, "b": 2}),
    (
        r.expr([{"t": [1, 2]}, {"t": 2}, {"t": []}]).group("t", multi=True).count(),
        {1: 1, 2: 2, None: 1},
    ),
    (r.expr([]).group("k").count(), {}),
    (ROWS.group("k").type_of(), "GROUPED_STREAM"),
    (ROWS.group("k").count().type_of(), "GROUPED_DATA"),
    (ROWS.group("k").pluck("n").type_of(), "GROUPED_STREAM"),
    (ROWS.group("k").order_by("n").type_of(), "GROUPED_DATA"),
]


@pytest.mark.parametrize(("query", "expected"), GROUPS, ids=lambda value: str(value)[:50])
def test_each_group_by_itself(reql: Run, query: Any, expected: Any) -> None:
    assert reql(query) == expected


def test_groups_come_in_the_order_of_their_names(reql: Run) -> None:
    rows = r.expr([{"k": k} for k in ("b", None, 3, [1], "a", 3)])
    ungrouped = reql(rows.group("k").count().ungroup())
    assert [row["group"] for row in ungrouped] == [[1], None, 3, "a", "b"]
    assert reql(rows.group("k", lambda row: row["k"] == 3).count().ungroup())[2] == {
        "group": [3, True],
        "reduction": 2,
    }


def test_groups_can_be_had_raw(reql: Run) -> None:
    assert reql(ROWS.group("k").count(), group_format="raw") == {
        "$reql_type$": "GROUPED_DATA",
        "data": [[None, 1], ["a", 2], ["b", 1]],
    }


def test_grouping_and_extremes_by_index(reql: Run, people: Any) -> None:
    assert reql(people.group(index="town").count()) == {"Alp": 3, "Berga": 3, "Cubelles": 2}
    assert reql(people.group(index="hobbies").count()) == {"chess": 4, "ski": 4}
    assert reql(people.min(index="town")["town"]) == "Alp"
    assert reql(people.max())["id"] == 7
    assert reql(people.max(index="town").update({"last": True}))["replaced"] == 1
    assert reql(people.filter({"last": True}).replace(r.row.without("last")))["replaced"] == 1


def test_an_extreme_of_nothing_is_only_missed_when_it_is_used(reql: Run, refusal: Any) -> None:
    name = "none_of_these"
    database = "empty_extremes"
    if database in reql(r.db_list()):
        reql(r.db_drop(database))
    reql(r.db_create(database))
    try:
        reql(r.db(database).table_create(name))
        nobody = r.db(database).table(name).min()
        assert reql(nobody.type_of()) == "SELECTION<OBJECT>"
        assert refusal(nobody["id"]) == (
            LOGIC,
            "`min` found no entries in the specified index.",
        )
    finally:
        reql(r.db_drop(database))


def test_groups_stay_within_the_limit(refusal: Any) -> None:
    kind = "ReqlResourceLimitError"
    assert refusal(r.range(9).group(lambda x: x).count(), array_limit=4) == (
        kind,
        "Too many groups (> 4).",
    )
    told = (
        "Grouped data over size limit `4`.  Try putting a reduction (like `.reduce` or `.count`) "
        "on the end."
    )
    assert refusal(r.range(9).group(lambda x: x % 2), array_limit=4) == (kind, told)
    assert refusal(r.range(9).group(lambda x: x % 2).order_by(lambda x: x), array_limit=4) == (
        kind,
        told,
    )
