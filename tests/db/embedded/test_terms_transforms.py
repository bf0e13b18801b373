"""Rows into rows: map, filter, concat_map, union, range, slices, order, distinct."""

from __future__ import annotations

from typing import Any

import pytest

from tests.db.embedded.conftest import Run, r

LOGIC = "ReqlQueryLogicError"
MISSING = "ReqlNonExistenceError"
ROWS = [{"a": 2, "b": 1}, {"b": 9}, {"a": 1, "b": 5}, {"a": 2, "b": 0}]

RESULTS: list[tuple[Any, Any]] = [
    (r.expr([1, 2]).map(lambda x: x + 1), [2, 3]),
    (r.expr([1, 2]).map([10, 20, 30], lambda x, y: x + y), [11, 22]),
    (r.range().map([5, 6], lambda x, y: [x, y]), [[0, 5], [1, 6]]),
    (r.expr([[1], [2, 3]]).concat_map(lambda x: x), [1, 2, 3]),
    (r.expr([1, 2]).concat_map(lambda x: r.range(x)), [0, 0, 1]),
    (r.range(4), [0, 1, 2, 3]),
    (r.range(2, 5), [2, 3, 4]),
    (r.range(5, 2), []),
    (r.range().limit(2), [0, 1]),
    (r.expr(ROWS).filter({"a": 1}), [ROWS[2]]),
    (r.expr(ROWS).filter(r.row["a"] == 2), [ROWS[0], ROWS[3]]),
    (r.expr(ROWS).filter(lambda row: {"a": 1}), [ROWS[2]]),
    (r.expr(ROWS).filter(r.row["a"] > 1, default=True), [ROWS[0], ROWS[1], ROWS[3]]),
    (r.expr([{"a": {"b": 1, "c": 2}}]).filter({"a": {"b": 1}}), [{"a": {"b": 1, "c": 2}}]),
    (r.expr([{"a": {"b": 1, "c": 2}}]).filter({"a": r.literal({"b": 1})}), []),
    (r.expr([1, 2]).filter(0), [1, 2]),
    (r.expr([1, 2]).filter(None), []),
    (r.expr([5, 6, 5]).offsets_of(5), [0, 2]),
    (r.expr([5, 6]).offsets_of(lambda x: x > 5), [1]),
    (r.expr([]).is_empty(), True),
    (r.expr([1]).union([2], r.range(2)), [1, 2, 0, 1]),
    (r.expr([1, 4]).union([2, 3], interleave=[lambda x: x]), [1, 2, 3, 4]),
    (
        r.expr([{"a": 3}, {"a": 1}]).union([{"a": 2}], interleave=[r.desc("a")]),
        [{"a": 3}, {"a": 2}, {"a": 1}],
    ),
    (r.expr([1, 2, 3, 4]).slice(1, 3), [2, 3]),
    (r.expr([1, 2, 3, 4]).slice(1, 2, right_bound="closed"), [2, 3]),
    (r.expr([1, 2, 3, 4]).slice(1, left_bound="open"), [3, 4]),
    (r.expr([1, 2, 3]).slice(-2), [2, 3]),
    (r.expr("aé😀b").slice(1, 3), "é😀"),
    (r.binary(b"abcd").slice(1, 3), b"bc"),
    (r.expr([1, 2, 3]).skip(1), [2, 3]),
    (r.expr([1, 2, 3]).limit(2), [1, 2]),
    (r.range(5).nth(-1), 4),
    (r.expr(ROWS).order_by("a", "b"), [ROWS[1], ROWS[2], ROWS[3], ROWS[0]]),
    (r.expr(ROWS).order_by(r.desc("a"), "b"), [ROWS[3], ROWS[0], ROWS[2], ROWS[1]]),
    (r.expr(ROWS).order_by(lambda row: row["b"] * -1)[0], ROWS[1]),
    (r.expr([3, "a", 1, None, 3]).distinct(), [None, 1, 3, "a"]),
]


@pytest.mark.parametrize(("query", "expected"), RESULTS, ids=lambda value: str(value)[:50])
def test_what_sequences_yield(reql: Run, query: Any, expected: Any) -> None:
    assert reql(query) == expected


