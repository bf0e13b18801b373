"""Fields, patterns, merging, keys; arrays as values and as sets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.db.embedded.conftest import Run, r

LOGIC = "ReqlQueryLogicError"
MISSING = "ReqlNonExistenceError"
ROW = {"name": "Ana", "home": {"town": "Alp", "floor": 2}, "pets": [{"kind": "cat", "age": 3}, {}]}

RESULTS: list[tuple[Any, Any]] = [
    (r.expr(ROW)["name"], "Ana"),
    (r.expr(ROW)["home"]["town"], "Alp"),
    (r.expr(ROW)["pets"]["kind"], ["cat"]),
    (r.expr([{"a": 1}, None, {}, {"a": None}])["a"], [1, None]),
    (r.expr([3, 4, 5])[-1], 5),
    (r.expr([3, 4, 5])[0:2], [3, 4]),
    (r.expr(ROW).pluck("name"), {"name": "Ana"}),
    (r.expr(ROW).pluck({"home": "town"}, "none"), {"home": {"town": "Alp"}}),
    (r.expr(ROW).pluck({"home": {"floor": True}}), {"home": {"floor": 2}}),
    (r.expr(ROW).pluck({"pets": ["kind"]}), {"pets": [{"kind": "cat"}, {}]}),
    (r.expr(ROW).pluck({"name": {"x": True}}), {}),
    (r.expr(ROW).pluck(), {}),
    (r.expr(ROW).without("pets", {"home": "floor"}), {"name": "Ana", "home": {"town": "Alp"}}),
    (r.expr(ROW).has_fields("name", {"home": "town"}), True),
    (r.expr(ROW).has_fields({"home": {"zip": True}}), False),
    (r.expr({"a": None}).has_fields("a"), False),
    (r.expr([{"a": 1}, {"b": 1}]).has_fields("a"), [{"a": 1}]),
    (r.expr([{"a": 1, "b": 2}, {"b": 1}]).with_fields("a"), [{"a": 1}]),
    (r.expr({"b": 1, "a": 2}).keys(), ["a", "b"]),
    (r.expr({"b": 1, "a": 2}).values(), [2, 1]),
    (r.object("a", 1, "b", [2]), {"a": 1, "b": [2]}),
    (r.expr({"a": {"x": 1}}).merge({"a": {"y": 2}}), {"a": {"x": 1, "y": 2}}),
    (r.expr({"a": {"x": 1}}).merge({"a": r.literal({"y": 2})}), {"a": {"y": 2}}),
    (r.expr({"a": 1, "b": 2}).merge({"a": r.literal()}), {"b": 2}),
    (r.expr({"a": 1}).merge(lambda row: {"b": row["a"] + 1}, {"c": 3}), {"a": 1, "b": 2, "c": 3}),
    (r.expr([{"a": 1}, {"a": 2}]).merge({"b": 0}), [{"a": 1, "b": 0}, {"a": 2, "b": 0}]),
    (r.expr([1]).append(2), [1, 2]),
    (r.expr([1]).prepend(2), [2, 1]),
    (r.expr([1, 2]).insert_at(-1, 9), [1, 2, 9]),
    (r.expr([1, 2]).splice_at(1, [8, 9]), [1, 8, 9, 2]),
    (r.expr([1, 2, 3]).change_at(-1, 9), [1, 2, 9]),
    (r.expr([1, 2, 3]).delete_at(0), [2, 3]),
    (r.expr([1, 2, 3, 4]).delete_at(1, 3), [1, 4]),
    (r.expr([1, 1, 2]).set_insert(3), [1, 2, 3]),
    (r.expr([1, 2]).set_union([2, 3]), [1, 2, 3]),
    (r.expr([1, 2, 3]).set_intersection([3, 2]), [3, 2]),
    (r.expr([1, 2, 2]).set_difference([1]), [2]),
    (r.expr([1, 2, 2, 3]).difference([2]), [1, 3]),
    (r.expr([1, 2, 2]).contains(2, 2), True),
    (r.expr([1, 2]).contains(2, 2), False),
    (r.expr([1, 5]).contains(lambda x: x > 4, 1), True),
]


@pytest.mark.parametrize(("query", "expected"), RESULTS, ids=lambda value: str(value)[:50])
def test_what_documents_and_arrays_yield(reql: Run, query: Any, expected: Any) -> None:
    assert reql(query) == expected


STRAY = (
    "Stray literal keyword found: literal is only legal inside of the object passed to merge or "
    "update and cannot nest inside other literals."
)
REFUSALS: list[tuple[Any, str, str]] = [
    (r.expr({})["a"], MISSING, "No attribute `a` in object:"),
    (r.expr(1)["a"], LOGIC, "Cannot perform bracket on a non-object non-sequence `1`."),
    (r.expr(None)["a"], MISSING, "Cannot perform bracket on a non-object non-sequence `null`."),
    (r.now()["a"], LOGIC, "Cannot call `bracket` on objects of type `PTYPE<TIME>`."),
    (r.expr([[]]).pluck("a"), LOGIC, "Cannot perform pluck on a sequence of sequences."),
    (r.expr({}).pluck({"a": False}), LOGIC, "Invalid path argument `false`."),
    (r.expr([1])[1], MISSING, "Index out of bounds: 1"),
    (
        r.expr([1])[True],
        LOGIC,
        "Expected NUMBER or STRING as second argument to `bracket` but found BOOL.",
    ),
    (r.literal(1), LOGIC, STRAY),
    (r.expr({}).merge({"a": [r.literal(1)]}), LOGIC, STRAY),
    (r.expr({}).merge({"a": r.literal(r.literal(1))}), LOGIC, STRAY),
    (r.expr({}).merge(r.now()), LOGIC, "Cannot merge objects of type `PTYPE<TIME>`."),
    (r.object("a"), LOGIC, "OBJECT expects an even number of arguments (but found 1)."),
    (
        r.object("a", 1, "a", 2),
        LOGIC,
        'Duplicate key "a" in object.  (got 1 and 2 as values)',
    ),
    (r.now().keys(), LOGIC, "Cannot call `keys` on objects of type `PTYPE<TIME>`."),
    (
        r.expr([1]).insert_at(5, 2),
        MISSING,
        "Index `5` out of bounds for array of size: `1`.",
    ),
    (r.expr([1]).delete_at(-2), MISSING, "Index out of bounds: -2"),
    (
        r.expr([1, 2]).delete_at(2, 1),
        LOGIC,
        "Start index `2` is greater than end index `1`.",
    ),
    (r.expr(1).append(2), LOGIC, "Expected type ARRAY but found NUMBER."),
]


@pytest.mark.parametrize(("query", "kind", "message"), REFUSALS, ids=lambda value: str(value)[:50])
def test_what_documents_and_arrays_refuse(
    refusal: Any, query: Any, kind: str, message: str
) -> None:
    assert refusal(query) == (kind, message)


def test_terms_on_top_of_each_other_evaluate_their_arguments_once(reql: Run) -> None:
    """Sixty levels would take for ever if each evaluated what is below it twice."""

    def climb(value: Any) -> Any:
        for _ in range(60):
            value = value["a"]
        return value

    assert reql(r.expr([]).do(climb)) == []
    compared = r.expr([1])
    for _ in range(60):
        compared = compared == "x"
    assert reql(compared) is False


def test_arrays_stay_within_the_limit_of_the_query(refusal: Any) -> None:
    kind = "ReqlResourceLimitError"
    message = "Array over size limit `3`."
    for query in (
        r.expr([1, 2, 3]).append(4),
        r.expr([1, 2]).add([3, 4]),
        r.expr([1, 2]) * 2,
        r.expr([1, 2]).union([3, 4]),
        r.range(4).coerce_to("array"),
        r.range(9).order_by(lambda x: x),
        r.expr("a b c d").split(),
    ):
        assert refusal(query, array_limit=3) == (kind, message)
    assert refusal(1, array_limit=0) == (
        "ReqlQueryLogicError",
        "Illegal array size limit `0`.  (Must be >= 1.)",
    )
