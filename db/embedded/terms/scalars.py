"""Comparison, arithmetic and logic on plain data."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from db.embedded.datum import Datum, compare, equal, number, type_name
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError
from db.embedded.registry import term
from db.embedded.values import as_number, wrong_type


@term("EQ", 17, "datum datum*")
def eq(env: Env, first: Datum, *others: Datum) -> bool:
    return all(equal(first, other) for other in others)


@term("NE", 18, "datum datum*")
def ne(env: Env, first: Datum, *others: Datum) -> bool:
    return not eq(env, first, *others)


def _ordered(name: str, code: int, holds: Callable[[int], bool]) -> None:
    """Comparison terms hold between each argument and the next."""

    @term(name, code, "datum datum*")
    def ordered(env: Env, *values: Datum) -> bool:
        return all(holds(compare(left, right)) for left, right in pairwise(values))


_ordered("LT", 19, lambda sign: sign < 0)
_ordered("LE", 20, lambda sign: sign <= 0)
_ordered("GT", 21, lambda sign: sign > 0)
_ordered("GE", 22, lambda sign: sign >= 0)


@term("NOT", 23, "bool")
def negate(env: Env, value: bool) -> bool:
    return not value


@term("ADD", 24, "datum datum*")
def add(env: Env, first: Datum, *others: Datum) -> Datum:
    total = first
    for other in others:
        if type(total) is str and type(other) is str:
            total = total + other
        elif type(total) is list and type(other) is list:
            total = env.check_array(total + other)
        elif type(total) in (int, float) and type(other) in (int, float):
            total = number(total + other)
        elif type(total) in (str, list, int, float):
            raise wrong_type(type_name(total), other)
        else:
            raise wrong_type("NUMBER", total)
    return total


@term("SUB", 25, "datum datum*")
def subtract(env: Env, first: Datum, *others: Datum) -> Datum:
    total = as_number(env, first)
    for other in others:
        total = number(total - as_number(env, other))
    return total


@term("MUL", 26, "number number*")
def multiply(env: Env, first: float, *others: float) -> Datum:
    total = first
    for other in others:
        total = number(total * other)
    return total


@term("DIV", 27, "number number*")
def divide(env: Env, first: float, *others: float) -> Datum:
    total = first
    for other in others:
        if other == 0:
            raise QueryLogicError("Cannot divide by zero.")
        total = number(total / other)
    return total
