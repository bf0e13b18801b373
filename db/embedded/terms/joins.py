"""Terms that join: inner_join, outer_join, eq_join, zip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from db.embedded.datum import Datum, order_key
from db.embedded.env import Env
from db.embedded.errors import NonExistenceError, QueryLogicError
from db.embedded.fields import transform
from db.embedded.keys import key_from_value
from db.embedded.merging import merge_datum
from db.embedded.registry import term
from db.embedded.sequences import Function, Read, Selection, Sequence, Step
from db.embedded.values import (
    as_bool,
    as_datum,
    expect_arity,
    finite_rows_of,
    wrong_type,
)

Rows = list[Datum] | Sequence


def _matches(
    env: Env, others: Rows, function: Function
) -> Callable[[Datum], Iterator[dict[str, Datum]]]:
    expect_arity(function, 2)

    def matching(left: Datum) -> Iterator[dict[str, Datum]]:
        for right in finite_rows_of(env, others):
            if as_bool(env, function.call(left, right)):
                yield {"left": left, "right": right}

    return matching


@term("INNER_JOIN", 48, "sequence sequence constant_function", forbids_writes=True)
def inner_join(env: Env, rows: Rows, others: Rows, function: Function) -> Any:
    return transform(env, rows, Step("concat_map", _matches(env, others, function)))


@term("OUTER_JOIN", 49, "sequence sequence constant_function", forbids_writes=True)
def outer_join(env: Env, rows: Rows, others: Rows, function: Function) -> Any:
    matching = _matches(env, others, function)

    def pairs(left: Datum) -> list[dict[str, Datum]]:
        return env.collect(matching(left)) or [{"left": left}]

    return transform(env, rows, Step("concat_map", pairs))


@term(
    "EQ_JOIN", 50, "sequence field_function table",
    options={"index": "string", "ordered": "bool"},
    stream_groups=True, forbids_writes=True,
)  # fmt: skip
def eq_join(
    env: Env,
    rows: Rows,
    by: Function,
    right: Selection,
    index: str | None = None,
    ordered: bool = False,
) -> Any:
    """Pairs with the rows of a table that have the left row's value in an index."""
    expect_arity(by, 1)
    table, value_of = right.table, by.unary
    name = None if index in (None, table.primary_key) else index
    if name is not None:
        table.index(name)

    def pairs(left: Datum) -> Iterator[dict[str, Datum]]:
        try:
            value = as_datum(env, value_of(left))
        except NonExistenceError:
            return
        if value is None:
            return
        key = order_key(value) if name is not None else key_from_value(value)
        for found in table.read(Read(table, index=name, keys=(key,))):
            yield {"left": left, "right": found}

    return transform(env, rows, Step("eq_join", apply=_each(pairs)))


def _each(
    pairs: Callable[[Datum], Iterator[Datum]],
) -> Callable[[Env, Iterator[Datum]], Iterator[Datum]]:
    return lambda env, rows: (pair for row in rows for pair in pairs(row))


@term("ZIP", 72, "sequence")
def zip_rows(env: Env, rows: Rows) -> Any:
    return transform(env, rows, Step("zip", apply=lambda env, rows: map(_zipped, rows)))


def _zipped(pair: Datum) -> Datum:
    if type(pair) is not dict:
        raise wrong_type("OBJECT", pair)
    if "left" not in pair:
        raise QueryLogicError("ZIP can only be called on the result of a join.")
    left = pair["left"]
    return merge_datum(left, pair["right"]) if "right" in pair else left
