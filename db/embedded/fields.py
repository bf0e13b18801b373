"""Fields and elements of values: what `row["name"]`, get_field, nth and negative indexes mean.

Terms that work on an object or, row by row, on a sequence of objects (get_field, pluck, merge …)
share `over_objects`: it decides which of the two a value is and gives RethinkDB's errors for what
is neither. Used by the document and transformation terms and by strings that stand for functions.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from db.embedded.datum import DATUM_TYPES, Datum, Time, shorten, type_name
from db.embedded.env import Env
from db.embedded.errors import NonExistenceError, QueryLogicError
from db.embedded.sequences import (
    ArraySelection,
    Selection,
    Sequence,
    SingleSelection,
    Step,
)
from db.embedded.values import (
    as_array,
    as_int32,
    as_sequence,
    field_of,
    finite_rows_of,
    rows_of,
    show,
)

OnObject = Callable[[dict[str, Datum]], Any]

_MISSING: Final = object()


def transform(env: Env, rows: list[Datum] | Sequence, step: Step) -> Any:
    """A sequence after one more step: an array from an array, otherwise lazily."""
    if isinstance(rows, list):
        return env.collect(step.run(env, iter(rows)))
    made = rows.with_step(step)
    if isinstance(rows, ArraySelection) and not isinstance(made, ArraySelection):
        return env.collect(made.rows(env))
    return made


def not_an_object(name: str, value: Any) -> QueryLogicError:
    """Why a term that works on objects cannot work on this value."""
    if type(value) is Time or (type(value) is dict and "$reql_type$" in value):
        return QueryLogicError(f"Cannot call `{name}` on objects of type `{type_name(value)}`.")
    message = f"Cannot perform {name} on a non-object non-sequence `{shorten(show(value))}`."
    return NonExistenceError(message) if value is None else QueryLogicError(message)


def row_function(name: str, on_object: OnObject) -> Callable[[Datum], Any]:
    """What such a term does with one row of a sequence."""

    def on_row(row: Datum) -> Any:
        if type(row) is dict:
            return on_object(row)
        if type(row) is list:
            raise QueryLogicError(f"Cannot perform {name} on a sequence of sequences.")
        raise not_an_object(name, row)

    return on_row


def over_objects(env: Env, name: str, kind: str, value: Any, on_object: OnObject) -> Any:
    """Apply to an object, or by a step of this kind ("map", "filter") to the rows of a sequence."""
    if type(value) is SingleSelection:
        value = value.row
    if type(value) is dict:
        return on_object(value)
    if type(value) is list or isinstance(value, Sequence):
        return transform(env, value, Step(kind, row_function(name, on_object)))
    if type(value) not in DATUM_TYPES:
        value = as_sequence(env, value)
    raise not_an_object(name, value)


# --- one field ----------------------------------------------------------------------------


def get_field(env: Env, term: str, value: Any, name: str) -> Any:
    """A field of an object; of a sequence, that field of every row that has it."""
    if type(value) is SingleSelection:
        value = value.row
    if type(value) is dict:
        return field_of(env, value, name)
    if type(value) is list or isinstance(value, Sequence):
        return _field_of_rows(env, term, value, name)
    if type(value) not in DATUM_TYPES:
        value = as_sequence(env, value)
    raise not_an_object(term, value)


def _field_of_rows(env: Env, term: str, rows: list[Datum] | Sequence, name: str) -> Any:
    """As a filter and a map, which a changefeed can follow."""
    refuse = row_function(term, lambda row: row)

    def has_field(row: Datum) -> bool:
        if type(row) is dict:
            return name in row
        if row is not None:
            refuse(row)
        return False

    having = transform(env, rows, Step("filter", has_field))
    return transform(env, having, Step("map", lambda row: row[name]))


def bracket_of(env: Env, value: Any, key: Datum) -> Any:
    """`value[key]`: an element for a number, a field for a string."""
    if type(key) is str:
        return get_field(env, "bracket", value, key)
    if type(key) is int or type(key) is float:
        return element_of(env, value, as_int32(env, key))
    raise (NonExistenceError if key is None else QueryLogicError)(
        f"Expected NUMBER or STRING as second argument to `bracket` but found {type_name(key)}."
    )


# --- one element --------------------------------------------------------------------------


def element_of(env: Env, value: Any, position: int) -> Any:
    """The element at a position; from the end where it is negative."""
    if isinstance(value, Sequence):
        return _row_at(env, value, position)
    is_row = type(value) is SingleSelection
    items = as_array(env, value.row) if is_row else _array_of(env, value)
    if -len(items) <= position < len(items):
        return items[position]
    raise NonExistenceError(f"Index out of bounds: {position}")


def _array_of(env: Env, value: Any) -> list[Datum]:
    rows = as_sequence(env, value)
    return rows if isinstance(rows, list) else env.collect(rows_of(env, rows))


def _row_at(env: Env, rows: Sequence, position: int) -> Any:
    if position < -1:
        raise QueryLogicError(f"Cannot use an index < -1 ({position}) on a stream.")
    found: Any = _MISSING
    if position == -1:
        for row in finite_rows_of(env, rows):
            found = row
    else:
        found = next(islice(rows_of(env, rows), position, None), _MISSING)
    if found is _MISSING:
        raise NonExistenceError(f"Index out of bounds: {position}")
    if isinstance(rows, (Selection, ArraySelection)):
        return SingleSelection(rows.table, found, found[rows.table.primary_key])
    return found


def absolute(position: int, size: int) -> int:
    """A position counted from the start of something of this size."""
    if position >= 0:
        return position
    if -position > size:
        raise NonExistenceError(f"Index out of bounds: {position}")
    return size + position
