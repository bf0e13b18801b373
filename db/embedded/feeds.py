"""The kinds of changefeeds and which of them follows a value.

A range of a table with its steps, one document, the first rows of an ordered selection (order_by
with limit, min, max); unions follow each of their parts. The term `changes` calls `feed_of`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from db.embedded.changes import (
    ATOM_FEED,
    ORDER_BY_LIMIT_FEED,
    Feed,
    FeedOptions,
    Follower,
    UnitedFeed,
)
from db.embedded.coverage import Coverage, released_rows
from db.embedded.datum import Datum, equal
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError, ReqlError
from db.embedded.keys import key_from_value
from db.embedded.sequences import (
    FOLLOWABLE_STEPS,
    Read,
    Selection,
    Sequence,
    SingleSelection,
    Step,
    Stream,
    Union,
)
from db.embedded.store import Change

if TYPE_CHECKING:
    from db.embedded.table import Table


class RangeFeed(Feed):
    """A table or a range of it, through filter and map steps."""

    def __init__(self, read: Read, steps: tuple[Step, ...], options: FeedOptions) -> None:
        super().__init__(read.table, options)
        self.read = read
        self.steps = steps
        self.coverage = Coverage(read)

    def initial(self, env: Env) -> Iterator[Datum]:
        for document in released_rows(self.read, self.coverage):
            env.tick()
            value = self.view(document)
            if value is not None:
                yield self.typed({"new_val": value}, "initial")

    def rows_of(self, env: Env, changes: list[Change]) -> Iterator[Datum]:
        for change in changes:
            old, new = self.view(change.old), self.view(change.new)
            if (old is None and new is None) or equal(old, new):
                continue
            yield self.change_row(old, new)

    def view(self, document: Datum) -> Datum:
        """What the feed shows of a document; None where it does not show it."""
        if document is None or not self.coverage.covers(document):
            return None
        return self.through(document)

    def through(self, value: Datum) -> Datum:
        """A value after the steps; None where one leaves it out or fails."""
        try:
            for step in self.steps:
                if step.function is None:
                    continue
                if step.name == "filter":
                    if not step.function(value):
                        return None
                else:
                    value = step.function(value)
        except ReqlError:
            return None
        return value


class PointFeed(Feed):
    """One document, there or not."""

    kind = ATOM_FEED

    def __init__(self, table: Table, key: bytes, options: FeedOptions) -> None:
        super().__init__(table, options)
        self._key = key

    def key(self) -> bytes:
        return self._key

    def initial(self, env: Env) -> Iterator[Datum]:
        document = self.table.get(self._key)
        for change in reversed(self.table.store.pending_changes(self.table)):
            if change.key == self._key:
                document = change.old
        return iter([self.typed({"new_val": document}, "initial")])

    def rows_of(self, env: Env, changes: list[Change]) -> Iterator[Datum]:
        for change in changes:
            if not (change.old is None and change.new is None):
                yield self.change_row(change.old, change.new)


class LimitFeed(Feed):
    """The first rows of an ordered selection (order_by + limit, min, max)."""

    kind = ORDER_BY_LIMIT_FEED

    def __init__(
        self,
        read: Read,
        steps: tuple[Step, ...],
        after: tuple[Step, ...],
        limit: int,
        options: FeedOptions,
    ) -> None:
        super().__init__(read.table, options)
        self.read = read
        self.base = RangeFeed(read, steps, options)
        self.after = RangeFeed(read, after, options)
        self.limit = limit
        self.shown: list[tuple[tuple[bytes, bytes], Datum]] = []

    def _top(self, env: Env) -> list[tuple[tuple[bytes, bytes], Datum]]:
        coverage = self.base.coverage
        top: list[tuple[tuple[bytes, bytes], Datum]] = []
        pending = self.table.store.pending_changes(self.table)
        rows = released_rows(self.read, coverage) if pending else self.table.read(self.read)
        for document in rows:
            env.tick()
            if len(top) >= self.limit:
                break
            if self.base.view(document) is not None:
                top.append((coverage.sort_key(document), document))
        return top

    def _shown_value(self, document: Datum) -> Datum:
        value = self.base.view(document)
        return None if value is None else self.after.through(value)

    def initial(self, env: Env) -> Iterator[Datum]:
        for offset, (_, document) in enumerate(list(self.shown)):
            value = self._shown_value(document)
            if value is None:
                continue
            row: dict[str, Datum] = {"new_val": value}
            if self.options.include_offsets:
                row.update(new_offset=offset)
            yield self.typed(row, "initial")

    def opening(self, env: Env) -> Iterator[Datum]:
        self.shown = self._top(env)
        yield from super().opening(env)

    def drain(self, env: Env, follower: Follower) -> Iterator[Datum]:
        while follower.queue:
            change = follower.next()
            if self._matters(change):
                yield from self._difference(env)

    def _matters(self, change: Change) -> bool:
        """False when the change touches neither the rows shown nor a row before the last."""
        for document in (change.old, change.new):
            if document is None or self.base.view(document) is None:
                continue
            if len(self.shown) < self.limit:
                return True
            key, last = self.base.coverage.sort_key(document), self.shown[-1][0]
            if key >= last if self.read.order == "desc" else key <= last:
                return True
        return False

    def _difference(self, env: Env) -> Iterator[Datum]:
        before, after = self.shown, self._top(env)
        self.shown = after
        old = {key[1]: (offset, document) for offset, (key, document) in enumerate(before)}
        new = {key[1]: (offset, document) for offset, (key, document) in enumerate(after)}
        gone = [old[key] for key in old if key not in new]
        come = [new[key] for key in new if key not in old]
        for key in old:
            if key in new and not equal(old[key][1], new[key][1]):
                yield from self._row(old[key], new[key])
        for position in range(max(len(gone), len(come))):
            left = gone[position] if position < len(gone) else None
            entered = come[position] if position < len(come) else None
            yield from self._row(left, entered)

    def _row(self, old: tuple[int, Datum] | None, new: tuple[int, Datum] | None) -> Iterator[Datum]:
        old_value = self._shown_value(old[1]) if old else None
        new_value = self._shown_value(new[1]) if new else None
        if old_value is None and new_value is None:
            return
        if equal(old_value, new_value) and (old is None) == (new is None):
            same_place = old is None or new is None or old[0] == new[0]
            if same_place or not self.options.include_offsets:
                return
        row = self.change_row(old_value, new_value)
        if self.options.include_offsets:
            row = {
                **row,
                "old_offset": old[0] if old else None,
                "new_offset": new[0] if new else None,
            }
        yield row


def check_steps(steps: tuple[Step, ...]) -> None:
    for step in steps:
        if step.name == "concat_map":
            raise QueryLogicError("Cannot call `changes` after `concat_map`.")
        if step.name not in FOLLOWABLE_STEPS:
            raise QueryLogicError("Cannot call `changes` on an eager stream.")
        if not step.deterministic:
            raise QueryLogicError("Cannot call `changes` after a non-deterministic function.")


def check_no_offsets(options: FeedOptions, what: str) -> None:
    if options.include_offsets:
        raise QueryLogicError(f"Cannot include offsets for {what} subs.")


def feed_of(value: Any, options: FeedOptions) -> Feed | UnitedFeed:
    """The feed that follows a value, or why there is none."""
    if type(value) is SingleSelection:
        if value.read is not None:
            return LimitFeed(value.read, value.steps, (), 1, options)
        check_no_offsets(options, "point")
        return PointFeed(value.table, key_from_value(value.key), options)
    if type(value) is Stream and isinstance(value.source, Union) and not value.source.merged:
        if any(step.name == "slice" for step in value.steps):
            raise QueryLogicError("Cannot call `changes` on a slice of a `union`.")
        return _united(value.source.parts, value.steps, options)
    if type(value) is Selection:
        read, steps = value.read, value.steps
    elif type(value) is Stream and type(value.source) is Read:
        read, steps = value.source, value.steps
    else:
        raise QueryLogicError("Cannot call `changes` on an eager stream.")
    for position, step in enumerate(steps):
        if step.name == "slice":
            before, after = steps[:position], steps[position + 1 :]
            if step.start or step.stop is None or read.order is None:
                break
            check_steps(before)
            check_steps(after)
            return LimitFeed(read, before, after, step.stop, options)
    check_steps(steps)
    if read.order is not None:
        raise QueryLogicError("Cannot call changes on an ordered stream.")
    check_no_offsets(options, "range")
    return RangeFeed(read, steps, options)


def _united(parts: list[Any], steps: tuple[Step, ...], options: FeedOptions) -> UnitedFeed:
    feeds: list[Any] = []
    for part in parts:
        for step in steps:
            if not isinstance(part, Sequence):
                break
            part = part.with_step(step)
        feeds.append(Stream(feed_of(part, options)))
    return UnitedFeed(feeds)
