"""Terms that take a part of a sequence by position: slice, skip, limit, nth."""

from __future__ import annotations

from typing import Any

from db.embedded.datum import DATUM_TYPES, Datum, type_name
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError
from db.embedded.fields import element_of, transform
from db.embedded.registry import term
from db.embedded.sequences import Sequence, SingleSelection, Step
from db.embedded.values import as_sequence, is_open

_BOUNDS = {"left_bound": "string", "right_bound": "string"}


@term("SLICE", 30, "any int int?", options=_BOUNDS)
def slice_of(
    env: Env,
    value: Any,
    first: int,
    end: int | None = None,
    left_bound: str = "closed",
    right_bound: str = "open",
) -> Any:
    """From `first` to before `end`; without `end`, all that is left."""
    left_open, right_open = is_open("left_bound", left_bound), is_open("right_bound", right_bound)
    last = -1 if end is None else end
    right_open = right_open and end is not None
    if type(value) is SingleSelection:
        value = value.row
    if isinstance(value, Sequence):
        return _slice_rows(env, value, first, last, left_open, right_open)
    if type(value) in (list, str, bytes):
        start = _boundary(first, len(value), left_open)
        stop = _boundary(last, len(value), not right_open)
        return value[start : max(stop, start)]
    if type(value) not in DATUM_TYPES:
        as_sequence(env, value)
        raise QueryLogicError("Cannot slice non-sequences.")
    raise QueryLogicError(f"Expected ARRAY, BINARY, or STRING, but found {type_name(value)}.")


def _boundary(position: int, size: int, after: bool) -> int:
    """The gap before (or after) the element at a position; 0 where that is before the first."""
    if position >= 0:
        return position + after
    if -position > size:
        return 0
    return size + position + after


def _slice_rows(
    env: Env, rows: Sequence, first: int, last: int, left_open: bool, right_open: bool
) -> Any:
    if first < 0:
        raise QueryLogicError("Cannot use a negative left index on a stream.")
    start = first + left_open
    if last < -1:
        raise QueryLogicError("Cannot use a right index < -1 on a stream.")
    stop: int | None = last + (not right_open)
    if last == -1:
        if right_open:
            raise QueryLogicError("Cannot slice to an open right index of -1 on a stream.")
        stop = None
    elif last + (not right_open) < start:
        stop = start
    return transform(env, rows, Step("slice", start=start, stop=stop))


@term("SKIP", 70, "any int")
def skip(env: Env, value: Any, count: int) -> Any:
    return slice_of(env, value, count)


@term("LIMIT", 71, "sequence int32")
def limit(env: Env, rows: list[Datum] | Sequence, count: int) -> Any:
    if count < 0:
        raise QueryLogicError(f"LIMIT takes a non-negative argument (got {count})")
    if isinstance(rows, list):
        return rows[:count]
    return transform(env, rows, Step("slice", stop=count))


@term("NTH", 45, "any int32")
def nth(env: Env, value: Any, position: int) -> Any:
    if type(value) not in DATUM_TYPES and type(value) is not SingleSelection:
        value = as_sequence(env, value)
    return element_of(env, value, position)