REFUSALS: list[tuple[Any, str, str]] = [
    (r.expr(1).map(lambda x: x), LOGIC, "Cannot convert NUMBER to SEQUENCE"),
    (r.expr([1]).map(1), LOGIC, "Expected type FUNCTION but found DATUM:"),
    (
        r.expr([1]).map([2], lambda x: x),
        LOGIC,
        "The function passed to `map` expects 1 argument, but 2 sequences were found.",
    ),
    (r.expr([1]).filter({"a": 1}), LOGIC, "Expected type OBJECT but found NUMBER."),
    (r.expr([{}]).filter(r.row["a"], default=r.error()), MISSING, "No attribute `a` in object:"),
    (r.expr([{}]).filter(r.row["a"], default=r.error("so")), "ReqlUserError", "so"),
    (
        r.range().count(),
        LOGIC,
        "Cannot use an infinite stream with an aggregation function (`reduce`, `count`, etc.) or "
        "coerce it to an array.",
    ),
    (r.range(1).nth(1), MISSING, "Index out of bounds: 1"),
    (r.range(1).nth(-2), LOGIC, "Cannot use an index < -1 (-2) on a stream."),
    (r.range(1).slice(-1), LOGIC, "Cannot use a negative left index on a stream."),
    (r.range(1).slice(0, -2), LOGIC, "Cannot use a right index < -1 on a stream."),
    (r.range(1).slice(0, -1), LOGIC, "Cannot slice to an open right index of -1 on a stream."),
    (r.expr([]).limit(-1), LOGIC, "LIMIT takes a non-negative argument (got -1)"),
    (
        r.expr([]).slice(0, 1, left_bound="ajar"),
        LOGIC,
        'Expected `open` or `closed` for optarg `left_bound` (got `"ajar"`).',
    ),
    (r.expr([1]).order_by(), LOGIC, "Must specify something to order by."),
    (
        r.expr([1, 2]).order_by(lambda _: r.random()),
        LOGIC,
        "Sorting by a non-deterministic function is not supported.",
    ),
    (
        r.expr([1]).order_by(r.args(["a"])),
        LOGIC,
        "r.args is not supported in an order_by or union command yet.",
    ),
    (
        r.expr([{"a": 2}, {"a": 1}]).union([], interleave="a"),
        LOGIC,
        "The streams given as arguments are not ordered by given ordering.",
    ),
    (
        r.expr([1]).sample(-1),
        LOGIC,
        "Number of items to sample must be non-negative, got `-1`.",
    ),
]


@pytest.mark.parametrize(("query", "kind", "message"), REFUSALS, ids=lambda value: str(value)[:50])
def test_what_sequences_refuse(refusal: Any, query: Any, kind: str, message: str) -> None:
    assert refusal(query) == (kind, message)


def test_tables_are_read_in_the_order_of_an_index(reql: Run, people: Any) -> None:
    assert reql(people.order_by(index="id")["id"]) == list(range(8))
    assert reql(people.order_by(index=r.desc("id")).limit(2)["id"]) == [7, 6]
    by_town = reql(people.order_by(r.desc("age"), index="town")["id"])
    assert by_town == [6, 3, 0, 7, 4, 1, 5, 2]
    assert reql(people.between("B", "C", index="town").order_by("id")["id"]) == [1, 4, 7]
    assert reql(people.order_by(index="hobbies").count()) == 8
    assert reql(people.distinct(index="hobbies")) == ["chess", "ski"]
    assert reql(people.distinct(index="town")) == ["Alp", "Berga", "Cubelles"]


def test_what_an_index_cannot_order(refusal: Any, people: Any) -> None:
    not_a_table = (
        "Indexed order_by can only be performed on a TABLE or TABLE_SLICE. Make sure order_by "
        "comes before any transformations (such as map) or filters."
    )
    assert refusal(people.filter({}).order_by(index="town")) == (LOGIC, not_a_table)
    assert refusal(people.order_by(index="town").order_by(index="id")) == (
        LOGIC,
        "Cannot perform multiple indexed ORDER_BYs on the same table.",
    )
    assert refusal(people.between(1, 2).order_by(index="town")) == (
        LOGIC,
        "Cannot order by index `town` after calling BETWEEN on index `id`.",
    )
    assert refusal(people.filter({}).distinct(index="town")) == (
        LOGIC,
        "Can only perform an indexed distinct on a TABLE.",
    )
    kind, message = refusal(people.order_by(index="shoes"))
    assert kind == "ReqlOpFailedError"
    assert message.startswith("Index `shoes` was not found on table")


def test_sorted_and_filtered_rows_can_still_be_written(reql: Run, people: Any) -> None:
    oldest = people.order_by(r.desc("age")).limit(2)
    assert reql(oldest.update({"old": True}))["replaced"] == 2
    assert sorted(reql(people.filter({"old": True})["id"])) == [6, 7]
    assert reql(people.filter({"old": True}).replace(r.row.without("old")))["replaced"] == 2


def test_fields_of_rows_can_be_followed_and_chance_cannot(
    reql: Run, refusal: Any, people: Any
) -> None:
    feed = people.filter({"id": 3})["town"].changes(include_initial=True).limit(1)
    assert reql(feed) == [{"new_val": "Alp"}]
    assert refusal(people.map(lambda _: r.random()).changes()) == (
        LOGIC,
        "Cannot call `changes` after a non-deterministic function.",
    )
    assert refusal(people.concat_map(lambda _: [1]).changes()) == (
        LOGIC,
        "Cannot call `changes` after `concat_map`.",
    )
    assert refusal(people.order_by("age").changes()) == (
        LOGIC,
        "Cannot call `changes` on an eager stream.",
    )


def test_an_index_goes_by_neither_chance_nor_clock(refusal: Any, people: Any) -> None:
    told = "Could not prove function deterministic.  Index functions must be deterministic."
    for function in (
        lambda row: r.random(),
        lambda row: row["age"] + r.now().to_epoch_time(),
        lambda row: people.count(),
    ):
        assert refusal(people.index_create("odd", function)) == (LOGIC, told)
