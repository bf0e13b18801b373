"""The table of terms: code, arity, options and what computes each.

`@term(...)` declares an ordinary term: its arguments are evaluated, converted to the declared
kinds (see `values.KINDS`) and handed to the function. `@special(...)` declares a term that
decides itself what to evaluate and when (branch, and, default …): its function is called once,
at compile time, and returns the closure. `unsupported(...)` lists a term this database does not
have, with the reason its users read. Modules in `terms/` fill the table when imported; the
compiler looks terms up by their code on the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from db.embedded.values import KINDS

if TYPE_CHECKING:
    from db.embedded.nodes import Call, Closure, Frame

NO_OPTIONS: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class TermSpec:
    """What the compiler knows of a term."""

    name: str
    code: int
    fewest: int
    most: int | None
    kinds: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    function: Callable[..., Any] | None = None
    build: Callable[[Call], Closure] | None = None
    per_group: bool = True
    stream_groups: bool = False
    literals: bool = False
    passes_literals: bool = False
    splices: bool = True
    deterministic: bool = True
    writes: bool = False
    forbids_writes: bool = False
    unsupported: str | None = None

    def kind_of(self, position: int) -> str:
        return self.kinds[min(position, len(self.kinds) - 1)]

    def describe_arity(self) -> str:
        if self.most is None:
            return f"{self.fewest} or more arguments"
        if self.fewest == self.most:
            return f"{self.fewest} argument{'' if self.fewest == 1 else 's'}"
        return f"between {self.fewest} and {self.most} arguments"

    def accepts(self, count: int) -> bool:
        return self.fewest <= count and (self.most is None or count <= self.most)


TERMS: Final[dict[int, TermSpec]] = {}


def _declare(spec: TermSpec) -> None:
    other = TERMS.get(spec.code)
    if other is not None:
        raise ValueError(f"term code {spec.code} declared twice: {other.name}, {spec.name}")
    TERMS[spec.code] = spec


def _parse_kinds(text: str) -> tuple[tuple[str, ...], int, int | None]:
    """'datum string? int*' -> the kinds, the fewest and the most arguments."""
    kinds: list[str] = []
    fewest, most = 0, 0
    unbounded = False
    for word in text.split():
        kind = word.rstrip("?*")
        if kind not in KINDS:
            raise ValueError(f"unknown kind of argument: {word}")
        kinds.append(kind)
        most += 1
        if word.endswith("*"):
            unbounded = True
        elif not word.endswith("?"):
            fewest += 1
    return tuple(kinds), fewest, None if unbounded else most


def term(
    name: str,
    code: int,
    args: str = "",
    *,
    options: dict[str, str] | None = None,
    per_group: bool = True,
    stream_groups: bool = False,
    literals: bool = False,
    deterministic: bool = True,
    writes: bool = False,
    forbids_writes: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a term whose arguments are evaluated first.

    `args` lists the kinds in order; `?` marks one that may be missing (then the function's
    default applies), `*` the last one, of which there may be any number. `options` gives the
    kind of each optional argument; those present arrive as keyword arguments (kind `lazy`: as a
    function that evaluates it). `stream_groups`: applied to the groups of a grouped stream, the
    result stays one. `literals`: r.literal may stand in the arguments after the first.
    """
    kinds, fewest, most = _parse_kinds(args)

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _declare(
            TermSpec(
                name=name,
                code=code,
                fewest=fewest,
                most=most,
                kinds=kinds,
                options=options or {},
                function=function,
                per_group=per_group,
                stream_groups=stream_groups,
                literals=literals,
                deterministic=deterministic,
                writes=writes,
                forbids_writes=forbids_writes,
            )
        )
        return function

    return register


def special(
    name: str,
    code: int,
    fewest: int,
    most: int | None,
    *,
    options: dict[str, str] | None = None,
    literals: bool = False,
    passes_literals: bool = False,
    splices: bool = True,
    deterministic: bool = True,
    writes: bool = False,
    forbids_writes: bool = False,
) -> Callable[[Callable[[Call], Closure]], Callable[[Call], Closure]]:
    """Declare a term that gets its arguments as closures and returns its own closure.

    With `splices=False` it sees r.args as an argument of its own instead of what is in it.
    `passes_literals`: r.literal may stand in any argument where it may stand in place of the term.
    """

    def register(build: Callable[[Call], Closure]) -> Callable[[Call], Closure]:
        _declare(
            TermSpec(
                name=name,
                code=code,
                fewest=fewest,
                most=most,
                options=options or {},
                build=build,
                literals=literals,
                passes_literals=passes_literals,
                splices=splices,
                deterministic=deterministic,
                writes=writes,
                forbids_writes=forbids_writes,
            )
        )
        return build

    return register


Finish = Callable[["Frame", Any, Any], Any]
Shortcut = Callable[["Call", "Finish"], "Closure | None"]
SHORTCUTS: Final[dict[int, Shortcut]] = {}


def shortcut(code: int) -> Callable[[Shortcut], Shortcut]:
    """Declare a faster closure for common forms of a term of two arguments.

    The function gets the call and what the term does with its evaluated arguments,
    `finish(frame, first, second)`. It returns a closure that does the same for the values it is
    made for and leaves all others to `finish`, or None. It evaluates each argument once.
    """

    def register(function: Shortcut) -> Shortcut:
        SHORTCUTS[code] = function
        return function

    return register


def unsupported(
    name: str, code: int, reason: str, fewest: int = 0, most: int | None = None
) -> None:
    """List a term of the language that this database leaves out."""
    _declare(
        TermSpec(
            name=name, code=code, fewest=fewest, most=most, unsupported=reason, deterministic=False
        )
    )
