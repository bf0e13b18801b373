"""From a term on the wire to a Python closure.

A term arrives as JSON: `[code, [arguments], {options}]`, an object, or a plain value. It is
compiled once per query into a closure taking a frame. A frame is a list: cell 0 holds the `Env`,
the others the variables of the functions around the term, innermost last, so that calling a
function is `body([*captured, argument])` and reading a variable is one list access.

Each compiled term remembers its path in the query; an error that leaves it without a position
gets that path as its backtrace. What needs compile-time context (FUNC, VAR, IMPLICIT_VAR, literals,
ARGS) is compiled here; everything else comes from the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from db.embedded.datum import DATUM_TYPES, Datum, number, revive_object
from db.embedded.env import Env
from db.embedded.errors import Backtrace, CompileError, QueryLogicError, ReqlError
from db.embedded.registry import SHORTCUTS, TERMS, TermSpec
from db.embedded.sequences import Function, Grouped
from db.embedded.values import FAST, KINDS, as_datum, check_groups

Frame = list[Any]
Closure = Callable[[Frame], Any]

MAKE_ARRAY, MAKE_OBJ, VAR, IMPLICIT_VAR, FUNC, ARGS, DATUM = 2, 3, 10, 13, 69, 154, 1
ASC, DESC = 73, 74
DEEPEST: Final = 400

NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class Scope:
    """What surrounds a term: variables and their cells, r.row, what may stand here."""

    variables: dict[int, int] = field(default_factory=dict)
    cells: int = 1
    row_depth: int = 0
    row_cell: int = 0
    writes_legal: bool = True
    depth: int = 0
    literal_legal: bool = False


@dataclass(slots=True)
class Node:
    """A compiled term."""

    run: Closure
    path: Backtrace
    deterministic: bool = True
    constant: Any = NOTHING
    code: int = DATUM
    elements: list[Node] | None = None  # of an array that is not a constant


@dataclass(slots=True)
class Call:
    """What a special term gets: its compiled arguments and options."""

    spec: TermSpec
    args: list[Node]
    options: dict[str, Node]
    path: Backtrace
    raw: list[Any]
    scope: Scope

    @property
    def runs(self) -> list[Closure]:
        return [node.run for node in self.args]


ROOT_SCOPE: Final = Scope()


def compile_query(raw: Any) -> Node:
    """The closure of a whole query; raises CompileError."""
    return compile_term(raw, ROOT_SCOPE, ())


def compile_term(raw: Any, scope: Scope, path: Backtrace) -> Node:
    kind = type(raw)
    if kind is list:
        if scope.depth > DEEPEST:
            raise CompileError(f"Query nested deeper than {DEEPEST} terms.", path)
        return _compile_call(raw, replace_depth(scope), path)
    if kind is dict:
        if scope.depth > DEEPEST:
            raise CompileError(f"Query nested deeper than {DEEPEST} terms.", path)
        return _compile_object(raw, replace_depth(scope), path)
    if kind is int or kind is float:
        raw = number(raw)
    return _constant(raw, path)


def replace_depth(scope: Scope) -> Scope:
    return Scope(
        scope.variables,
        scope.cells,
        scope.row_depth,
        scope.row_cell,
        scope.writes_legal,
        scope.depth + 1,
        scope.literal_legal,
    )


def _constant(value: Datum, path: Backtrace) -> Node:
    return Node(lambda frame: value, path, constant=value)


# --- literals -----------------------------------------------------------------------------


def literal(raw: Any, depth: int = 0) -> Any:
    """The value of a term that is a literal through and through, otherwise NOTHING."""
    kind = type(raw)
    if kind is str or kind is bool or raw is None:
        return raw
    if kind is int or kind is float:
        return number(raw)
    if depth > DEEPEST:
        return NOTHING
    if kind is dict:
        made = {}
        for key, item in raw.items():
            value = literal(item, depth + 1)
            if value is NOTHING:
                return NOTHING
            made[key] = value
        if "$reql_type$" in made:
            return NOTHING
        return made
    if kind is list and raw and raw[0] == MAKE_ARRAY and len(raw) == 2:
        if type(raw[1]) is not list:
            return NOTHING
        items = []
        for item in raw[1]:
            value = literal(item, depth + 1)
            if value is NOTHING:
                return NOTHING
            items.append(value)
        return items
    return NOTHING


def _compile_object(raw: dict[str, Any], scope: Scope, path: Backtrace) -> Node:
    value = literal(raw)
    if value is not NOTHING:
        return _constant(value, path)
    nodes = {key: compile_term(item, scope, (*path, key)) for key, item in raw.items()}
    if "$reql_type$" in raw and all(node.constant is not NOTHING for node in nodes.values()):
        made = {key: node.constant for key, node in nodes.items()}
        try:
            return _constant(revive_object(made), path)
        except ReqlError as error:
            error.backtrace = path
            raise
    runs = [(key, node.run) for key, node in nodes.items()]

    def run(frame: Frame) -> Datum:
        made = {}
        for key, item in runs:
            value = item(frame)
            made[key] = value if type(value) in DATUM_TYPES else as_datum(frame[0], value)
        return revive_object(made) if "$reql_type$" in made else made

    return Node(
        _blaming(run, path),
        path,
        deterministic=all(node.deterministic for node in nodes.values()),
        code=MAKE_OBJ,
    )


def _compile_array(raw: Any, args: list[Any], scope: Scope, path: Backtrace) -> Node:
    value = literal(raw)
    if value is not NOTHING:
        items = value

        def constant(frame: Frame) -> Datum:
            return frame[0].check_array(items)

        return Node(_blaming(constant, path), path, constant=items, code=MAKE_ARRAY)
    nodes = [compile_term(item, scope, (*path, i)) for i, item in enumerate(args)]
    runs = [(node.run, node.code == ARGS) for node in nodes]

    def run(frame: Frame) -> Datum:
        made: list[Datum] = []
        for item, spliced in runs:
            value = item(frame)
            if type(value) not in DATUM_TYPES:
                value = as_datum(frame[0], value)
            if spliced:
                made.extend(value)
            else:
                made.append(value)
        return frame[0].check_array(made)

    return Node(
        _blaming(run, path),
        path,
        deterministic=all(node.deterministic for node in nodes),
        code=MAKE_ARRAY,
        elements=nodes,
    )


# --- functions and variables --------------------------------------------------------------


def _compile_function(args: list[Any], scope: Scope, path: Backtrace) -> Node:
    if len(args) != 2:
        raise CompileError(f"Expected 2 arguments but found {len(args)}.", path)
    ids = literal(args[0])
    if type(ids) is not list or not all(type(i) is int for i in ids):
        raise CompileError("A FUNC term takes an array of variable numbers.", path)
    variables = {**scope.variables}
    for position, variable in enumerate(ids):
        variables[variable] = scope.cells + position
    binds_row = len(ids) == 1
    inner = Scope(
        variables,
        scope.cells + len(ids),
        scope.row_depth + 1 if binds_row else scope.row_depth,
        scope.cells if binds_row else scope.row_cell,
        scope.writes_legal,
        scope.depth,
        scope.literal_legal,
    )
    body = compile_term(args[1], inner, (*path, 1))
    inside, arity, deterministic = body.run, len(ids), body.deterministic
    is_pattern = body.code == MAKE_OBJ or type(body.constant) is dict

    def run(frame: Frame) -> Function:
        def call(*values: Any) -> Any:
            if len(values) != arity and arity:
                raise QueryLogicError(
                    f"Expected function with {len(values)} argument"
                    f"{'' if len(values) == 1 else 's'} but found function with {arity} "
                    f"argument{'' if arity == 1 else 's'}.",
                    path,
                )
            return inside([*frame, *values] if arity else frame)

        def unary(value: Any) -> Any:
            return inside([*frame, value])

        return Function(
            call, arity or None, unary if arity == 1 else call, deterministic, is_pattern
        )

    return Node(run, path, deterministic, code=FUNC)


def _compile_variable(args: list[Any], scope: Scope, path: Backtrace) -> Node:
    if len(args) != 1:
        raise CompileError(f"Expected 1 argument but found {len(args)}.", path)
    cell = scope.variables.get(args[0]) if type(args[0]) is int else None
    if cell is None:
        raise CompileError("Variable name not found.", path)
    return Node(lambda frame: frame[cell], path, code=VAR)


def _compile_row(args: list[Any], scope: Scope, path: Backtrace) -> Node:
    if args:
        raise CompileError(f"Expected 0 arguments but found {len(args)}.", path)
    if scope.row_depth == 0:
        raise CompileError("r.row is not defined in this context.", path)
    if scope.row_depth > 1:
        raise CompileError("Cannot use r.row in nested queries.  Use functions instead.", path)
    cell = scope.row_cell
    return Node(lambda frame: frame[cell], path, code=IMPLICIT_VAR)


# --- calls of registered terms ------------------------------------------------------------


def _compile_call(raw: list[Any], scope: Scope, path: Backtrace) -> Node:
    code = raw[0] if raw else None
    if type(code) is not int:
        raise CompileError("Expected a TermType as a NUMBER.", path)
    args = raw[1] if len(raw) > 1 else []
    options = raw[2] if len(raw) > 2 else {}
    if type(args) is dict and len(raw) == 2:
        args, options = [], args
    if code == DATUM:
        return compile_term(args, scope, path)
    if type(args) is not list or type(options) is not dict or len(raw) > 3:
        raise CompileError("Expected an ARRAY of arguments and an OBJECT of options.", path)
    if code == FUNC:
        return _compile_function(args, scope, path)
    if code == VAR:
        return _compile_variable(args, scope, path)
    if code == IMPLICIT_VAR:
        return _compile_row(args, scope, path)
    if code == MAKE_ARRAY:
        return _compile_array(raw, args, _without_literals(scope), path)
    if code == MAKE_OBJ:
        return _compile_object(options, scope, path)
    spec = TERMS.get(code)
    if spec is None:
        raise CompileError(f"Unknown term type {code}.", path)
    if spec.writes and not scope.writes_legal:
        raise CompileError(
            "Cannot nest writes or meta ops in stream operations.  Use FOR_EACH instead.", path
        )
    nodes = _compile_arguments(spec, args, scope, path)
    spliced = spec.splices and any(node.code == ARGS for node in nodes)
    if not spliced and not spec.accepts(len(nodes)):
        raise CompileError(f"Expected {spec.describe_arity()} but found {len(nodes)}.", path)
    for name in options:
        if name not in spec.options and not spec.unsupported:
            raise CompileError(f"Unrecognized optional argument `{name}`.", path)
    plain = _without_literals(scope)
    named = {name: compile_term(item, plain, (*path, name)) for name, item in options.items()}
    call = Call(spec, nodes, named, path, args, scope)
    return Node(
        _spliced(call) if spliced else _closure(call),
        path,
        deterministic=spec.deterministic
        and all(node.deterministic for node in nodes)
        and all(node.deterministic for node in named.values()),
        code=code,
    )


def _without_literals(scope: Scope) -> Scope:
    return replace(scope, literal_legal=False) if scope.literal_legal else scope


def _compile_arguments(
    spec: TermSpec, args: list[Any], scope: Scope, path: Backtrace
) -> list[Node]:
    if spec.code == ARGS:
        # What r.args holds are arguments of the term around it, so r.literal may stand there too.
        return [_compile_spliced(item, scope, (*path, i)) for i, item in enumerate(args)]
    if spec.passes_literals and scope.literal_legal:
        return [compile_term(item, scope, (*path, i)) for i, item in enumerate(args)]
    first = _without_literals(scope)
    others = first
    if spec.forbids_writes or spec.literals:
        others = replace(
            first,
            writes_legal=scope.writes_legal and not spec.forbids_writes,
            literal_legal=spec.literals,
        )
    return [compile_term(item, others if i else first, (*path, i)) for i, item in enumerate(args)]


def _compile_spliced(raw: Any, scope: Scope, path: Backtrace) -> Node:
    if type(raw) is list and len(raw) == 2 and raw[0] == MAKE_ARRAY and type(raw[1]) is list:
        return _compile_array(raw, raw[1], scope, path)
    return compile_term(raw, scope, path)


def _closure(call: Call) -> Closure:
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
        return _blaming(spec.build(call), call.path)
    if spec.function is None:
        raise TypeError(f"term {spec.name} has nothing that computes it")
    if call.options or len(call.args) not in (1, 2):
        return _eager_general(call, spec.function)
    if len(call.args) == 1:
        return _eager_one(call, spec.function)
    shortcut = SHORTCUTS.get(spec.code)
    faster = None if shortcut is None else shortcut(call, _finisher(call, spec.function))
    return faster or _eager_two(call, spec.function)


def _spliced(call: Call) -> Closure:
    """A term with r.args among its arguments: its arity is known when it runs."""
    spec, path = call.spec, call.path

    def run(frame: Frame) -> Any:
        nodes: list[Node] = []
        for node in call.args:
            if node.code != ARGS:
                nodes.append(node)
                continue
            nodes.extend(_constant(value, path) for value in node.run(frame))
        if not spec.accepts(len(nodes)):
            raise QueryLogicError(f"Expected {spec.describe_arity()} but found {len(nodes)}.", path)
        return _closure(Call(spec, nodes, call.options, path, call.raw, call.scope))(frame)

    return run


def blame(error: ReqlError, path: Backtrace) -> None:
    if error.backtrace is None:
        error.backtrace = path


def _blaming(run: Closure, path: Backtrace) -> Closure:
    def blaming(frame: Frame) -> Any:
        try:
            return run(frame)
        except ReqlError as error:
            if error.backtrace is None:
                error.backtrace = path
            raise

    return blaming


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
