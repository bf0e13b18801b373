"""What a compiled query is made of: frames, nodes, calls, and the scope a term is compiled in.

A term is compiled once per query into a closure taking a frame. A frame is a list: cell 0 holds
the `Env`, the others the variables of the functions around the term, innermost last, so that
calling a function is `body([*captured, argument])` and reading a variable is one list access.
The compiler makes these, terms of the `special` kind get them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from db.embedded.datum import Datum
from db.embedded.errors import Backtrace, ReqlError
from db.embedded.registry import TermSpec

Frame = list[Any]
Closure = Callable[[Frame], Any]

MAKE_ARRAY, MAKE_OBJ, VAR, IMPLICIT_VAR, FUNC, ARGS, DATUM = 2, 3, 10, 13, 69, 154, 1
ASC, DESC = 73, 74
DEEPEST: Final = 400

NOTHING: Final = object()
PARAMETER: Final = object()  # in place of a term code: the n-th datum of the query


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


def constant_node(value: Datum, path: Backtrace) -> Node:
    return Node(lambda frame: value, path, constant=value)


def blaming(run: Closure, path: Backtrace) -> Closure:
    """The closure, which gives errors that leave it without a position this one."""

    def blame(frame: Frame) -> Any:
        try:
            return run(frame)
        except ReqlError as error:
            if error.backtrace is None:
                error.backtrace = path
            raise

    return blame
