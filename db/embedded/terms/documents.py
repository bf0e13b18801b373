"""Terms on objects, or on every object of a sequence: fields, pluck, merge, has_fields …"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from db.embedded.datum import Datum, Time, pretty, revive_object, shorten, type_name
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError
from db.embedded.fields import bracket_of, get_field, over_objects
from db.embedded.merging import is_literal, merge_datum
from db.embedded.nodes import Call, Closure, Frame
from db.embedded.paths import Pattern
from db.embedded.registry import Finish, shortcut, special, term
from db.embedded.sequences import Function
from db.embedded.values import as_datum, as_string, expect_arity

# --- fields -------------------------------------------------------------------------------


@term("GET_FIELD", 31, "any string", options={"_NO_RECURSE_": "bool"}, stream_groups=True)
def get_field_term(env: Env, value: Any, name: str, _NO_RECURSE_: bool = False) -> Any:
    return get_field(env, "get_field", value, name)


@term("BRACKET", 170, "any datum", options={"_NO_RECURSE_": "bool"}, stream_groups=True)
def bracket(env: Env, value: Any, key: Datum, _NO_RECURSE_: bool = False) -> Any:
    return bracket_of(env, value, key)


@shortcut(31)
@shortcut(170)
def _field_of_object(call: Call, finish: Finish) -> Closure | None:
    """`row["name"]` with the name written out: one look into the row."""
    value_of, name = call.runs[0], call.args[1].constant
    if type(name) is not str:
        return None

    def run(frame: Frame) -> Any:
        value = value_of(frame)
        if type(value) is dict and name in value:
            return value[name]
        return finish(frame, value, name)

    return run


def _pattern_over(name: str, kind: str, choose: Callable[[Pattern], Any]) -> Any:
    def compute(env: Env, value: Any, *parts: Datum, **_: Any) -> Any:
        return over_objects(env, name, kind, value, choose(Pattern(parts)))

    return compute


_INNER = {"_NO_RECURSE_": "bool"}

term("PLUCK", 33, "any datum*", options=_INNER, stream_groups=True)(
    _pattern_over("pluck", "map", lambda pattern: pattern.plucker())
)
term("WITHOUT", 34, "any datum*", options=_INNER, stream_groups=True)(
    _pattern_over("without", "map", lambda pattern: pattern.without)
)
term("HAS_FIELDS", 32, "any datum*", options=_INNER, stream_groups=True)(
    _pattern_over("has_fields", "filter", lambda pattern: pattern.is_in)
)


@term("WITH_FIELDS", 96, "any datum*", stream_groups=True)
def with_fields(env: Env, value: Any, *parts: Datum) -> Any:
    pattern = Pattern(parts)
    having = over_objects(env, "has_fields", "filter", value, pattern.is_in)
    return over_objects(env, "pluck", "map", having, pattern.plucker())


STRAY_LITERAL = (
    "Stray literal keyword found: literal is only legal inside of the object passed to merge or "
    "update and cannot nest inside other literals."
)

# --- merge --------------------------------------------------------------------------------


def _patch_of(env: Env, other: Any) -> Callable[[Datum], Datum]:
    """What is merged into a row: always the same, or made from the row by a function."""
    if type(other) is Function:
        expect_arity(other, 1)
        return lambda row: _checked(as_datum(env, other.unary(row)))
    fixed = _checked(as_datum(env, other))
    return lambda row: fixed


def _checked(patch: Datum) -> Datum:
    if type(patch) is Time or (type(patch) is dict and "$reql_type$" in patch):
        if is_literal(patch):
            return patch
        raise QueryLogicError(f"Cannot merge objects of type `{type_name(patch)}`.")
    return patch


@term("MERGE", 35, "any any*", options=_INNER, stream_groups=True, literals=True)
def merge(env: Env, value: Any, *others: Any, _NO_RECURSE_: bool = False) -> Any:
    patches = [_patch_of(env, other) for other in others]

    def merged(row: Datum) -> Datum:
        for patch_of in patches:
            patch = patch_of(row)
            if is_literal(patch) and type(row) is dict:
                raise QueryLogicError(STRAY_LITERAL)
            row = merge_datum(row, patch)
        return row

    return over_objects(env, "merge", "map", value, merged)


@special("LITERAL", 137, 0, 1)
def literal(call: Call) -> Closure:
    value_of = call.runs[0] if call.args else None
    legal = call.scope.literal_legal

    def run(frame: Frame) -> Datum:
        if not legal:
            raise QueryLogicError(STRAY_LITERAL)
        if value_of is None:
            return {"$reql_type$": "LITERAL"}
        return {"$reql_type$": "LITERAL", "value": as_datum(frame[0], value_of(frame))}

    return run


# --- keys and values ----------------------------------------------------------------------


def _plain_object(name: str, value: Datum) -> dict[str, Datum]:
    if type(value) is dict and "$reql_type$" not in value:
        return value
    raise QueryLogicError(f"Cannot call `{name}` on objects of type `{type_name(value)}`.")


@term("KEYS", 94, "datum")
def keys(env: Env, value: Datum) -> Datum:
    return env.check_array(sorted(_plain_object("keys", value)))


@term("VALUES", 186, "datum")
def values(env: Env, value: Datum) -> Datum:
    row = _plain_object("values", value)
    return env.check_array([row[key] for key in sorted(row)])


@term("OBJECT", 143, "datum*")
def make_object(env: Env, *items: Datum) -> Datum:
    if len(items) % 2:
        raise QueryLogicError(
            f"OBJECT expects an even number of arguments (but found {len(items)})."
        )
    made: dict[str, Datum] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        name = as_string(env, key)
        if name in made:
            raise duplicate_key(name, made[name], value, "object")
        made[name] = value
    return revive_object(made) if "$reql_type$" in made else made


def duplicate_key(name: str, first: Datum, second: Datum, where: str) -> QueryLogicError:
    return QueryLogicError(
        f"Duplicate key {pretty(name)} in {where}.  (got {shorten(pretty(first))} and "
        f"{shorten(pretty(second))} as values)"
    )
