"""Conversions between the kinds of values, with the errors ReQL gives when one does not fit.

The compiler calls these for every argument by the kind its term declares (`KINDS`); terms call
them for what they get from functions. Each takes `(env, value)` and returns the converted
value or raises. `FAST` names the Python types for which a kind needs no conversion at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from db.embedded.datum import DATUM_TYPES, Datum, Time, equal, pretty, shorten, type_name
from db.embedded.env import Env
from db.embedded.errors import NonExistenceError, QueryLogicError, ResourceLimitError
from db.embedded.groups import Grouped
from db.embedded.sequences import (
    ArraySelection,
    DatabaseValue,
    Function,
    Selection,
    Sequence,
    SingleSelection,
)

_KINDS: dict[type, str] = {
    SingleSelection: "SINGLE_SELECTION",
    Grouped: "GROUPED_DATA",
    DatabaseValue: "DATABASE",
    Function: "FUNCTION",
}


def value_kind(value: Any) -> str:
    """The type of any value as error messages name it (DATUM for every datum)."""
    if type(value) in DATUM_TYPES:
        return "DATUM"
    if isinstance(value, Selection):
        return "SELECTION" if value.kind.startswith("SELECTION") else value.kind
    if isinstance(value, ArraySelection):
        return "SELECTION"
    if isinstance(value, Sequence) or (type(value) is Grouped and value.is_stream):
        return "SEQUENCE"
    return _KINDS[type(value)]


def show(value: Any) -> str:
    """A value as messages quote it."""
    if type(value) in DATUM_TYPES:
        return shorten(pretty(value))
    if isinstance(value, Selection) and value.kind == "TABLE":
        return f'table("{value.table.name}")'
    if isinstance(value, (Selection, ArraySelection)):
        return f"SELECTION ON table({value.table.name})"
    if isinstance(value, DatabaseValue):
        return f'db("{value.database.name}")'
    return f"VALUE {value_kind(value)}"


def wrong_kind(expected: str, value: Any) -> QueryLogicError:
    kind = NonExistenceError if value is None else QueryLogicError
    return kind(f"Expected type {expected} but found {value_kind(value)}:\n{show(value)}")


def wrong_type(expected: str, value: Datum) -> QueryLogicError:
    """A datum of another type; a null counts as something missing."""
    message = f"Expected type {expected} but found {type_name(value)}."
    return NonExistenceError(message) if value is None else QueryLogicError(message)


def as_datum(env: Env, value: Any) -> Datum:
    if type(value) in DATUM_TYPES:
        return value
    if type(value) is SingleSelection:
        return value.row
    raise wrong_kind("DATUM", value)


def as_number(env: Env, value: Any) -> int | float:
    value = as_datum(env, value)
    if type(value) is int or type(value) is float:
        return value
    raise wrong_type("NUMBER", value)


def as_int(env: Env, value: Any) -> int:
    value = as_number(env, value)
    if type(value) is int:
        return value
    size = " (<-2^53)" if value < -(2**53) else " (>2^53)" if value > 2**53 else ""
    raise QueryLogicError(f"Number not an integer{size}: {value:.20g}")


def as_int32(env: Env, value: Any) -> int:
    value = as_int(env, value)
    if -(2**31) <= value < 2**31:
        return value
    raise QueryLogicError(f"Integer too large: {value}")


def as_string(env: Env, value: Any) -> str:
    value = as_datum(env, value)
    if type(value) is str:
        return value
    raise wrong_type("STRING", value)


def as_bool(env: Env, value: Any) -> bool:
    """Truth: everything but false and null is true."""
    value = as_datum(env, value)
    return value is not None and value is not False


def as_array(env: Env, value: Any) -> list[Datum]:
    value = as_datum(env, value)
    if type(value) is list:
        return value
    raise wrong_type("ARRAY", value)


def as_object(env: Env, value: Any) -> dict[str, Datum]:
    value = as_datum(env, value)
    if type(value) is dict:
        return value
    raise wrong_type("OBJECT", value)


def as_sequence(env: Env, value: Any) -> list[Datum] | Sequence:
    """An array stays a list; the other things rows can be drawn from are Sequences."""
    if type(value) is list or isinstance(value, Sequence):
        return value
    if type(value) in DATUM_TYPES:
        message = f"Cannot convert {type_name(value)} to SEQUENCE"
        raise NonExistenceError(message) if value is None else QueryLogicError(message)
    if type(value) is SingleSelection:
        return as_sequence(env, value.row)
    if type(value) is Grouped and value.is_stream:
        raise QueryLogicError(
            "Cannot treat the output of `group` as a stream (did you mean to `ungroup`?)."
        )
    raise wrong_kind("SEQUENCE", value)


def check_groups(env: Env, grouped: Grouped) -> Grouped:
    """The groups of a grouped stream as arrays, unless they are too much."""
    if grouped.is_stream:
        rows = sum(len(rows) for _, rows in grouped.groups.values())
        if rows > env.array_limit:
            raise ResourceLimitError(
                f"Grouped data over size limit `{env.array_limit}`.  Try putting a reduction "
                "(like `.reduce` or `.count`) on the end."
            )
    return grouped


def rows_of(env: Env, value: list[Datum] | Sequence) -> Iterator[Datum]:
    """The rows of a converted sequence, lazily, with ticks."""
    if isinstance(value, list):
        return env.ticking(value)
    return value.rows(env)


def finite_rows_of(env: Env, value: list[Datum] | Sequence) -> Iterator[Datum]:
    """As rows_of, for terms that need to see the end (count, reduce, order_by …)."""
    if isinstance(value, Sequence) and value.infinite:
        raise QueryLogicError(
            "Cannot use an infinite stream with an aggregation function (`reduce`, `count`, etc.)"
            " or coerce it to an array."
            if feed_below(value) is None
            else "Cannot call a terminal (`reduce`, `count`, etc.) on an infinite stream "
            "(such as a changefeed)."
        )
    return rows_of(env, value)


def feed_below(value: Any) -> Any:
    """The changefeed a sequence draws from, whatever steps follow it; None if there is none."""
    source = getattr(value, "source", None)
    return source if getattr(source, "is_feed", False) else None


def as_time(env: Env, value: Any) -> Time:
    value = as_datum(env, value)
    if type(value) is Time:
        return value
    raise QueryLogicError(f"Not a TIME pseudotype: `{show(value)}`.")


def is_open(option: str, value: str) -> bool:
    """Whether the bound an option speaks of is left out."""
    if value in ("open", "closed"):
        return value == "open"
    raise QueryLogicError(
        f"Expected `open` or `closed` for optarg `{option}` (got `{show(value)}`)."
    )


def as_table(env: Env, value: Any) -> Selection:
    """A whole table and nothing less."""
    if type(value) is Selection and value.kind == "TABLE":
        return value
    raise wrong_kind("TABLE", value)


def as_table_slice(env: Env, value: Any) -> Selection:
    if type(value) is Selection and value.kind in ("TABLE", "TABLE_SLICE"):
        return value
    raise wrong_kind("TABLE_SLICE", value)


def as_selection(env: Env, value: Any) -> Selection | ArraySelection | SingleSelection:
    if isinstance(value, (Selection, ArraySelection, SingleSelection)):
        return value
    raise wrong_kind("SELECTION", value)


def as_database(env: Env, value: Any) -> DatabaseValue:
    if type(value) is DatabaseValue:
        return value
    raise wrong_kind("DATABASE", value)


def as_anything(env: Env, value: Any) -> Any:
    return value


# --- functions ----------------------------------------------------------------------------


def as_function(env: Env, value: Any) -> Function:
    if type(value) is Function:
        return value
    raise wrong_kind("FUNCTION", value)


def as_constant_function(env: Env, value: Any) -> Function:
    """A datum stands for the function that always yields it."""
    if type(value) is Function:
        return value
    fixed = value if type(value) is SingleSelection else as_datum(env, value)
    return Function(lambda *_: fixed, arity=None)


def as_field_function(env: Env, value: Any) -> Function:
    """A datum stands for the function that takes that field (or element) of its argument."""
    from db.embedded.fields import bracket_of

    if type(value) is Function:
        return value
    if type(value) not in DATUM_TYPES and type(value) is not SingleSelection:
        raise wrong_kind("FUNCTION", value)
    name = as_datum(env, value)

    def take(row: Datum) -> Datum:
        if type(row) is dict and name in row:
            return row[name]
        return bracket_of(env, row, name)

    return Function(take if type(name) is str else lambda row: bracket_of(env, row, name))


def field_of(env: Env, value: Any, name: str) -> Datum:
    row = value if type(value) is dict else as_datum(env, value)
    if type(row) is not dict:
        raise wrong_type("OBJECT", row)
    try:
        return row[name]
    except KeyError:
        raise NonExistenceError(
            f"No attribute `{name}` in object:\n{shorten(pretty(row))}"
        ) from None


def datum_function(env: Env, function: Function) -> Callable[[Datum], Datum]:
    """The function of one argument whose result is made a datum, for loops over rows."""
    expect_arity(function, 1)
    raw = function.unary

    def call(row: Datum) -> Datum:
        value = raw(row)
        return value if type(value) in DATUM_TYPES else as_datum(env, value)

    return call


def equals_predicate(wanted: Datum) -> Callable[[Datum], bool]:
    return lambda value: equal(value, wanted)


def expect_arity(function: Function, count: int) -> None:
    if function.arity is not None and function.arity != count:
        raise QueryLogicError(
            f"Expected function with {count} argument{'' if count == 1 else 's'} but found "
            f"function with {function.arity} argument{'' if function.arity == 1 else 's'}."
        )


Converter = Callable[[Env, Any], Any]

# The kinds a term can declare for an argument.
KINDS: Final[dict[str, Converter]] = {
    "any": as_anything,
    "datum": as_datum,
    "number": as_number,
    "int": as_int,
    "int32": as_int32,
    "string": as_string,
    "bool": as_bool,
    "array": as_array,
    "object": as_object,
    "time": as_time,
    "sequence": as_sequence,
    "table": as_table,
    "slice": as_table_slice,
    "selection": as_selection,
    "database": as_database,
    "function": as_function,
    "constant_function": as_constant_function,
    "field_function": as_field_function,
}

_NOT_FUNCTIONS = DATUM_TYPES | {
    Selection,
    ArraySelection,
    SingleSelection,
    DatabaseValue,
    Function,
}
FAST: Final[dict[str, frozenset[type]]] = {
    "any": _NOT_FUNCTIONS,
    "datum": DATUM_TYPES,
    "number": frozenset({int, float}),
    "int": frozenset({int}),
    "int32": frozenset(),
    "string": frozenset({str}),
    "bool": frozenset({bool}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
    "time": frozenset({Time}),
    "sequence": frozenset({list}),
    "table": frozenset(),
    "slice": frozenset(),
    "selection": frozenset({ArraySelection, SingleSelection}),
    "database": frozenset({DatabaseValue}),
    "function": frozenset({Function}),
    "constant_function": frozenset({Function}),
    "field_function": frozenset({Function}),
}


def per_group(value: Any) -> bool:
    return type(value) is Grouped
