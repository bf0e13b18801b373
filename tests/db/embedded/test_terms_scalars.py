"""Numbers, comparison, logic, bits and chance."""

from __future__ import annotations

from typing import Any

import pytest

from tests.db.embedded.conftest import Run, r

LOGIC = "ReqlQueryLogicError"
MISSING = "ReqlNonExistenceError"

RESULTS: list[tuple[Any, Any]] = [
    (r.expr(1) + 2 + 3, 6),
    (r.expr("ab") + "c", "abc"),
    (r.expr([1]).add([2]), [1, 2]),
    (r.expr([1, 2]) * 2, [1, 2, 1, 2]),
    (r.expr(2) * [0], [0, 0]),
    (r.expr(7) / 2, 3.5),
    (r.expr(-7) % 3, -1),
    (r.expr(7) % -3, 1),
    (r.expr(2**53) + 1, 2**53),
    (r.expr(0.5) + 0.5, 1),
    (r.expr(-2.5).round(), -3),
    (r.expr(2.5).round(), 3),
    (r.expr(1.2).ceil(), 2),
    (r.expr(-1.2).floor(), -2),
    (r.expr(12).bit_and(10), 8),
    (r.expr(12).bit_or(3), 15),
    (r.expr(12).bit_xor(10), 6),
    (r.expr(5).bit_not(), -6),
    (r.expr(-8).bit_sar(1), -4),
    (r.expr(3).bit_sal(4), 48),
    (r.expr(1).eq(1, 1.0), True),
    (r.expr(1).eq(True), False),
    (r.expr(1).ne(1, 2), True),
    (r.expr(1).lt(2, 3), True),
    (r.expr(1).lt(3, 2), False),
    (r.expr({"a": 1}).eq({"a": 1.0}), True),
    (r.and_(), True),
    (r.or_(), False),
    (r.expr(1).and_(None, r.error("not evaluated")), None),
    (r.expr(False).or_(0), 0),
    (~r.expr(None), True),
]


@pytest.mark.parametrize(("query", "expected"), RESULTS, ids=lambda value: str(value)[:40])
def test_what_scalars_yield(reql: Run, query: Any, expected: Any) -> None:
    assert reql(query) == expected
    assert type(reql(query)) is type(expected)


REFUSALS: list[tuple[Any, str, str]] = [
    (r.expr(1) + "a", LOGIC, "Expected type NUMBER but found STRING."),
    (r.expr("a") + 1, LOGIC, "Expected type STRING but found NUMBER."),
    (r.expr([]) + 1, LOGIC, "Expected type ARRAY but found NUMBER."),
    (r.expr(None) + 1, MISSING, "Expected type NUMBER but found NULL."),
    (r.expr(1) / 0, LOGIC, "Cannot divide by zero."),
    (r.expr(1) % 0, LOGIC, "Cannot take a number modulo 0."),
    (r.expr(1.5) % 1, LOGIC, "Number not an integer: 1.5"),
    (r.expr(1e300) * 1e300, LOGIC, "Non-finite number: inf"),
    (r.expr([1]) * -1, LOGIC, "Cannot multiply an ARRAY by a negative number."),
    (r.expr(5).bit_sal(-1), LOGIC, "Cannot bit-shift by a negative value"),
    (r.random(float=False), LOGIC, "Generating a random integer requires one or two bounds."),
    (r.random(3, 3), LOGIC, "Lower bound (3) is not less than upper bound (3)."),
    (
        r.random(0.5),
        LOGIC,
        "Upper bound (0.5) could not be safely converted to an integer.",
    ),
]


@pytest.mark.parametrize(("query", "kind", "message"), REFUSALS, ids=lambda value: str(value)[:40])
def test_what_scalars_refuse(refusal: Any, query: Any, kind: str, message: str) -> None:
    assert refusal(query) == (kind, message)


def test_data_of_all_types_have_one_order(reql: Run) -> None:
    ordered = [
        [],
        [1],
        [1, "a"],
        [2],
        False,
        True,
        None,
        -1.5,
        0,
        2,
        {},
        {"a": 1},
        {"a": 1, "b": 0},
        {"a": 2},
        {"b": 0},
    ]
    texts = ["", "A", "B", "a", "é", "\U0001f600"]
    assert reql(r.expr([*reversed(texts), *reversed(ordered)]).order_by(lambda x: x)) == [
        *ordered,
        *texts,
    ]
    assert reql(r.minval < r.expr([])) is True
    assert reql(r.maxval > "\U0010ffff") is True
    assert reql(r.binary(b"\xff") < r.now()) is True
    assert reql(r.now() < "") is True


def test_chance_keeps_to_its_bounds(reql: Run) -> None:
    drawn = reql(r.range(200).map(lambda _: r.random(3, 6)))
    assert set(drawn) == {3, 4, 5}
    assert all(0 <= value < 1 for value in reql(r.range(50).map(lambda _: r.random())))
    wide = reql(r.random(-1.7e308, 1.7e308, float=True))
    assert -1.7e308 <= wide < 1.7e308


def test_a_uuid_of_a_name_is_always_the_same(reql: Run) -> None:
    assert reql(r.uuid("isard")) == reql(r.uuid("isard"))
    assert reql(r.uuid()) != reql(r.uuid())
    assert reql(r.uuid("magic")) == "97dd10a5-4fc4-554f-86c5-0d2c2e3d5330"


def test_arity_is_told_before_anything_runs(refusal: Any) -> None:
    assert refusal(r.expr(1).eq()) == (
        "ReqlServerCompileError",
        "Expected 2 or more arguments but found 1.",
    )
    assert refusal(r.random(1, 2, 3)) == (
        "ReqlServerCompileError",
        "Expected between 0 and 2 arguments but found 3.",
    )
