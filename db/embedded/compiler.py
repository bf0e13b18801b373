"""From a term on the wire to a Python closure.

A term arrives as JSON: `[code, [arguments], {options}]`, an object, or a plain value. It is
compiled once per query into a closure taking a frame (see `nodes.py`).

Each compiled term remembers its path in the query; an error that leaves it without a position
gets that path as its backtrace. What needs compile-time context (FUNC, VAR, IMPLICIT_VAR, literals,
ARGS) is compiled here; everything else comes from the registry.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from db.embedded.calls import closure_of, spliced_closure_of
from db.embedded.datum import DATUM_TYPES, Datum, number, revive_object
from db.embedded.errors import Backtrace, CompileError, QueryLogicError, ReqlError
from db.embedded.nodes import (
    ARGS,
    DATUM,
    DEEPEST,
    FUNC,
    IMPLICIT_VAR,
    MAKE_ARRAY,
    MAKE_OBJ,
    NOTHING,
    PARAMETER,
    VAR,
    Call,
    Frame,
    Node,
    Scope,
    blaming,
    constant_node,
)
from db.embedded.registry import TERMS, TermSpec
from db.embedded.sequences import Function
from db.embedded.values import as_datum

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
    return constant_node(raw, path)


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


def _parameter(number_of_it: int, path: Backtrace) -> Node:
    """Data that was taken out of the query (see `templates.py`)."""

    def run(frame: Frame) -> Datum:
        value = frame[0].params[number_of_it]
        return frame[0].check_array(value) if type(value) is list else value

    return Node(blaming(run, path), path)


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
        return constant_node(value, path)
    nodes = {key: compile_term(item, scope, (*path, key)) for key, item in raw.items()}
    if "$reql_type$" in raw and all(node.constant is not NOTHING for node in nodes.values()):
        made = {key: node.constant for key, node in nodes.items()}
        try:
            return constant_node(revive_object(made), path)
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
        blaming(run, path),
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

        return Node(blaming(constant, path), path, constant=items, code=MAKE_ARRAY)
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
        blaming(run, path),
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
    if code is PARAMETER:
        return _parameter(raw[1][0], path)
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
    is_spliced = spec.splices and any(node.code == ARGS for node in nodes)
    if not is_spliced and not spec.accepts(len(nodes)):
        raise CompileError(f"Expected {spec.describe_arity()} but found {len(nodes)}.", path)
    for name in options:
        if name not in spec.options and not spec.unsupported:
            raise CompileError(f"Unrecognized optional argument `{name}`.", path)
    plain = _without_literals(scope)
    named = {name: compile_term(item, plain, (*path, name)) for name, item in options.items()}
    call = Call(spec, nodes, named, path, args, scope)
    return Node(
        spliced_closure_of(call) if is_spliced else closure_of(call),
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
