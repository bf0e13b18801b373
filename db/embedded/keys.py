"""Keys of documents and of indexes: what may be one, and walking ordered keys.

A key is the `order_key` of its value, so keys compare as values do. Null, objects and the two
bounds cannot be keys. Tables, indexes and the terms that look rows up use this.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from sortedcontainers import SortedList

from db.embedded.datum import Bound, Datum, order_key, pretty, shorten, type_name
from db.embedded.errors import NonExistenceError, QueryLogicError

_FIRST_CHUNK: Final = 256
_LARGEST_CHUNK: Final = 8192
LONGEST_PRIMARY_KEY: Final = 128
# The first byte of the order keys of arrays, bools, numbers, binaries, times and strings.
INDEXABLE: Final = frozenset(b"\x10\x20\x21\x40\x60\x70\x80")


def all_indexable(value: list[Datum]) -> bool:
    for item in value:
        key = order_key(item)
        if key[0] not in INDEXABLE:
            return False
        if type(item) is list and not all_indexable(item):
            return False
    return True


def key_from_value(value: Datum, is_bound: bool = False) -> bytes:
    """The order key of a primary key, or why the value cannot be one.

    A bound of a range may be, or hold, r.minval and r.maxval.
    """
    key = order_key(value)
    if key[0] not in INDEXABLE and not (is_bound and type(value) is Bound):
        raise _refusal(
            value,
            "Primary keys must be either a number, string, bool, pseudotype or array "
            f"(got type {type_name(value)}):\n{shorten(pretty(value))}",
        )
    if key[0] == 0x10:
        _check_elements(value, is_bound)
    if len(key) > LONGEST_PRIMARY_KEY:
        raise QueryLogicError(
            f"Primary key too long (max {LONGEST_PRIMARY_KEY - 1} characters): {pretty(value)}"
        )
    if b"\x00" in key and _holds_null(value):
        raise QueryLogicError("Key cannot contain `\\u0000`.")
    return key


def index_key_from_value(value: Datum, is_bound: bool = False) -> bytes:
    """The order key of an indexed value that is looked for, or why none can be like it."""
    key = order_key(value)
    if key[0] not in INDEXABLE and type(value) is not Bound:
        raise _refusal(
            value,
            "Secondary keys must be a number, string, bool, pseudotype, or array "
            f"(got type {type_name(value)}):\n{shorten(pretty(value))}",
        )
    if key[0] == 0x10:
        _check_elements(value, is_bound=True)
    return key


def _check_elements(items: list[Datum], is_bound: bool) -> None:
    for item in items:
        if type(item) is list:
            _check_elements(item, is_bound)
        elif is_bound and type(item) is Bound:
            continue
        elif order_key(item)[0] not in INDEXABLE:
            raise _refusal(
                item,
                "Array keys can only contain numbers, strings, bools,  pseudotypes, or arrays "
                f"(got {pretty(item)} of type {type_name(item)}).",
            )


def _refusal(value: Datum, message: str) -> QueryLogicError:
    return NonExistenceError(message) if value is None else QueryLogicError(message)


def _holds_null(value: Datum) -> bool:
    if type(value) is list:
        return any(map(_holds_null, value))
    return type(value) is str and "\x00" in value


def walk(
    keys: SortedList,
    low: bytes | None,
    high: bytes | None,
    low_open: bool,
    high_open: bool,
    descending: bool = False,
) -> Iterator[bytes]:
    """Keys of a range in order, in chunks, so that changes in between do no harm."""
    size = _FIRST_CHUNK
    while True:
        if low is not None and high is not None and low > high:
            return
        chunk = list(
            islice(keys.irange(low, high, (not low_open, not high_open), descending), size)
        )
        yield from chunk
        if len(chunk) < size:
            return
        if descending:
            high, high_open = chunk[-1], True
        else:
            low, low_open = chunk[-1], True
        size = min(size * 4, _LARGEST_CHUNK)
