"""Types and their names, coercion, JSON, binary, control of evaluation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.db.embedded.conftest import Run, r

LOGIC = "ReqlQueryLogicError"
MISSING = "ReqlNonExistenceError"


def test_types_of_data(reql: Run) -> None:
    assert {
        name: reql(r.expr(value).type_of())
        for name, value in {
            "null": None,
            "bool": True,
            "number": 1.5,
            "string": "",
            "array": [],
            "object": {},
            "time": r.now(),
            "binary": r.binary(b""),
            "function": lambda x: x,
            "low": r.minval,
            "high": r.maxval,
        }.items()
    } == {
        "null": "NULL",
        "bool": "BOOL",
        "number": "NUMBER",
        "string": "STRING",
        "array": "ARRAY",
        "object": "OBJECT",
        "time": "PTYPE<TIME>",
        "binary": "PTYPE<BINARY>",
        "function": "FUNCTION",
        "low": "MINVAL",
        "high": "MAXVAL",
    }


def test_types_of_what_comes_from_a_table(reql: Run, people: Any) -> None:
    expected = [
        (people, "TABLE"),
        (people.get(1), "SELECTION<OBJECT>"),
        (people.get(-1), "SELECTION<OBJECT>"),
        (people.nth(0), "SELECTION<OBJECT>"),
        (people.between(1, 3), "TABLE_SLICE"),
        (people.order_by(index="id"), "TABLE_SLICE"),
        (people.order_by("age", index="id"), "SELECTION<STREAM>"),
        (people.order_by("age"), "SELECTION<ARRAY>"),
        (people.order_by("age").filter({}), "SELECTION<ARRAY>"),
        (people.sample(1), "SELECTION<ARRAY>"),
        (people.filter({}), "SELECTION<STREAM>"),
        (people.limit(1), "SELECTION<STREAM>"),
        (people.get_all(1), "SELECTION<STREAM>"),
        (people.has_fields("id"), "SELECTION<STREAM>"),
        (people.map(lambda x: x), "STREAM"),
        (people.pluck("id"), "STREAM"),
        (people["id"], "STREAM"),
        (people.distinct(), "STREAM"),
        (people.union(people), "STREAM"),
        (people.order_by("age").map(lambda x: x), "ARRAY"),
        (people.coerce_to("array"), "ARRAY"),
        (people.coerce_to("stream"), "TABLE"),
        (r.range(3), "STREAM"),
        (r.range(3).coerce_to("array").map(lambda x: x), "ARRAY"),
    ]
    kinds = [(str(query), reql(query.type_of())) for query, _ in expected]
    assert kinds == [(str(query), kind) for query, kind in expected]


def test_info_tells_what_a_value_is(reql: Run, people: Any) -> None:
    table = reql(people.info())
    assert (table["type"], table["primary_key"], table["indexes"]) == (
        "TABLE",
        "id",
        ["hobbies", "town"],
    )
    assert table["db"]["type"] == "DB"
    assert reql(people.between(1, r.maxval).info().without("table")) == {
        "type": "TABLE_SLICE",
        "index": "id",
        "sorting": "UNORDERED",
        "left_bound": 1,
        "left_bound_type": "closed",
        "right_bound_type": "unbounded",
    }
    assert reql(r.expr(1.5).info()) == {"type": "NUMBER", "value": "1.5"}
    assert reql(r.expr(None).info()) == {"type": "NULL"}


COERCIONS: list[tuple[Any, str, Any]] = [
    (1, "string", "1"),
    (1.5, "string", "1.5"),
    (1e21, "string", "1e21"),
    (1e-7, "string", "1e-7"),
    (2.0**60, "string", "1152921504606847000.0"),
    ([1, {"b": None, "a": "é"}], "string", '[1,{"a":"é","b":null}]'),
    ("-1.5e2", "number", -150),
    ("0xff", "number", 255),
    ({"b": 1, "a": 2}, "array", [["a", 2], ["b", 1]]),
    ([["a", 1]], "object", {"a": 1}),
    ("añ", "binary", "añ".encode()),
    (None, "bool", False),
    (0, "bool", True),
    ({}, "bool", True),
    ("x", "string", "x"),
]


@pytest.mark.parametrize(("value", "kind", "expected"), COERCIONS, ids=str)
def test_coercion(reql: Run, value: Any, kind: str, expected: Any) -> None:
    assert reql(r.expr(value).coerce_to(kind)) == expected
    assert reql(r.expr(value).coerce_to(kind.upper())) == expected


REFUSALS: list[tuple[Any, str, str]] = [
    (r.expr(1).coerce_to("shoe"), LOGIC, "Unknown Type: SHOE"),
    (r.expr(1).coerce_to("array"), LOGIC, "Cannot coerce NUMBER to ARRAY."),
    (r.expr(None).coerce_to("number"), MISSING, "Cannot coerce NULL to NUMBER."),
    (r.expr("1x").coerce_to("number"), LOGIC, "Could not coerce `1x` to NUMBER."),
    (r.expr("inf").coerce_to("number"), LOGIC, "Non-finite number: inf"),
    (r.expr([[1]]).coerce_to("object"), LOGIC, "Expected array of size 2, but got size 1."),
    (
        r.binary(b"a\xff").coerce_to("string"),
        LOGIC,
        "String `a` (truncated) is not a UTF-8 string; Invalid initial byte seen at position 1.",
    ),
    (r.minval, LOGIC, "Cannot convert `r.minval` to JSON."),
    (r.expr([r.maxval]), LOGIC, "Cannot convert `r.maxval` to JSON."),
    (r.json("[1,"), LOGIC, 'Failed to parse "[1," as JSON: Invalid value.'),
    (
        r.json("[1 2]"),
        LOGIC,
        "Failed to parse \"[1 2]\" as JSON: Missing a comma or ']' after an array element.",
    ),
    (r.json('{"a":1,"a":2}'), LOGIC, 'Duplicate key "a" in JSON.'),
    (r.json(""), LOGIC, 'Failed to parse "" as JSON: The document is empty.'),
    (
        r.json("1 2"),
        LOGIC,
        'Failed to parse "1 2" as JSON: The document root must not be followed by other values.',
    ),
    (r.json("NaN"), LOGIC, 'Failed to parse "NaN" as JSON: Invalid value.'),
    (r.expr({"$reql_type$": "SHOE"}), LOGIC, "Unknown $reql_type$ `PTYPE<SHOE>`."),
    (
        r.expr({"$reql_type$": "BINARY", "data": "A^=="}),
        LOGIC,
        "Invalid base64 character found: '^'.",
    ),
    (
        r.expr({"$reql_type$": "TIME", "epoch_time": 1}),
        LOGIC,
        "Invalid time object constructed (no field `timezone`):",
    ),
    (r.error("boom"), "ReqlUserError", "boom"),
    (r.error(), LOGIC, "Empty ERROR term outside a default block."),
    (r.error("boom").default(1), "ReqlUserError", "boom"),
    (r.expr({})["a"].default(r.error()), MISSING, "No attribute `a` in object:"),
    (
        r.branch(1, 2, 3, 4),
        LOGIC,
        "Cannot call `branch` term with an even number of arguments.",
    ),
    (
        r.do(1, lambda a, b: a),
        LOGIC,
        "Expected function with 1 argument but found function with 2 arguments.",
    ),
]


@pytest.mark.parametrize(("query", "kind", "message"), REFUSALS, ids=lambda value: str(value)[:50])
def test_what_is_refused(refusal: Any, query: Any, kind: str, message: str) -> None:
    assert refusal(query) == (kind, message)


CONTROL: list[tuple[Any, Any]] = [
    (r.branch(None, 1, 2), 2),
    (r.branch(False, 1, 0, 2, 3), 2),
    (r.branch(True, 1, r.error("not evaluated")), 1),
    (r.do(1, 2, lambda a, b: a + b), 3),
    (r.expr(5).do(7), 7),
    (r.expr({})["a"].default(1), 1),
    (r.expr(None).default(lambda told: [told]), [None]),
    (r.expr([])[0].default(lambda told: told), "Index out of bounds: 0"),
    (r.expr(None).default(r.error()), None),
    (r.expr([r.args([1, 2]), 3]), [1, 2, 3]),
    (r.json('{"a": [1, 2.5, "x"]}'), {"a": [1, 2.5, "x"]}),
    (r.expr({"b": 1, "a": [True]}).to_json_string(), '{"a":[true],"b":1}'),
]


@pytest.mark.parametrize(("query", "expected"), CONTROL, ids=lambda value: str(value)[:50])
def test_what_steers_evaluation(reql: Run, query: Any, expected: Any) -> None:
    assert reql(query) == expected


def test_a_table_is_no_datum(refusal: Any, people: Any) -> None:
    for query in (people + 1, people.do(lambda rows: rows), r.expr([people])):
        assert refusal(query) == (LOGIC, "Expected type DATUM but found TABLE:")
