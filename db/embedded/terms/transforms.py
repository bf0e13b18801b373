"""Terms that turn one sequence into another: map, filter, concat_map, order_by, slice …"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from db.embedded.compiler import FUNC, Call, Closure, Frame
from db.embedded.datum import Datum, equal, order_key, type_name
from db.embedded.env import Env
from db.embedded.errors import EmptyError, NonExistenceError, QueryLogicError
from db.embedded.registry import special, term
from db.embedded.sequences import (
    ArraySelection,
    Function,
    Grouped,
    Ordering,
    Selection,
    Sequence,
    SingleSelection,
    Step,
)
from db.embedded.values import (
    as_datum,
    as_field_function,
    as_sequence,
    as_string,
    datum_function,
    finite_rows_of,
    predicate,
    rows_of,
)


@term("MAP", 38, "sequence function", forbids_writes=True)
def map_rows(env: Env, rows: list[Datum] | Sequence, function: Function) -> Any:
    call = datum_function(env, function)
    if isinstance(rows, list):
        return env.collect(map(call, rows))
    return rows.with_step(Step("map", call))


def _matcher(pattern: Datum) -> Callable[[Datum], bool]:
    """A literal object as a filter: every field it names must be there and match."""
    if type(pattern) is not dict:
        return lambda value: equal(value, pattern)
    tests = [(key, _matcher(value)) for key, value in pattern.items()]

    def matches(value: Datum) -> bool:
        return type(value) is dict and all(key in value and test(value[key]) for key, test in tests)

    return matches


def _truth_of_function(
    env: Env, function: Function, default: Callable[[NonExistenceError], bool]
) -> Callable[[Datum], bool]:
    test = predicate(env, function)

    def holds(row: Datum) -> bool:
        try:
            return test(row)
        except NonExistenceError as error:
            return default(error)

    return holds


@special("FILTER", 39, 2, 2, options={"default": "any"}, forbids_writes=True)
def filter_rows(call: Call) -> Closure:
    rows_from, test_from = call.runs
    default_node = call.options.get("default")

    def on_missing(frame: Frame) -> Callable[[NonExistenceError], bool]:
        def decide(error: NonExistenceError) -> bool:
            if default_node is None:
                return False
            try:
                value = as_datum(frame[0], default_node.run(frame))
            except EmptyError:
                raise error from None
            return value is not None and value is not False

        return decide

    def run(frame: Frame) -> Any:
        env = frame[0]
        rows = rows_from(frame)
        if type(rows) is Grouped:
            return rows.apply(lambda value: keep(frame, as_sequence(env, value)))
        return keep(frame, as_sequence(env, rows))

    def keep(frame: Frame, rows: list[Datum] | Sequence) -> Any:
        env = frame[0]
        test = test_from(frame)
        if type(test) is Function:
            holds = _truth_of_function(env, test, on_missing(frame))
        else:
            pattern = as_datum(env, test)
            holds = (
                _matcher(pattern)
                if type(pattern) is dict
                else lambda row: bool(pattern is not None and pattern is not False)
            )
        if isinstance(rows, list):
            return env.collect(filter(holds, rows))
        return rows.with_step(Step("filter", holds))

    return run


@term("LIMIT", 71, "sequence int", forbids_writes=False)
def limit(env: Env, rows: list[Datum] | Sequence, count: int) -> Any:
    if count < 0:
        raise QueryLogicError(f"LIMIT takes a non-negative argument (got {count}).")
    if isinstance(rows, list):
        return rows[:count]
    return rows.with_step(Step("slice", stop=count))


@term("SKIP", 70, "sequence int")
def skip(env: Env, rows: list[Datum] | Sequence, count: int) -> Any:
    if count < 0:
        raise QueryLogicError("Cannot use a negative left index on a stream.")
    if isinstance(rows, list):
        return rows[count:]
    return rows.with_step(Step("slice", start=count))


@term("ASC", 73, "any")
def ascending(env: Env, key: Any) -> Ordering:
    return Ordering(key, descending=False)


@term("DESC", 74, "any")
def descending(env: Env, key: Any) -> Ordering:
    return Ordering(key, descending=True)


@term("ORDER_BY", 41, "any any*", options={"index": "any"})
def order_by(env: Env, rows: Any, *keys: Any, index: Any = None) -> Any:
    value = as_sequence(env, rows)
    if index is not None:
        value = _by_index(env, value, index)
    if not keys:
        if index is None:
            raise QueryLogicError("Must specify something to order by.")
        return value
    items = env.collect(finite_rows_of(env, value))
    for key in reversed(keys):
        ordering = key if type(key) is Ordering else Ordering(key, descending=False)
        take = as_field_function(env, ordering.key).unary

        def sort_key(row: Datum, take: Callable[[Any], Any] = take) -> bytes:
            try:
                return order_key(as_datum(env, take(row)))
            except NonExistenceError:
                return b""

        items = sorted(items, key=sort_key, reverse=ordering.descending)
    if isinstance(value, (Selection, ArraySelection)):
        return ArraySelection(value.table, items)
    return items


def _by_index(env: Env, value: Any, index: Any) -> Selection:
    from db.embedded.terms.tables import index_option

    ordering = index if type(index) is Ordering else Ordering(index, descending=False)
    if type(value) is not Selection or value.kind not in ("TABLE", "TABLE_SLICE"):
        raise QueryLogicError("Indexed order_by can only be performed on a TABLE or TABLE_SLICE.")
    name = index_option(value, as_string(env, ordering.key))
    return value.narrowed(index=name, order="desc" if ordering.descending else "asc")


_NONE = object()


@term("NTH", 45, "sequence int")
def nth(env: Env, rows: list[Datum] | Sequence, position: int) -> Any:
    if isinstance(rows, list):
        if not -len(rows) <= position < len(rows):
            raise NonExistenceError(f"Index out of bounds: {position}")
        return rows[position]
    if position < 0:
        items = env.collect(finite_rows_of(env, rows))
        if position < -len(items):
            raise NonExistenceError(f"Index out of bounds: {position}")
        row = items[position]
    else:
        found = next(islice(rows_of(env, rows), position, None), _NONE)
        if found is _NONE:
            raise NonExistenceError(f"Index out of bounds: {position}")
        row = found
    if isinstance(rows, (Selection, ArraySelection)):
        return SingleSelection(rows.table, row, row[rows.table.primary_key])
    return row


@term("COUNT", 43, "any any?", forbids_writes=True)
def count(env: Env, value: Any, *tests: Any) -> int:
    shown = value.row if type(value) is SingleSelection else value
    if not tests and type(shown) in (str, dict, bytes):
        return len(shown)
    rows = as_sequence(env, value)
    if not tests:
        if type(rows) is Selection and rows.kind == "TABLE":
            return int(rows.table.count())
        return sum(1 for _ in finite_rows_of(env, rows))
    (wanted,) = tests
    if type(wanted) is Function:
        holds = _truth_of_function(env, wanted, lambda error: False)
        return sum(1 for row in finite_rows_of(env, rows) if holds(row))
    wanted = as_datum(env, wanted)
    return sum(1 for row in finite_rows_of(env, rows) if equal(row, wanted))


__all__ = ["FUNC", "type_name"]
