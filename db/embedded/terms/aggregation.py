"""Terms that make one value of a sequence: count, sum, avg, min, max, reduce, fold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from db.embedded.datum import DATUM_TYPES, Datum, compare, equal, number
from db.embedded.env import Env
from db.embedded.errors import NonExistenceError, QueryLogicError
from db.embedded.fields import transform
from db.embedded.groups import check_took_part
from db.embedded.registry import term
from db.embedded.sequences import Function, Held, Selection, Sequence, SingleSelection, Step, Stream
from db.embedded.terms.sorting import with_order
from db.embedded.terms.transforms import filter_rows
from db.embedded.values import (
    as_array,
    as_datum,
    as_field_function,
    as_number,
    as_sequence,
    as_table,
    expect_arity,
    finite_rows_of,
)

Rows = list[Datum] | Sequence

# --- count --------------------------------------------------------------------------------


@term("COUNT", 43, "any any?", stream_groups=True, forbids_writes=True)
def count(env: Env, value: Any, *tests: Any) -> int:
    if type(value) is SingleSelection:
        value = value.row
    if not tests and type(value) in (str, dict, bytes):
        return len(value)
    rows = as_sequence(env, value)
    if not tests:
        return _length(env, rows)
    if type(tests[0]) is Function:
        found = _length(env, filter_rows(env, rows, tests[0]))
    else:
        wanted = as_datum(env, tests[0])
        found = sum(1 for row in finite_rows_of(env, rows) if equal(row, wanted))
    check_took_part(rows, found > 0)
    return found


def _length(env: Env, rows: Rows) -> int:
    if isinstance(rows, list):
        return len(rows)
    if type(rows) is Selection and rows.kind == "TABLE":
        return int(rows.table.count())
    if type(rows) is Stream and type(rows.source) is Held and not rows.steps:
        return len(rows.source.items)
    return sum(1 for _ in finite_rows_of(env, rows))


# --- sum, avg, min, max -------------------------------------------------------------------

_NO_INDEX = {"index": "string"}


def _values(env: Env, rows: Rows, function: Function | None) -> Iterator[tuple[Datum, Datum]]:
    """(row, value of the function in it), leaving out rows where there is none."""
    if function is None:
        for row in finite_rows_of(env, rows):
            yield row, row
        return
    expect_arity(function, 1)
    value_of = function.unary
    for row in finite_rows_of(env, rows):
        try:
            value = value_of(row)
            yield row, value if type(value) in DATUM_TYPES else as_datum(env, value)
        except NonExistenceError:
            continue


def _numbers(env: Env, rows: Rows, function: Function | None) -> Iterator[float]:
    for _, value in _values(env, rows, function):
        if type(value) is int or type(value) is float:
            yield value
        elif value is not None:
            as_number(env, value)


def _by_what(
    env: Env, name: str, by: tuple[Any, ...], index: str | None, *, indexable: bool
) -> Function | None:
    if by and index is not None:
        raise QueryLogicError(f"Cannot provide both a function and an index to {name}.")
    if index is not None and not indexable:
        raise QueryLogicError(f"Cannot call {name} on an index.")
    return as_field_function(env, by[0]) if by else None


@term("SUM", 145, "any any?", options=_NO_INDEX, stream_groups=True, forbids_writes=True)
def sum_of(env: Env, value: Any, *by: Any, index: str | None = None) -> Datum:
    function = _by_what(env, "sum", by, index, indexable=False)
    rows = as_sequence(env, value)
    total: float = 0
    seen = False
    for item in _numbers(env, rows, function):
        total += item
        seen = True
    check_took_part(rows, seen)
    return number(total)


@term("AVG", 146, "any any?", options=_NO_INDEX, stream_groups=True, forbids_writes=True)
def average(env: Env, value: Any, *by: Any, index: str | None = None) -> Datum:
    function = _by_what(env, "avg", by, index, indexable=False)
    rows = as_sequence(env, value)
    total: float = 0
    seen = 0
    for item in _numbers(env, rows, function):
        total += item
        seen += 1
    check_took_part(rows, seen > 0)
    if not seen:
        raise _empty("average", "avg")
    return number(total / seen)


def _empty(what: str, name: str) -> NonExistenceError:
    return NonExistenceError(
        f"Cannot take the {what} of an empty stream.  (If you passed `{name}` a field name, it may "
        "be that no elements of the stream had that field.)"
    )


def _extreme(name: str, code: int, order: str, sign: int) -> None:
    """min and max: the first row with the least (greatest) value."""

    @term(name, code, "any any?", options=_NO_INDEX, stream_groups=True, forbids_writes=True)
    def extreme(env: Env, value: Any, *by: Any, index: str | None = None) -> Any:
        shown = name.lower()
        function = _by_what(env, shown, by, index, indexable=True)
        whole_table = type(value) is Selection and value.kind == "TABLE"
        if index is not None or (function is None and whole_table):
            return first_by_index(env, shown, as_table(env, value), index, order)
        rows = as_sequence(env, value)
        best: tuple[Datum, Datum] | None = None
        for row, item in _values(env, rows, function):
            if best is None or compare(item, best[1]) == sign:
                best = (row, item)
        check_took_part(rows, best is not None)
        if best is None:
            raise _empty(shown, shown)
        return best[0]


def first_by_index(
    env: Env, name: str, table: Selection, index: str | None, order: str
) -> SingleSelection:
    """The first row of a table in the order of an index, looked up when it is asked for."""
    ordered = with_order(table, index or table.table.primary_key, order)

    def find() -> Datum:
        for row in ordered.rows(env):
            return row
        raise QueryLogicError(f"`{name}` found no entries in the specified index.")

    return SingleSelection.found_by(table.table, find, ordered.read)


_extreme("MIN", 147, "asc", -1)
_extreme("MAX", 148, "desc", 1)


# --- reduce and fold ----------------------------------------------------------------------


@term(
    "REDUCE", 37, "sequence function", options={"base": "any"},
    stream_groups=True, forbids_writes=True,
)  # fmt: skip
def reduce_rows(env: Env, rows: Rows, function: Function, base: Any = None) -> Datum:
    expect_arity(function, 2)
    iterator = finite_rows_of(env, rows)
    for first in iterator:
        total = first
        for row in iterator:
            value = function.call(total, row)
            total = value if type(value) in DATUM_TYPES else as_datum(env, value)
        return total
    raise NonExistenceError("Cannot reduce over an empty stream.")


@term(
    "FOLD", 187, "sequence datum function",
    options={"emit": "function", "final_emit": "function"},
    stream_groups=True, forbids_writes=True,
)  # fmt: skip
def fold(
    env: Env,
    rows: Rows,
    base: Datum,
    function: Function,
    emit: Function | None = None,
    final_emit: Function | None = None,
) -> Any:
    if function.arity not in (None, 2):
        raise QueryLogicError("The accumulator function passed to `fold` should expect 2 arguments")
    combine = _data_of(env, function)
    if emit is not None:
        return _emitting(env, rows, base, combine, emit, final_emit)
    total = base
    for row in finite_rows_of(env, rows):
        total = combine(total, row)
    return total if final_emit is None else _data_of(env, final_emit)(total)


def _data_of(env: Env, function: Function) -> Callable[..., Datum]:
    return lambda *values: as_datum(env, function.call(*values))


def _emitting(
    env: Env,
    rows: Rows,
    base: Datum,
    combine: Callable[..., Datum],
    emit: Function,
    final_emit: Function | None,
) -> Any:
    """What `emit` makes of each row, before and after it, as a sequence of its own."""
    emit_of = _data_of(env, emit)

    def emitted(env: Env, rows: Iterator[Datum]) -> Iterator[Datum]:
        total = base
        for row in rows:
            before, total = total, combine(total, row)
            yield from as_array(env, emit_of(before, row, total))
        if final_emit is not None:
            yield from as_array(env, _data_of(env, final_emit)(total))

    return transform(env, rows, Step("fold", apply=emitted))
