"""Terms on arrays: adding, inserting, replacing and removing elements; arrays as sets."""

from __future__ import annotations

from typing import Any

from db.embedded.datum import Datum, equal, order_key
from db.embedded.env import Env
from db.embedded.errors import NonExistenceError, QueryLogicError
from db.embedded.fields import absolute, transform
from db.embedded.registry import term
from db.embedded.sequences import Function, Sequence, Step
from db.embedded.values import as_bool, as_datum, as_sequence, expect_arity, rows_of


@term("APPEND", 29, "array datum")
def append(env: Env, items: list[Datum], item: Datum) -> Datum:
    return env.check_array([*items, item])


@term("PREPEND", 80, "array datum")
def prepend(env: Env, items: list[Datum], item: Datum) -> Datum:
    return env.check_array([item, *items])


def _within(position: int, items: list[Datum], last: int) -> int:
    """The position, which may be at most `last`."""
    if position <= last:
        return position
    raise NonExistenceError(f"Index `{position}` out of bounds for array of size: `{len(items)}`.")


def _gap(items: list[Datum], position: int) -> int:
    """Where to insert: a place between elements, from the end where it is negative."""
    return _within(absolute(position, len(items) + 1), items, len(items))


@term("INSERT_AT", 82, "array int datum")
def insert_at(env: Env, items: list[Datum], position: int, item: Datum) -> Datum:
    at = _gap(items, position)
    return env.check_array([*items[:at], item, *items[at:]])


@term("SPLICE_AT", 85, "array int array")
def splice_at(env: Env, items: list[Datum], position: int, others: list[Datum]) -> Datum:
    at = _gap(items, position)
    return env.check_array([*items[:at], *others, *items[at:]])


@term("CHANGE_AT", 84, "array int datum")
def change_at(env: Env, items: list[Datum], position: int, item: Datum) -> Datum:
    at = _within(absolute(position, len(items)), items, len(items) - 1)
    return [*items[:at], item, *items[at + 1 :]]


@term("DELETE_AT", 83, "array int int?")
def delete_at(env: Env, items: list[Datum], first: int, *end: int) -> Datum:
    start = absolute(first, len(items))
    if not end:
        _within(start, items, len(items) - 1)
        return [*items[:start], *items[start + 1 :]]
    stop = absolute(end[0], len(items))
    _within(start, items, len(items))
    _within(stop, items, len(items))
    if start > stop:
        raise QueryLogicError(f"Start index `{start}` is greater than end index `{stop}`.")
    return [*items[:start], *items[stop:]]


# --- sets ---------------------------------------------------------------------------------


def _unique(items: list[Datum], seen: set[bytes]) -> list[Datum]:
    """The elements not seen so far, each once."""
    made = []
    for item in items:
        key = order_key(item)
        if key not in seen:
            seen.add(key)
            made.append(item)
    return made


@term("SET_INSERT", 88, "array datum")
def set_insert(env: Env, items: list[Datum], item: Datum) -> Datum:
    return env.check_array(_unique([*items, item], set()))


@term("SET_UNION", 90, "array array")
def set_union(env: Env, items: list[Datum], others: list[Datum]) -> Datum:
    return env.check_array(_unique([*items, *others], set()))


@term("SET_DIFFERENCE", 91, "array array")
def set_difference(env: Env, items: list[Datum], others: list[Datum]) -> Datum:
    return _unique(items, set(map(order_key, others)))


@term("SET_INTERSECTION", 89, "array array")
def set_intersection(env: Env, items: list[Datum], others: list[Datum]) -> Datum:
    common = set(map(order_key, items))
    return [item for item in _unique(others, set()) if order_key(item) in common]


@term("DIFFERENCE", 95, "sequence any")
def difference(env: Env, rows: list[Datum] | Sequence, others: Any) -> Any:
    removed = {order_key(row) for row in rows_of(env, as_sequence(env, others))}
    return transform(env, rows, Step("filter", lambda row: order_key(row) not in removed))


@term("CONTAINS", 93, "sequence any*")
def contains(env: Env, rows: list[Datum] | Sequence, *wanted: Any) -> bool:
    """Every value is found and every function holds, each for a row of its own."""
    values = [as_datum(env, item) for item in wanted if type(item) is not Function]
    tests = [item for item in wanted if type(item) is Function]
    for test in tests:
        expect_arity(test, 1)
    for row in rows_of(env, rows):
        for i, value in enumerate(values):
            if equal(value, row):
                values.pop(i)
                break
        for i, test in enumerate(tests):
            if as_bool(env, test.unary(row)):
                tests.pop(i)
                break
        if not values and not tests:
            return True
    return False
