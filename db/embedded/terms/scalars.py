"""Comparison and logic on any data, and the random terms."""

from __future__ import annotations

import math
import uuid as uuids
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any, Final

from db.embedded.datum import Datum, compare, equal, number
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError
from db.embedded.nodes import Call, Closure, Frame
from db.embedded.registry import Finish, shortcut, term

# --- comparison ---------------------------------------------------------------------------


@term("EQ", 17, "datum datum datum*")
def eq(env: Env, first: Datum, *others: Datum) -> bool:
    return all(equal(first, other) for other in others)


@term("NE", 18, "datum datum datum*")
def ne(env: Env, first: Datum, *others: Datum) -> bool:
    return not all(equal(first, other) for other in others)


@shortcut(17)
def _equals_text(call: Call, finish: Finish) -> Closure | None:
    """`… == "text"`, the most common test of filters."""
    value_of, text = call.runs[0], call.args[1].constant
    if type(text) is not str:
        return None

    def run(frame: Frame) -> Any:
        value = value_of(frame)
        return value == text if type(value) is str else finish(frame, value, text)

    return run


def _ordered(name: str, code: int, holds: Callable[[int], bool]) -> None:
    """Comparison terms hold between each argument and the next."""

    @term(name, code, "datum datum datum*")
    def ordered(env: Env, *values: Datum) -> bool:
        return all(holds(compare(left, right)) for left, right in pairwise(values))


_ordered("LT", 19, lambda sign: sign < 0)
_ordered("LE", 20, lambda sign: sign <= 0)
_ordered("GT", 21, lambda sign: sign > 0)
_ordered("GE", 22, lambda sign: sign >= 0)


def _number_test(code: int, holds: Callable[[Any, Any], bool]) -> None:
    @shortcut(code)
    def against_constant(call: Call, finish: Finish) -> Closure | None:
        """`… > 5` with the number written out."""
        value_of, limit = call.runs[0], call.args[1].constant
        if type(limit) not in (int, float):
            return None

        def run(frame: Frame) -> Any:
            value = value_of(frame)
            if type(value) is int or type(value) is float:
                return holds(value, limit)
            return finish(frame, value, limit)

        return run


_number_test(19, lambda value, limit: value < limit)
_number_test(20, lambda value, limit: value <= limit)
_number_test(21, lambda value, limit: value > limit)
_number_test(22, lambda value, limit: value >= limit)


@term("NOT", 23, "bool")
def negate(env: Env, value: bool) -> bool:
    return not value


# --- chance -------------------------------------------------------------------------------

_RANDOM: Final = Random()  # noqa: S311  (numbers for queries, no secrets)
_NAMESPACE: Final = uuids.UUID("91461c99-f89d-49d2-af96-d8e2e14e9b58")


@term("UUID", 169, "string?", deterministic=False)
def uuid(env: Env, name: str | None = None) -> str:
    return str(uuids.uuid4() if name is None else uuids.uuid5(_NAMESPACE, name))


def _float_between(low: float, high: float) -> float:
    scale = 1.0
    if not math.isfinite(high - low):  # wider than a double can say: draw from a quarter of it
        low, high, scale = low / 4, high / 4, 4.0
    drawn = low + _RANDOM.random() * (high - low)
    return scale * (low if (drawn >= high if high > low else drawn <= high) else drawn)


def _bound(which: str, value: float) -> int:
    if type(value) is int:
        return value
    raise QueryLogicError(
        f"{which} bound ({value:.20g}) could not be safely converted to an integer."
    )


@term("RANDOM", 151, "number? number?", options={"float": "bool"}, deterministic=False)
def random(env: Env, *bounds: float, **options: bool) -> Datum:
    if options.get("float", not bounds):
        low, high = {0: (0.0, 1.0), 1: (0.0, *bounds), 2: bounds}[len(bounds)]
        return number(_float_between(low, high))
    if not bounds:
        raise QueryLogicError("Generating a random integer requires one or two bounds.")
    start = _bound("Lower", bounds[0]) if len(bounds) == 2 else 0
    stop = _bound("Upper", bounds[-1])
    if start >= stop:
        raise QueryLogicError(f"Lower bound ({start}) is not less than upper bound ({stop}).")
    return _RANDOM.randrange(start, stop)
