"""Terms that steer evaluation: branch, and, or, do, default, error, args, for_each's siblings."""

from __future__ import annotations

from typing import Any

from db.embedded.compiler import Call, Closure, Frame
from db.embedded.env import Env
from db.embedded.errors import EmptyError, NonExistenceError, UserError
from db.embedded.registry import special, term
from db.embedded.sequences import Function, Grouped, SingleSelection
from db.embedded.values import as_array, as_bool, as_constant_function, as_function


@special("FUNCALL", 64, 1, None)
def funcall(call: Call) -> Closure:
    """do: the function is the first argument, its arguments follow."""
    function, *args = call.runs

    def run(frame: Frame) -> Any:
        values = [arg(frame) for arg in args]
        if values and type(values[0]) is Grouped:
            rest = values[1:]
            made = as_constant_function(frame[0], function(frame))
            return values[0].apply(lambda value: made.call(value, *rest))
        made = function(frame)
        if type(made) is not Function:
            made = as_constant_function(frame[0], made)
        return made.call(*values)

    return run


@special("BRANCH", 65, 3, None)
def branch(call: Call) -> Closure:
    runs = call.runs

    def run(frame: Frame) -> Any:
        for i in range(0, len(runs) - 1, 2):
            test = runs[i](frame)
            if as_bool(frame[0], test):
                return runs[i + 1](frame)
        return runs[-1](frame)

    return run


@special("OR", 66, 0, None)
def any_of(call: Call) -> Closure:
    runs = call.runs

    def run(frame: Frame) -> Any:
        value: Any = False
        for evaluate in runs:
            value = evaluate(frame)
            if as_bool(frame[0], value):
                return value
        return value

    return run


@special("AND", 67, 0, None)
def all_of(call: Call) -> Closure:
    runs = call.runs

    def run(frame: Frame) -> Any:
        value: Any = True
        for evaluate in runs:
            value = evaluate(frame)
            if not as_bool(frame[0], value):
                return value
        return value

    return run


@special("DEFAULT", 92, 2, 2)
def default(call: Call) -> Closure:
    """The second argument (or what it makes of the message) where the first is missing."""
    value_of, otherwise = call.runs

    def run(frame: Frame) -> Any:
        failed: NonExistenceError | None = None
        try:
            value = value_of(frame)
        except NonExistenceError as error:
            failed, value = error, None
        shown = value.row if type(value) is SingleSelection else value
        if failed is None and shown is not None:
            return value
        try:
            fallback = otherwise(frame)
            if type(fallback) is Function:
                as_function(frame[0], fallback)
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
