"""Terms that turn one sequence into another row by row: map, filter, concat_map, union, range …"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from typing import Any

from db.embedded.changes import UnitedFeed
from db.embedded.datum import LARGEST_EXACT_INT, Datum
from db.embedded.env import Env
from db.embedded.errors import (
    EmptyError,
    NonExistenceError,
    QueryLogicError,
    ResourceLimitError,
)
from db.embedded.fields import transform
from db.embedded.groups import Grouped
from db.embedded.merging import is_literal
from db.embedded.nodes import Call, Closure, Frame
from db.embedded.ordering import Order, orders_of, sort_keys
from db.embedded.registry import special, term
from db.embedded.sequences import (
    ArraySelection,
    Function,
    Generated,
    Selection,
    Sequence,
    Step,
    Stream,
    Union,
)
from db.embedded.values import (
    as_bool,
    as_constant_function,
    as_datum,
    as_function,
    as_sequence,
    check_groups,
    datum_function,
    equals_predicate,
    expect_arity,
    feed_below,
    finite_rows_of,
    rows_of,
    wrong_type,
)

Rows = list[Datum] | Sequence

_RANDOM = Random()  # noqa: S311  (which rows are sampled is no secret)

# --- map ----------------------------------------------------------------------------------


@term("MAP", 38, "any any any*", stream_groups=True, forbids_writes=True)
def map_rows(env: Env, *values: Any) -> Any:
    sequences = [as_sequence(env, value) for value in values[:-1]]
    function = as_function(env, values[-1])
    _check_map_arity(function, len(sequences))
    if len(sequences) == 1:
        step = Step("map", datum_function(env, function), deterministic=function.deterministic)
        return transform(env, sequences[0], step)

    def rows(env: Env) -> Iterator[Datum]:
        for items in zip(*(rows_of(env, each) for each in sequences), strict=False):
            yield as_datum(env, function.call(*items))

    if all(isinstance(each, list | ArraySelection) for each in sequences):
        return env.collect(rows(env))
    infinite = all(not isinstance(each, list) and each.infinite for each in sequences)
    return Stream(Generated(rows, infinite))


def _check_map_arity(function: Function, sequences: int) -> None:
    if function.arity is not None and function.arity != sequences:
        raise QueryLogicError(
            f"The function passed to `map` expects {function.arity} argument"
            f"{'' if function.arity == 1 else 's'}, but {sequences} sequence"
            f"{' was' if sequences == 1 else 's were'} found."
        )


@term("CONCAT_MAP", 40, "sequence function", stream_groups=True, forbids_writes=True)
def concat_map(env: Env, rows: Rows, function: Function) -> Any:
    expect_arity(function, 1)

    def items(row: Datum) -> Iterator[Datum]:
        return finite_rows_of(env, as_sequence(env, function.unary(row)))

    return transform(env, rows, Step("concat_map", items))


# --- filter -------------------------------------------------------------------------------

Test = Callable[[Datum], bool]


def matcher(pattern: dict[str, Datum]) -> Test:
    """A written-out object as a filter: every field it names must be there and match."""
    if is_literal(pattern):
        return equals_predicate(pattern.get("value"))
    tests = [(name, _field_test(pattern[name])) for name in sorted(pattern)]
    if len(tests) == 1:
        ((only, only_test),) = tests

        def matches_one(row: Datum) -> bool:
            if type(row) is dict and only in row:
                return only_test(row[only])
            raise _no_field(row, only)

        return matches_one

    def matches(row: Datum) -> bool:
        for name, test in tests:
            if type(row) is not dict or name not in row:
                raise _no_field(row, name)
            if not test(row[name]):
                return False
        return True

    return matches


def _no_field(row: Datum, name: str) -> QueryLogicError:
    if type(row) is not dict:
        return wrong_type("OBJECT", row)
    return NonExistenceError(f"No attribute `{name}` in object.")


def _field_test(wanted: Datum) -> Test:
    if type(wanted) is str:
        return lambda value: value == wanted
    if type(wanted) is not dict:
        return equals_predicate(wanted)
    inner, whole = matcher(wanted), equals_predicate(wanted)
    if is_literal(wanted):
        return inner
    return lambda value: inner(value) if type(value) is dict else whole(value)


def _truth_of(env: Env, function: Function) -> Test:
    """The function as a filter; an object it makes is matched against the row."""
    expect_arity(function, 1)
    unary, is_pattern = function.unary, function.is_pattern

    def holds(row: Datum) -> bool:
        value = unary(row)
        if value is True or value is False:
            return bool(value)
        if is_pattern and type(value) is dict:
            return matcher(value)(row)
        return as_bool(env, value)

    return holds


def _with_default(env: Env, holds: Test, default: Callable[[], Any] | None) -> Test:
    """A row something is missing in passes only if the default says so."""

    def test(row: Datum) -> bool:
        try:
            return holds(row)
        except NonExistenceError as missing:
            if default is None:
                return False
            try:
                return as_bool(env, default())
            except EmptyError:
                raise missing from None

    return test


@term(
    "FILTER", 39, "sequence any", options={"default": "lazy"},
    stream_groups=True, literals=True, forbids_writes=True,
)  # fmt: skip
def filter_rows(env: Env, rows: Rows, wanted: Any, default: Callable[[], Any] | None = None) -> Any:
    if type(wanted) is Function:
        test = _with_default(env, _truth_of(env, wanted), default)
        deterministic = wanted.deterministic
    else:
        test = _constant_test(env, as_constant_function(env, wanted).call(), default)
        deterministic = True
    return transform(env, rows, Step("filter", test, deterministic=deterministic))


def _constant_test(env: Env, wanted: Any, default: Callable[[], Any] | None) -> Test:
    wanted = as_datum(env, wanted)
    if type(wanted) is not dict:
        passes = as_bool(env, wanted)
        return lambda row: passes
    return _with_default(env, matcher(wanted), default)


@term("OFFSETS_OF", 87, "sequence any")
def offsets_of(env: Env, rows: Rows, wanted: Any) -> Any:
    test = (
        _with_default(env, _truth_of(env, wanted), None)
        if type(wanted) is Function
        else equals_predicate(as_datum(env, wanted))
    )

    def offsets(env: Env, rows: Iterator[Datum]) -> Iterator[Datum]:
        return (offset for offset, row in enumerate(rows) if test(row))

    return transform(env, rows, Step("offsets_of", apply=offsets))


# --- union --------------------------------------------------------------------------------


@special("UNION", 44, 0, None, options={"interleave": "any"})
def union(call: Call) -> Closure:
    """Rows of all sequences: one after the other, or merged in a given order."""
    interleave = call.options.get("interleave")

    def run(frame: Frame) -> Any:
        env = frame[0]
        values = [evaluate(frame) for evaluate in call.runs]
        if values and type(values[0]) is Grouped:
            first, *others = values
            groups = check_groups(env, first)
            return groups.apply(lambda rows: join(frame, [rows, *others]))
        return join(frame, values)

    def join(frame: Frame, values: list[Any]) -> Any:
        env = frame[0]
        parts = [as_sequence(env, value) for value in values]
        orders = [] if interleave is None else orders_of(env, frame, interleave)
        if any(feed_below(part) is not None for part in parts):
            if orders:
                raise QueryLogicError("Cannot use an infinite stream with an ordered `union`.")
            return Stream(UnitedFeed(parts))
        source = Union(parts, merging(parts, orders) if orders else None)
        if all(isinstance(part, list | ArraySelection) for part in parts):
            return env.collect(source.iterate(env))
        return Stream(source)

    return run


def merging(parts: list[Rows], orders: list[Order]) -> Callable[[Env], Iterator[Datum]]:
    """The rows of sequences that are in this order already, in this order."""

    def rows(env: Env) -> Iterator[Datum]:
        key_of = sort_keys(env, orders)
        sources = [rows_of(env, part) for part in parts]
        heads: dict[int, tuple[Any, Datum]] = {}
        for position, source in enumerate(sources):
            for row in source:
                heads[position] = (key_of(row), row)
                break
        while heads:
            first = min(heads, key=lambda position: (heads[position][0], position))
            key, row = heads.pop(first)
            for following in sources[first]:
                next_key = key_of(following)
                if next_key < key:
                    raise QueryLogicError(
                        "The streams given as arguments are not ordered by given ordering."
                    )
                heads[first] = (next_key, following)
                break
            yield row

    return rows


# --- others -------------------------------------------------------------------------------


@term("RANGE", 173, "int? int?")
def range_of(env: Env, *bounds: int) -> Stream:
    if not bounds:
        return Stream(Generated(_endless, infinite=True))
    start, stop = bounds if len(bounds) == 2 else (0, bounds[0])
    return Stream(Generated(lambda env: env.ticking(range(start, stop))))


def _endless(env: Env) -> Iterator[Datum]:
    for number in env.ticking(count()):
        if number > LARGEST_EXACT_INT:
            raise QueryLogicError("`range` out of safe double bounds.")
        yield number


@term("IS_EMPTY", 86, "sequence")
def is_empty(env: Env, rows: Rows) -> bool:
    return all(False for _ in rows_of(env, rows))


@term("SAMPLE", 81, "sequence int", deterministic=False)
def sample(env: Env, rows: Rows, size: int) -> Any:
    if size < 0:
        raise QueryLogicError(f"Number of items to sample must be non-negative, got `{size}`.")
    if size > env.array_limit:
        raise ResourceLimitError(f"Array over size limit `{env.array_limit}`.")
    chosen: list[Datum] = []
    for seen, row in enumerate(finite_rows_of(env, rows), 1):
        if len(chosen) < size:
            chosen.append(row)
        elif (place := _RANDOM.randrange(seen)) < size:
            chosen[place] = row
    _RANDOM.shuffle(chosen)
    if isinstance(rows, Selection | ArraySelection):
        return ArraySelection(rows.table, chosen)
    return chosen
