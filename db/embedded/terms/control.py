"""Terms that steer evaluation: branch, and, or, do, default, error, args."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from db.embedded.datum import DATUM_TYPES
from db.embedded.env import Env
from db.embedded.errors import EmptyError, NonExistenceError, QueryLogicError, UserError
from db.embedded.groups import Grouped
from db.embedded.nodes import Call, Closure, Frame
from db.embedded.registry import special, term
from db.embedded.sequences import Function, SingleSelection
from db.embedded.values import as_array, as_bool, as_constant_function, as_datum, check_groups


def _of_each_group(env: Env, grouped: Grouped, function: Callable[[Any], Any]) -> Grouped:
    return check_groups(env, grouped).apply(lambda item: as_datum(env, function(item)))


@special("FUNCALL", 64, 1, None, passes_literals=True)
def funcall(call: Call) -> Closure:
    """do: the function is the first argument, its arguments follow."""
    function_of, *args = call.runs

    def run(frame: Frame) -> Any:
        env = frame[0]
        function = function_of(frame)
        if type(function) is not Function:
            function = as_constant_function(env, function)
        values = [arg(frame) for arg in args]
        for i in range(1, len(values)):
            values[i] = as_datum(env, values[i])
        if not values:
            return function.call()
        first, *others = values
        if type(first) is Grouped:
            return _of_each_group(env, first, lambda item: function.call(item, *others))
        if type(first) not in DATUM_TYPES:
            first = as_datum(env, first)
        return function.call(first, *others)

    return run


@special("BRANCH", 65, 3, None, passes_literals=True)
def branch(call: Call) -> Closure:
    runs = call.runs
    last = len(runs) - 1
    if last == 2:
        return _branch_once(*runs)

    def run(frame: Frame) -> Any:
        if last % 2:
            raise QueryLogicError("Cannot call `branch` term with an even number of arguments.")
        first = runs[0](frame)
        if type(first) is Grouped:
            return _of_each_group(frame[0], first, lambda item: choose(frame, item))
        return choose(frame, first)

    def choose(frame: Frame, first: Any) -> Any:
        if as_bool(frame[0], first):
            return runs[1](frame)
        for i in range(2, last, 2):
            if as_bool(frame[0], runs[i](frame)):
                return runs[i + 1](frame)
        return runs[last](frame)

    return run


def _branch_once(test_of: Closure, then: Closure, otherwise: Closure) -> Closure:
    def run(frame: Frame) -> Any:
        test = test_of(frame)
        if test is True:
            return then(frame)
        if type(test) is Grouped:
            return _of_each_group(
                frame[0],
                test,
                lambda item: (then if as_bool(frame[0], item) else otherwise)(frame),
            )
        return (then if as_bool(frame[0], test) else otherwise)(frame)

    return run


def _chain(call: Call, goes_on: bool) -> Closure:
    """and, or: the first value that decides, otherwise the last one."""
    runs = call.runs
    if not runs:
        return lambda frame: goes_on
    first_of, *others = runs

    def run(frame: Frame) -> Any:
        first = first_of(frame)
        if type(first) is Grouped:
            return _of_each_group(frame[0], first, lambda item: decide(frame, item))
        return decide(frame, first)

    def decide(frame: Frame, value: Any) -> Any:
        for evaluate in others:
            if (value is not goes_on) and as_bool(frame[0], value) is not goes_on:
                return value
            value = evaluate(frame)
        as_bool(frame[0], value)
        return value

    return run


@special("OR", 66, 0, None)
def any_of(call: Call) -> Closure:
    return _chain(call, goes_on=False)


@special("AND", 67, 0, None)
def all_of(call: Call) -> Closure:
    return _chain(call, goes_on=True)


@special("DEFAULT", 92, 2, 2, passes_literals=True)
def default(call: Call) -> Closure:
    """The second argument (or what it makes of the message) where the first is missing."""
    value_of, otherwise = call.runs

    def run(frame: Frame) -> Any:
        failed: NonExistenceError | None = None
        try:
            value = value_of(frame)
            if (value.row if type(value) is SingleSelection else value) is not None:
                return value
        except NonExistenceError as error:
            failed, value = error, None
        try:
            fallback = otherwise(frame)
            if type(fallback) is Function:
                return fallback.call(failed.message if failed else None)
            return fallback
        except EmptyError:
            if failed is not None:
                raise failed from None
            return value

    return run


@term("ERROR", 12, "string?")
def error(env: Env, message: str | None = None) -> Any:
    if message is None:
        raise EmptyError("Empty ERROR term outside a default block.")
    raise UserError(message)


@special("ARGS", 154, 1, 1)
def args(call: Call) -> Closure:
    """Spliced into the arguments around it by the compiler; by itself it is its array."""
    (array,) = call.runs
    return lambda frame: as_array(frame[0], array(frame))
