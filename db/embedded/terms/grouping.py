"""Terms that group: group and ungroup."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from db.embedded.datum import DATUM_TYPES, Datum, order_key
from db.embedded.env import Env
from db.embedded.errors import NonExistenceError, QueryLogicError, ResourceLimitError
from db.embedded.groups import Grouped
from db.embedded.indexed import index_entries
from db.embedded.registry import term
from db.embedded.sequences import Function
from db.embedded.values import (
    as_datum,
    as_field_function,
    as_sequence,
    as_table,
    check_groups,
    expect_arity,
    finite_rows_of,
    wrong_kind,
)

Groups = dict[bytes, tuple[Datum, Any]]


@term(
    "GROUP", 144, "any any*", options={"index": "string", "multi": "bool"},
    per_group=False, forbids_writes=True,
)  # fmt: skip
def group(env: Env, value: Any, *by: Any, index: str | None = None, multi: bool = False) -> Grouped:
    if type(value) is Grouped and not value.is_stream:
        for _, each in value.groups.values():
            as_sequence(env, each)
            raise wrong_kind("DATUM", Grouped(is_stream=True))
        return value
    if type(value) is Grouped:
        raise QueryLogicError(
            "Cannot call `group` on the output of `group` (did you mean to `ungroup`?)."
        )
    if not by and index is None:
        raise QueryLogicError("Cannot group by nothing.")
    if index is None and len(by) == 1 and type(by[0]) is str and not multi:
        return _by_field(env, finite_rows_of(env, as_sequence(env, value)), by[0])
    keys = [_key_of(env, as_field_function(env, item)) for item in by]
    return _collect(env, _keyed_rows(env, value, keys, index), multi)


def _key_of(env: Env, function: Function) -> Callable[[Datum], Datum]:
    """What a row is grouped by; null where there is no such thing in it."""
    expect_arity(function, 1)
    unary = function.unary

    def key(row: Datum) -> Datum:
        try:
            value = unary(row)
            return value if type(value) in DATUM_TYPES else as_datum(env, value)
        except NonExistenceError:
            return None

    return key


def _keyed_rows(
    env: Env, value: Any, keys: list[Callable[[Datum], Datum]], index: str | None
) -> Iterator[tuple[list[Datum], Datum]]:
    if index is None:
        for row in finite_rows_of(env, as_sequence(env, value)):
            yield [key(row) for key in keys], row
        return
    table = as_table(env, value)
    name = None if index == table.table.primary_key else index
    for _, indexed, row in index_entries(env, table.narrowed(index=name, order="asc").read):
        yield [*(key(row) for key in keys), indexed], row


def _collect(env: Env, rows: Iterator[tuple[list[Datum], Datum]], multi: bool) -> Grouped:
    groups: Groups = {}
    for parts, row in rows:
        for combination in _combinations(parts) if multi else (parts,):
            name = combination[0] if len(combination) == 1 else list(combination)
            _put(env, groups, order_key(name), name, row)
    return Grouped(groups, is_stream=True)


def _combinations(parts: list[Datum]) -> Iterator[tuple[Datum, ...]]:
    """With `multi`, a row whose key is an array is in the group of each of its elements."""
    return product(*((part or [None]) if type(part) is list else [part] for part in parts))


def _put(env: Env, groups: Groups, key: bytes, name: Datum, row: Datum) -> None:
    found = groups.get(key)
    if found is not None:
        found[1].append(row)
        return
    groups[key] = (name, [row])
    if len(groups) > env.array_limit:
        raise ResourceLimitError(f"Too many groups (> {env.array_limit}).")


def _by_field(env: Env, rows: Iterator[Datum], field: str) -> Grouped:
    """The common case, without an order key for each row: text groups are found by the text."""
    texts: dict[str, list[Datum]] = {}
    groups: Groups = {}
    whole = as_field_function(env, field)
    key_of = _key_of(env, whole)
    for row in rows:
        name = row.get(field) if type(row) is dict else key_of(row)
        if type(name) is str:
            rows_of_text = texts.get(name)
            if rows_of_text is not None:
                rows_of_text.append(row)
                continue
            _put(env, groups, order_key(name), name, row)
            texts[name] = groups[order_key(name)][1]
        else:
            _put(env, groups, order_key(name), name, row)
    return Grouped(groups, is_stream=True)


@term("UNGROUP", 150, "any", per_group=False)
def ungroup(env: Env, value: Any) -> Datum:
    if type(value) is not Grouped:
        raise wrong_kind("GROUPED_DATA", value)
    return env.check_array(
        [
            {"group": name, "reduction": reduction}
            for name, reduction in check_groups(env, value).items()
        ]
    )
