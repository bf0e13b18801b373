"""What a term can yield besides a datum: databases, tables, selections, streams, functions.

ReQL tells these apart, and which is which decides what may follow: only a selection can be
updated, only a stream over a table can be followed with `changes`, an array is plain data (a
Python list, see `datum.py`). Streams are lazy: a source of rows plus steps (filter, map, …)
applied as rows are drawn. Keeping source and steps apart is what lets `changes.py` run the
same steps over changed rows. Terms receive and return these classes, or `Grouped` of `groups.py`;
conversions between them, with the errors ReQL gives, are in `values.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from db.embedded.datum import Datum

if TYPE_CHECKING:
    from db.embedded.catalog import Database
    from db.embedded.env import Env
    from db.embedded.table import Table


class Source(Protocol):
    """Where rows come from. `infinite` sources end only when the client stops asking."""

    @property
    def infinite(self) -> bool: ...

    def iterate(self, env: Env) -> Iterator[Datum]: ...


class Function:
    """A ReQL function ready to be called; `unary` is the fast door for one argument."""

    __slots__ = ("arity", "call", "deterministic", "is_pattern", "unary")

    def __init__(
        self,
        call: Callable[..., Any],
        arity: int | None = 1,
        unary: Callable[[Any], Any] | None = None,
        deterministic: bool = True,
        is_pattern: bool = False,
    ) -> None:
        self.call = call
        self.arity = arity  # None: takes any number (a constant used as a function)
        self.unary = unary or call
        self.deterministic = deterministic
        self.is_pattern = is_pattern  # its body is an object: `filter` matches rows against it


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on a stream's rows.

    `name` is filter, map, concat_map (the ones a changefeed can follow; `function` takes a row
    and gives a truth value, a datum, an iterable of data) or slice (`start`, `stop`), or any
    other name with `apply` given.
    """

    name: str
    function: Callable[[Datum], Any] | None = None
    start: int = 0
    stop: int | None = None
    apply: Callable[[Env, Iterator[Datum]], Iterator[Datum]] | None = None
    deterministic: bool = True

    def run(self, env: Env, rows: Iterator[Datum]) -> Iterator[Datum]:
        if self.apply is not None:
            return self.apply(env, rows)
        if self.name == "slice":
            return islice(rows, self.start, self.stop)
        if self.function is None:
            raise TypeError(f"step {self.name} has neither function nor apply")
        if self.name == "filter":
            return filter(self.function, rows)
        if self.name == "map":
            return map(self.function, rows)
        function = self.function
        return (item for row in rows for item in function(row))


FOLLOWABLE_STEPS = frozenset({"filter", "map", "concat_map"})


class Sequence:
    """Anything rows can be drawn from that is not an array."""

    __slots__ = ()
    infinite = False

    @property
    def kind(self) -> str:
        """The name `type_of` prints."""
        raise NotImplementedError

    def rows(self, env: Env) -> Iterator[Datum]:
        raise NotImplementedError

    def with_step(self, step: Step) -> Sequence:
        """The sequence after one more step; it stays a selection where rows stay rows."""
        raise NotImplementedError


class Stream(Sequence):
    """Rows that are computed: the result of map, pluck, range, union, changes …"""

    __slots__ = ("source", "steps")

    def __init__(self, source: Source, steps: tuple[Step, ...] = ()) -> None:
        self.source = source
        self.steps = steps

    @property
    def kind(self) -> str:
        return "STREAM"

    @property
    def infinite(self) -> bool:  # type: ignore[override]
        bounded = any(step.name == "slice" and step.stop is not None for step in self.steps)
        return self.source.infinite and not bounded

    def rows(self, env: Env) -> Iterator[Datum]:
        rows = self.source.iterate(env)
        for step in self.steps:
            rows = step.run(env, rows)
        return rows

    def with_step(self, step: Step) -> Stream:
        return Stream(self.source, (*self.steps, step))


class Generated:
    """A source made of a function that starts a fresh iterator each time it is read."""

    __slots__ = ("infinite", "start")

    def __init__(self, start: Callable[[Env], Iterable[Datum]], infinite: bool = False) -> None:
        self.start = start
        self.infinite = infinite

    def iterate(self, env: Env) -> Iterator[Datum]:
        return iter(self.start(env))


@dataclass(frozen=True, slots=True)
class Read:
    """Which rows of a table, by which index, in which order: the source of selections.

    `index` None is the primary key. `keys` (order keys, for get_all, repeated keys repeat rows)
    or the range `low`..`high` limits it; `order` is None, "asc" or "desc".
    """

    table: Table
    index: str | None = None
    keys: tuple[bytes, ...] | None = None
    low: bytes | None = None
    high: bytes | None = None
    low_open: bool = False
    high_open: bool = True
    order: str | None = None
    bounds: tuple[Datum, Datum] | None = None  # what low and high are, for `info`

    infinite = False

    def iterate(self, env: Env) -> Iterator[Datum]:
        return env.ticking(self.table.read(self))

    @property
    def is_whole_table(self) -> bool:
        return self.keys is None and self.low is None and self.high is None


