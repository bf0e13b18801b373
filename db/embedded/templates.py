"""Queries compiled once for all that differ only in their data.

A program sends the same few queries over and over with other keys and values. What stands where
only data can stand (the key of get, the document of insert, the object of update or filter …) is
taken out of the query as a parameter, and so are the arguments of `do` and the text of a moment;
what is left, with variables numbered by appearance, is looked up among the queries compiled before.
Parameters are in the query's Env while it runs. A query that cannot be treated so (malformed, or
one whose function will be stored) is compiled by itself.
"""

from __future__ import annotations

from typing import Any, Final

from db.embedded.compiler import compile_query, literal
from db.embedded.nodes import FUNC, MAKE_ARRAY, NOTHING, PARAMETER, VAR, Node

MOST_KEPT: Final = 512

_GET, _GET_ALL, _BETWEEN, _FILTER, _UPDATE, _REPLACE, _INSERT = 16, 78, 182, 39, 53, 55, 56
_FUNCALL, _ISO8601 = 64, 99
_TAKES_DATA: Final = frozenset(
    {_GET, _GET_ALL, _BETWEEN, _FILTER, _UPDATE, _REPLACE, _INSERT, _FUNCALL}
)
"""What stands before the data is their first argument."""
_INDEX_CREATE, _SET_WRITE_HOOK = 75, 189
_STORES_FUNCTIONS: Final = frozenset({_INDEX_CREATE, _SET_WRITE_HOOK})

_kept: dict[Any, Node] = {}


class _StandsAlone(Exception):
    """This query is not to be shared."""


def prepare(raw: Any) -> tuple[Node, list[Any]]:
    """The compiled query and its parameters."""
    params: list[Any] = []
    try:
        key = _key(raw, params, {})
        found = _kept.get(key)
    except (_StandsAlone, LookupError, TypeError, AttributeError, RecursionError):
        return compile_query(raw), []
    if found is None:
        found = compile_query(_template(raw, iter(range(len(params)))))
        if len(_kept) >= MOST_KEPT:
            _kept.clear()
        _kept[key] = found
    return found, params


def _key(raw: Any, params: list[Any], variables: dict[int, int]) -> Any:
    """What identifies the query apart from its data, which goes to `params`."""
    kind = type(raw)
    if kind is str:
        return raw
    if kind is list:
        return _call_key(raw, params, variables)
    if kind is dict:
        return (
            dict,
            *raw,
            *[_key(item, params, variables) for item in raw.values()],
        )
    return (kind, raw)


def _call_key(raw: list[Any], params: list[Any], variables: dict[int, int]) -> Any:
    code = raw[0]
    if code == VAR:
        return (VAR, variables.get(raw[1][0], raw[1][0]))
    if len(raw) == 1:
        return (code,)
    args = raw[1]
    if type(args) is not list:
        raise _StandsAlone
    if code in _STORES_FUNCTIONS:
        raise _StandsAlone
    if code == FUNC:
        for name in args[0][1]:
            variables.setdefault(name, len(variables))
        parts = [_key(len(args[0][1]), params, variables)]
        parts += [_key(item, params, variables) for item in args[1:]]
    elif code == _ISO8601:
        parts = [_data_key(item, params, variables) for item in args]
    elif code in _TAKES_DATA:
        parts = [_key(args[0], params, variables)]
        parts += [_data_key(item, params, variables) for item in args[1:]]
    else:
        parts = [_key(item, params, variables) for item in args]
    if len(raw) == 2:
        return (code, *parts)
    return (code, *parts, _key(raw[2], params, variables))


def _data_key(raw: Any, params: list[Any], variables: dict[int, int]) -> Any:
    """As `_key` where data stand: literals are parameters, also inside an object or an array."""
    value = literal(raw)
    if value is not NOTHING:
        params.append(value)
        return PARAMETER
    if type(raw) is dict and "$reql_type$" not in raw:
        return (
            dict,
            *raw,
            *[_data_key(item, params, variables) for item in raw.values()],
        )
    if _is_array(raw):
        return (MAKE_ARRAY, *[_data_key(item, params, variables) for item in raw[1]])
    return _key(raw, params, variables)


def _template(raw: Any, numbers: Any) -> Any:
    """The query with a parameter in each place `_key` took data from."""
    kind = type(raw)
    if kind is dict:
        return {name: _template(item, numbers) for name, item in raw.items()}
    if kind is not list or len(raw) == 1 or raw[0] == VAR:
        return raw
    code, args = raw[0], raw[1]
    if code == FUNC:
        made = [args[0], *[_template(item, numbers) for item in args[1:]]]
    elif code == _ISO8601:
        made = [_data_template(item, numbers) for item in args]
    elif code in _TAKES_DATA:
        made = [_template(args[0], numbers), *[_data_template(item, numbers) for item in args[1:]]]
    else:
        made = [_template(item, numbers) for item in args]
    return [code, made, *[_template(item, numbers) for item in raw[2:]]]


def _data_template(raw: Any, numbers: Any) -> Any:
    if literal(raw) is not NOTHING:
        return [PARAMETER, [next(numbers)]]
    if type(raw) is dict and "$reql_type$" not in raw:
        return {name: _data_template(item, numbers) for name, item in raw.items()}
    if _is_array(raw):
        return [MAKE_ARRAY, [_data_template(item, numbers) for item in raw[1]]]
    return _template(raw, numbers)


def _is_array(raw: Any) -> bool:
    return type(raw) is list and len(raw) == 2 and raw[0] == MAKE_ARRAY and type(raw[1]) is list
