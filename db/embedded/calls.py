"""Calls of registered terms: from a compiled call to the closure that evaluates it.

An ordinary term has its arguments evaluated, converted to their kinds and handed to its function;
its value for GROUPED_DATA is its value for each group. There is a closure for one argument, one for
two and one for everything else, because the first two are what rows go through. A term that leaves
with an error is told where (`backtrace`). The compiler calls `closure_of`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from db.embedded.datum import DATUM_TYPES
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError, ReqlError
from db.embedded.groups import Grouped
from db.embedded.nodes import ARGS, Call, Closure, Frame, Node, blaming, constant_node
from db.embedded.registry import SHORTCUTS, TermSpec
from db.embedded.values import FAST, KINDS, as_datum, check_groups


def closure_of(call: Call) -> Closure:
    spec = call.spec
    if spec.unsupported is not None:
        reason = spec.unsupported
        name = spec.name.lower()

        def refuse(frame: Frame) -> Any:
            raise QueryLogicError(
                f"`{name}` is not supported by the embedded database: {reason}", call.path
            )

        return refuse
    if spec.build is not None:
        return blaming(spec.build(call), call.path)
    if spec.function is None:
        raise TypeError(f"term {spec.name} has nothing that computes it")
    if call.options or len(call.args) not in (1, 2):
        return _eager_general(call, spec.function)
    if len(call.args) == 1:
        return _eager_one(call, spec.function)
    shortcut = SHORTCUTS.get(spec.code)
    faster = None if shortcut is None else shortcut(call, _finisher(call, spec.function))
    return faster or _eager_two(call, spec.function)


def spliced_closure_of(call: Call) -> Closure:
    """A term with r.args among its arguments: its arity is known when it runs."""
    spec, path = call.spec, call.path

    def run(frame: Frame) -> Any:
        nodes: list[Node] = []
        for node in call.args:
            if node.code != ARGS:
                nodes.append(node)
                continue
            nodes.extend(constant_node(value, path) for value in node.run(frame))
        if not spec.accepts(len(nodes)):
            raise QueryLogicError(f"Expected {spec.describe_arity()} but found {len(nodes)}.", path)
        return closure_of(Call(spec, nodes, call.options, path, call.raw, call.scope))(frame)

    return run


def _converter(kind: str, node: Node) -> Callable[[Env, Any], Any]:
    convert, path = KINDS[kind], node.path

    def converting(env: Env, value: Any) -> Any:
        try:
            return convert(env, value)
        except ReqlError as error:
            if error.backtrace is None:
                error.backtrace = path
            raise

    return converting


def _eager_one(call: Call, function: Callable[..., Any]) -> Closure:
    """The closure of a term of one argument, which is evaluated first."""
    spec, path = call.spec, call.path
    (first,) = call.runs
    fast, slow = _conversion(call, 0)
    per_group = spec.per_group

    def run(frame: Frame) -> Any:
        try:
            value = first(frame)
            if type(value) not in fast:
                if type(value) is Grouped and per_group:
                    env = frame[0]
                    return over_groups(
                        spec, frame, value, lambda item: function(env, slow(env, item))
                    )
                value = slow(frame[0], value)
            return function(frame[0], value)
        except ReqlError as error:
            if error.backtrace is None:
                error.backtrace = path
            raise

    return run


def _eager_two(call: Call, function: Callable[..., Any]) -> Closure:
    """The closure of a term of two arguments, which are evaluated first."""
    path = call.path
    first, second = call.runs
    (fast0, slow0), (fast1, slow1) = _conversion(call, 0), _conversion(call, 1)
    finish = _finisher(call, function)

    def run(frame: Frame) -> Any:
        try:
            value = first(frame)
            if type(value) not in fast0:
                if type(value) is Grouped:
                    return finish(frame, value, second(frame))
                value = slow0(frame[0], value)
            other = second(frame)
            if type(other) not in fast1:
                other = slow1(frame[0], other)
            return function(frame[0], value, other)
        except ReqlError as error:
            if error.backtrace is None:
                error.backtrace = path
            raise

    return run


def _finisher(call: Call, function: Callable[..., Any]) -> Callable[[Frame, Any, Any], Any]:
    """What a term of two arguments does once they are evaluated."""
    spec, path = call.spec, call.path
    (_, slow0), (_, slow1) = _conversion(call, 0), _conversion(call, 1)

    def finish(frame: Frame, value: Any, other: Any) -> Any:
        env = frame[0]
        try:
            if type(value) is Grouped and spec.per_group:
                return over_groups(
                    spec,
                    frame,
                    value,
                    lambda item: function(env, slow0(env, item), slow1(env, other)),
                )
            return function(env, slow0(env, value), slow1(env, other))
        except ReqlError as error:
            if error.backtrace is None:
                error.backtrace = path
            raise

    return finish


def _conversion(call: Call, position: int) -> tuple[frozenset[type], Callable[[Env, Any], Any]]:
    """The types an argument may have as it is, and how any other is converted."""
    kind = call.spec.kind_of(position)
    return FAST[kind], _converter(kind, call.args[position])


def _eager_general(call: Call, function: Callable[..., Any]) -> Closure:
    spec, path = call.spec, call.path
    positional = [(node.run, _converter(spec.kind_of(i), node)) for i, node in enumerate(call.args)]
    named = [
        (name, node.run, _converter(spec.options[name], node))
        for name, node in call.options.items()
        if spec.options[name] != "lazy"
    ]
    lazy = [(name, node.run) for name, node in call.options.items() if spec.options[name] == "lazy"]
    per_group = spec.per_group

    def call_with(frame: Frame, first: list[Any]) -> Any:
        env = frame[0]
        values = first + [convert(env, run(frame)) for run, convert in positional[len(first) :]]
        options: dict[str, Any] = {name: convert(env, run(frame)) for name, run, convert in named}
        for name, run in lazy:
            options[name] = partial(run, frame)
        return function(env, *values, **options)

    def run(frame: Frame) -> Any:
        try:
            if not positional:
                return call_with(frame, [])
            evaluate, convert = positional[0]
            value = evaluate(frame)
            if type(value) is Grouped and per_group:
                return over_groups(
                    spec,
                    frame,
                    value,
                    lambda item: call_with(frame, [convert(frame[0], item)]),
                )
            return call_with(frame, [convert(frame[0], value)])
        except ReqlError as error:
            if error.backtrace is None:
                error.backtrace = path
            raise

    return run


def over_groups(
    spec: TermSpec, frame: Frame, grouped: Grouped, function: Callable[[Any], Any]
) -> Grouped:
    """A term applied to each group."""
    env = frame[0]
    if grouped.is_stream and spec.stream_groups:
        return grouped.apply_to_streams(env, function)

    def apply(item: Any) -> Any:
        value = function(item)
        return value if type(value) in DATUM_TYPES else as_datum(env, value)

    return check_groups(env, grouped).apply(apply)
