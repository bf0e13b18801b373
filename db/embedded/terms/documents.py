"""Terms on objects: fields, pluck, without, merge, has_fields …"""

from __future__ import annotations

from typing import Any

from db.embedded.datum import Datum, type_name
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError
from db.embedded.merging import merge_datum
from db.embedded.registry import term
from db.embedded.sequences import Function, Sequence, SingleSelection, Step
from db.embedded.values import as_datum, as_int, as_string, field_of


@term("GET_FIELD", 31, "any string")
def get_field(env: Env, value: Any, name: str) -> Any:
    if type(value) is list or isinstance(value, Sequence):
        return _map_fields(env, value, name)
    return field_of(env, value, name)


def _map_fields(env: Env, value: list[Datum] | Sequence, name: str) -> Any:
    """On a sequence: that field of every row that has it."""
    if isinstance(value, list):
        return [row[name] for row in value if name in row]
    has = Step("filter", lambda row: name in row)
    take = Step("map", lambda row: row[name])
    return value.with_step(has).with_step(take)


@term("BRACKET", 170, "any any")
def bracket(env: Env, value: Any, key: Any) -> Any:
    key = as_datum(env, key)
    if type(key) is str:
        return get_field(env, value, key)
    from db.embedded.terms.transforms import nth
    from db.embedded.values import as_sequence

    return nth(env, as_sequence(env, value), as_int(env, key))


def _select(row: Datum, patterns: tuple[Datum, ...]) -> Datum:
    made: dict[str, Datum] = {}
    for pattern in patterns:
        if type(pattern) is str:
            if pattern in row:
                made[pattern] = row[pattern]
        elif type(pattern) is list:
            made.update(_select(row, tuple(pattern)))
        elif type(pattern) is dict:
            for key, inner in pattern.items():
                if key not in row:
                    continue
                if inner is True:
                    made[key] = row[key]
                elif type(row[key]) is dict:
                    made[key] = _select(row[key], (inner,))
                elif type(row[key]) is list:
                    made[key] = [_select(item, (inner,)) for item in row[key] if type(item) is dict]
        else:
            raise QueryLogicError(f"Invalid path argument `{pattern}`.")
    return made


@term("PLUCK", 33, "any datum*")
def pluck(env: Env, value: Any, *patterns: Datum) -> Any:
    if type(value) is list:
        return [_select(row, patterns) for row in value]
    if isinstance(value, Sequence):
        return value.with_step(Step("map", lambda row: _select(row, patterns)))
    return _select(as_datum(env, value), patterns)


@term("MERGE", 35, "any any*")
def merge(env: Env, value: Any, *others: Any) -> Any:
    def merged(row: Datum) -> Datum:
        for other in others:
            patch = other.unary(row) if type(other) is Function else other
            row = merge_datum(row, as_datum(env, patch))
        return row

    if type(value) is list:
        return [merged(row) for row in value]
    if isinstance(value, Sequence):
        return value.with_step(Step("map", merged))
    return merged(as_datum(env, value))


@term("TYPE_OF", 52, "any", per_group=False)
def type_of(env: Env, value: Any) -> str:
    if isinstance(value, Sequence):
        return value.kind
    if type(value) is SingleSelection:
        return f"SELECTION<{type_name(value.row)}>"
    return type_name(as_datum(env, value))


__all__ = ["as_string"]
