"""Arithmetic: on numbers, and where ReQL has it on strings, arrays and times; bits; rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from db.embedded.datum import LARGEST_EXACT_INT, Datum, Time, number
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError, ResourceLimitError
from db.embedded.instants import moved, rounded_seconds
from db.embedded.nodes import Call, Closure, Frame
from db.embedded.registry import Finish, shortcut, term
from db.embedded.values import as_array, as_int, as_number, wrong_type

# A text that doubles in a loop would otherwise take all memory of the server.
LONGEST_TEXT: Final = 2**27

Operation = Callable[[Env, Datum, Datum], Datum]


def _add(env: Env, left: Datum, right: Datum) -> Datum:
    kind = type(left)
    if kind is Time:
        return moved(left, as_number(env, right))
    if type(right) is Time:
        return moved(right, as_number(env, left))
    if kind is str:
        if type(right) is str:
            return _joined(left, right)
        raise wrong_type("STRING", right)
    if kind is list:
        return env.check_array(left + as_array(env, right))
    return number(as_number(env, left) + as_number(env, right))


def _joined(left: str, right: str) -> str:
    if len(left) + len(right) > LONGEST_TEXT:
        raise ResourceLimitError(f"String over size limit `{LONGEST_TEXT}`.")
    return left + right


def _subtract(env: Env, left: Datum, right: Datum) -> Datum:
    if type(left) is Time:
        if type(right) is Time:
            return rounded_seconds(left.epoch - right.epoch)
        return moved(left, -as_number(env, right))
    return number(as_number(env, left) - as_number(env, right))


def _multiply(env: Env, left: Datum, right: Datum) -> Datum:
    if type(left) is list or type(right) is list:
        items, times = (left, right) if type(left) is list else (right, left)
        return _repeat(env, items, as_int(env, times))
    return number(as_number(env, left) * as_number(env, right))


def _repeat(env: Env, items: list[Datum], times: int) -> list[Datum]:
    if times < 0:
        raise QueryLogicError("Cannot multiply an ARRAY by a negative number.")
    if len(items) * times > env.array_limit:
        env.check_array(items * (env.array_limit // max(len(items), 1) + 1))
    return items * times


def _divide(env: Env, left: Datum, right: Datum) -> Datum:
    left, right = as_number(env, left), as_number(env, right)
    if right == 0:
        raise QueryLogicError("Cannot divide by zero.")
    return number(left / right)


def _arithmetic(name: str, code: int, operation: Operation) -> None:
    @term(name, code, "datum datum*")
    def compute(env: Env, first: Datum, *others: Datum) -> Datum:
        for other in others:
            first = operation(env, first, other)
        return first


_arithmetic("ADD", 24, _add)
_arithmetic("SUB", 25, _subtract)
_arithmetic("MUL", 26, _multiply)
_arithmetic("DIV", 27, _divide)

_SMALL: Final = 2**26  # products and sums of integers below stay exact


def _on_small_integers(code: int, operation: Callable[[Any, Any], Any]) -> None:
    @shortcut(code)
    def quickly(call: Call, finish: Finish) -> Closure:
        """Two integers far from where doubles lose exactness."""
        left_of, right_of = call.runs

        def run(frame: Frame) -> Any:
            left, right = left_of(frame), right_of(frame)
            if (
                type(left) is int
                and type(right) is int
                and -_SMALL < left < _SMALL
                and -_SMALL < right < _SMALL
            ):
                return operation(left, right)
            return finish(frame, left, right)

        return run


_on_small_integers(24, lambda left, right: left + right)
_on_small_integers(25, lambda left, right: left - right)
_on_small_integers(26, lambda left, right: left * right)


@term("MOD", 28, "int int")
def modulo(env: Env, left: int, right: int) -> int:
    """The remainder with the sign of the left side, as C has it."""
    if right == 0:
        raise QueryLogicError("Cannot take a number modulo 0.")
    return int(math.fmod(left, right))


# --- rounding -----------------------------------------------------------------------------


@term("FLOOR", 183, "number")
def floor(env: Env, value: float) -> Datum:
    return number(math.floor(value))


@term("CEIL", 184, "number")
def ceil(env: Env, value: float) -> Datum:
    return number(math.ceil(value))


@term("ROUND", 185, "number")
def round_half_away(env: Env, value: float) -> Datum:
    if type(value) is int or abs(value) >= 2**52:
        return value
    whole = math.floor(abs(value))
    whole += abs(value) - whole >= 0.5
    return int(math.copysign(whole, value))


# --- bits ---------------------------------------------------------------------------------


def _bits(name: str, code: int, operation: Callable[[int, int], int]) -> None:
    @term(name, code, "int int*")
    def compute(env: Env, first: int, *others: int) -> Datum:
        _check_width(first)
        for other in others:
            first = operation(first, _check_width(other))
        return number(first)


def _check_width(value: int) -> int:
    """Bits are those of 54-bit registers."""
    if value == LARGEST_EXACT_INT:
        raise QueryLogicError(f"Integer too large: {value}")
    return value


def _shift_left(value: int, distance: int) -> int:
    return _wrapped(value << _distance(distance))


def _shift_right(value: int, distance: int) -> int:
    return value >> _distance(distance)


def _distance(distance: int) -> int:
    if distance < 0:
        raise QueryLogicError("Cannot bit-shift by a negative value")
    return min(distance, 64)


def _wrapped(value: int) -> int:
    """As a 64-bit register holds it."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


_bits("BIT_AND", 191, lambda left, right: left & right)
_bits("BIT_OR", 192, lambda left, right: left | right)
_bits("BIT_XOR", 193, lambda left, right: left ^ right)
_bits("BIT_SAL", 195, _shift_left)
_bits("BIT_SAR", 196, _shift_right)


@term("BIT_NOT", 194, "int")
def bit_not(env: Env, value: int) -> int:
    return ~_check_width(value)
