"""Functions that outlive their query: index functions and write hooks.

They are stored as terms. Variables of the query around them are replaced by the values they have
now, so that the stored term stands by itself.
"""

from __future__ import annotations

from typing import Any

import orjson

from db.embedded.datum import DATUM_TYPES, Datum, Time, to_json
from db.embedded.errors import QueryLogicError
from db.embedded.nodes import ARGS, FUNC, MAKE_ARRAY, VAR, Frame, Scope
from db.embedded.weight import check_weight


def freeze_function(raw: Any, scope: Scope, frame: Frame) -> Any:
    """The term with its free variables replaced by their values."""
    return _freeze(raw, scope.variables, frame)


def _freeze(raw: Any, free: dict[int, int], frame: Frame) -> Any:
    if type(raw) is dict:
        return {key: _freeze(item, free, frame) for key, item in raw.items()}
    if type(raw) is not list:
        return raw
    code = raw[0]
    args = raw[1] if len(raw) > 1 else []
    if code == VAR and args[0] in free:
        value = frame[free[args[0]]]
        if type(value) not in DATUM_TYPES:
            raise QueryLogicError("A stored function can only use data from around it.")
        check_weight(value)
        return as_term(value)
    if code == FUNC and free:
        own = args[0][1] if type(args[0]) is list else []
        free = {variable: cell for variable, cell in free.items() if variable not in own}
        return [code, [args[0], _freeze(args[1], free, frame)], *raw[2:]]
    return [
        code,
        [_freeze(item, free, frame) for item in args],
        *(
            {key: _freeze(item, free, frame) for key, item in options.items()}
            for options in raw[2:]
        ),
    ]


def mentions(raw: Any, code: int) -> bool:
    """Whether a term of this code stands anywhere in a term."""
    if type(raw) is dict:
        return any(mentions(item, code) for item in raw.values())
    if type(raw) is not list:
        return False
    return raw[0] == code or any(mentions(item, code) for part in raw[1:] for item in _parts(part))


def _parts(part: Any) -> Any:
    return part.values() if type(part) is dict else part


def as_term(value: Datum) -> Any:
    """A datum as the term that yields it."""
    if type(value) is list:
        return [MAKE_ARRAY, [as_term(item) for item in value]]
    if type(value) is dict:
        return {key: as_term(item) for key, item in value.items()}
    if type(value) in (Time, bytes):
        return orjson.loads(to_json(value))
    return value


__all__ = ["ARGS", "as_term", "freeze_function"]