class Selection(Sequence):
    """Rows of one table as they are stored, so that they can be written back."""

    __slots__ = ("read", "steps")

    def __init__(self, read: Read, steps: tuple[Step, ...] = ()) -> None:
        self.read = read
        self.steps = steps

    @property
    def table(self) -> Table:
        return self.read.table

    @property
    def kind(self) -> str:
        if self.steps or self.read.keys is not None:
            return "SELECTION<STREAM>"
        if self.read.is_whole_table and self.read.index is None and self.read.order is None:
            return "TABLE"
        return "TABLE_SLICE"

    def rows(self, env: Env) -> Iterator[Datum]:
        rows = self.read.iterate(env)
        for step in self.steps:
            rows = step.run(env, rows)
        return rows

    def with_step(self, step: Step) -> Sequence:
        if step.name in ("filter", "slice"):
            return Selection(self.read, (*self.steps, step))
        return Stream(self.read, (*self.steps, step))

    def narrowed(self, **change: Any) -> Selection:
        """The same selection reading by another range, index or order."""
        return Selection(replace(self.read, **change), self.steps)


class ArraySelection(Sequence):
    """Rows of a table held in a list (sorted without an index, sampled): SELECTION<ARRAY>."""

    __slots__ = ("items", "table")

    def __init__(self, table: Table, items: list[Datum]) -> None:
        self.table = table
        self.items = items

    @property
    def kind(self) -> str:
        return "SELECTION<ARRAY>"

    def rows(self, env: Env) -> Iterator[Datum]:
        return env.ticking(self.items)

    def with_step(self, step: Step) -> Sequence:
        items = self.items
        if step.name in ("filter", "slice"):
            return _KeptArray(self.table, items, step)
        return Stream(Generated(lambda env: env.ticking(items)), (step,))


class _KeptArray(ArraySelection):
    """An array selection with filters or slices still to be applied."""

    __slots__ = ("step",)

    def __init__(self, table: Table, items: list[Datum], step: Step) -> None:
        super().__init__(table, items)
        self.step = step

    def rows(self, env: Env) -> Iterator[Datum]:
        return self.step.run(env, env.ticking(self.items))

    def with_step(self, step: Step) -> Sequence:
        first = self.step
        both = Step("filter", apply=lambda env, rows: step.run(env, first.run(env, rows)))
        if step.name in ("filter", "slice"):
            return _KeptArray(self.table, self.items, both)
        items = self.items
        return Stream(Generated(lambda env: env.ticking(items)), (both,))


class SingleSelection:
    """One row of a table (or null, when there is none under that key).

    `changes` follows the key, or where `read` is given (min and max by index) the first row of
    that ordered read after `steps`.
    """

    __slots__ = ("_find", "_row", "key", "read", "steps", "table")

    def __init__(
        self,
        table: Table,
        row: Datum,
        key: Datum = None,
        read: Read | None = None,
        steps: tuple[Step, ...] = (),
    ) -> None:
        self.table = table
        self._row = row
        self._find: Callable[[], Datum] | None = None
        self.key = key
        self.read = read
        self.steps = steps

    @classmethod
    def found_by(cls, table: Table, find: Callable[[], Datum], read: Read) -> SingleSelection:
        """A row that is looked up when it is asked for; following it needs no row."""
        made = cls(table, None, read=read)
        made._find = find
        return made

    @property
    def row(self) -> Datum:
        if self._find is not None:
            self._row, self._find = self._find(), None
        return self._row


class Union:
    """A source that joins sequences: one after the other, or as `merged` does."""

    __slots__ = ("merged", "parts")

    def __init__(
        self,
        parts: list[list[Datum] | Sequence],
        merged: Callable[[Env], Iterator[Datum]] | None = None,
    ) -> None:
        self.parts = parts
        self.merged = merged

    @property
    def infinite(self) -> bool:
        return any(isinstance(part, Sequence) and part.infinite for part in self.parts)

    def iterate(self, env: Env) -> Iterator[Datum]:
        if self.merged is not None:
            yield from self.merged(env)
            return
        for part in self.parts:
            yield from env.ticking(part) if isinstance(part, list) else part.rows(env)


class Held:
    """A source over rows in a list; counting them needs no reading."""

    __slots__ = ("items",)
    infinite = False

    def __init__(self, items: list[Datum]) -> None:
        self.items = items

    def iterate(self, env: Env) -> Iterator[Datum]:
        return env.ticking(self.items)


class DatabaseValue:
    """What r.db("name") yields."""

    __slots__ = ("database",)

    def __init__(self, database: Database) -> None:
        self.database = database
