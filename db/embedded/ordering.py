"""Orders rows are put in: what follows `order_by` and `union(interleave=…)`.

An order is a function of a row and a direction; several decide one after the other. A row
the function finds nothing in comes first (last, when descending). asc and desc are not values of
the language: they are read off the query, as RethinkDB does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from db.embedded.datum import Datum, order_key
from db.embedded.env import Env
from db.embedded.errors import NonExistenceError, QueryLogicError
from db.embedded.nodes import ARGS, DESC, Frame, Node
from db.embedded.values import as_datum, as_field_function, expect_arity

_NOTHING: Final = b""  # below the order key of every datum


@dataclass(frozen=True, slots=True)
class Order:
    """By what, and which way."""

    value_of: Callable[[Datum], Any]
    descending: bool
    field: str | None = None  # where it is simply a field of the row


def order_of(env: Env, frame: Frame, node: Node) -> Order:
    """The order an argument of order_by stands for."""
    if node.code == ARGS:
        raise QueryLogicError("r.args is not supported in an order_by or union command yet.")
    value = node.run(frame)
    function = as_field_function(env, value)
    expect_arity(function, 1)
    if not function.deterministic or not node.deterministic:
        raise QueryLogicError("Sorting by a non-deterministic function is not supported.")
    return Order(function.unary, node.code == DESC, value if type(value) is str else None)


def orders_of(env: Env, frame: Frame, node: Node) -> list[Order]:
    """The orders `interleave` stands for; none for true and false."""
    if node.elements is not None:
        return [order_of(env, frame, element) for element in node.elements]
    if type(node.constant) is bool:
        return []
    if type(node.constant) is list:
        return [Order(_field(env, name), False, name) for name in node.constant]
    return [order_of(env, frame, node)]


def _field(env: Env, name: Datum) -> Callable[[Datum], Any]:
    return as_field_function(env, name).unary


def row_key(env: Env, order: Order) -> Callable[[Datum], bytes]:
    """The order key of what the order goes by in a row."""
    value_of, field = order.value_of, order.field

    def key(row: Datum) -> bytes:
        env.tick()
        try:
            if field is not None and type(row) is dict:
                return order_key(row[field]) if field in row else _NOTHING
            return order_key(as_datum(env, value_of(row)))
        except NonExistenceError:
            return _NOTHING

    return key


def sort_rows(env: Env, rows: list[Datum], orders: list[Order]) -> list[Datum]:
    """The rows in order; equal ones stay as they were."""
    for order in reversed(orders):
        key = row_key(env, order)
        rows = sorted(rows, key=key, reverse=order.descending)
    return rows


@dataclass(frozen=True, slots=True)
class _Reversed:
    """A key that sorts the other way."""

    key: bytes

    def __lt__(self, other: _Reversed) -> bool:
        return other.key < self.key


def sort_keys(env: Env, orders: list[Order]) -> Callable[[Datum], tuple[Any, ...]]:
    """One comparable key for all orders together."""
    parts = [(row_key(env, order), order.descending) for order in orders]

    def key(row: Datum) -> tuple[Any, ...]:
        return tuple(
            _Reversed(part(row)) if descending else part(row) for part, descending in parts
        )

    return key
