"""Changefeeds: what `changes` follows and how a change of a document becomes a row of the feed.

A `Follower` is registered at a table and queues raw changes as they are released (after the
commit); the feed's own greenlet turns them into rows: which rows of the table it covers, then
the same steps (filter, map …) the stream had. So a slow filter or a slow reader costs its own query
only; a queue that grows over `changefeed_queue_size` is dropped and told as an error element.

Four kinds: a range of a table with its steps, one document, the first rows of an ordered
selection, and several feeds joined by union. The session draws rows by iterating and is told when
nothing is left (`env.idle`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from greenlet import getcurrent, greenlet

from db.embedded.datum import Datum, equal, order_key
from db.embedded.env import Env
from db.embedded.errors import OpFailedError, QueryLogicError, ReqlError
from db.embedded.sequences import FOLLOWABLE_STEPS, Read, Step
from db.embedded.store import Change

if TYPE_CHECKING:
    from db.embedded.table import Table

SEQUENCE_FEED, ATOM_FEED, ORDER_BY_LIMIT_FEED, UNIONED_FEED, INCLUDES_STATES = 1, 2, 3, 4, 5
DEFAULT_QUEUE_SIZE: Final = 100_000


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """The optional arguments of `changes`."""

    squash: bool | float = False
    queue_size: int = DEFAULT_QUEUE_SIZE
    include_initial: bool = False
    include_states: bool = False
    include_offsets: bool = False
    include_types: bool = False


class Follower:
    """The queue between a table and one feed."""

    __slots__ = (
        "failure",
        "limit",
        "loop",
        "queue",
        "skipped",
        "sleeper",
        "squash",
        "squashed",
        "table",
        "target_key",
    )

    def __init__(self, env: Env, table: Table, options: FeedOptions, key: bytes | None) -> None:
        self.loop = env.server.loop
        self.table = table
        self.target_key = key
        self.limit = options.queue_size
        self.squash = options.squash
        self.queue: deque[Change] = deque()
        self.squashed: dict[bytes, Change] = {}
        self.skipped = 0
        self.failure: str | None = None
        self.sleeper: greenlet | None = None
        if table.is_system:
            table.start_looking()
        if key is None:
            table.followers[self] = None
        else:
            table.key_followers.setdefault(key, {})[self] = None

    def take(self, changes: list[Change]) -> None:
        """Queue released changes and wake the feed."""
        for change in changes:
            if self.squash:
                self._squash(change)
            else:
                self.queue.append(change)
            if len(self.queue) > self.limit:
                self.skipped += len(self.queue)
                self.queue.clear()
                self.squashed.clear()
        self.wake()

    def _squash(self, change: Change) -> None:
        waiting = self.squashed.get(change.key)
        if waiting is None:
            waiting = Change(change.keeper, change.key, change.old, change.new, None)
            self.squashed[change.key] = waiting
            self.queue.append(waiting)
        else:
            waiting.new = change.new
            if equal(waiting.old, waiting.new):
                del self.squashed[change.key]
                self.queue.remove(waiting)

    def next(self) -> Change:
        change = self.queue.popleft()
        if self.squash:
            self.squashed.pop(change.key, None)
        return change

    def wake(self) -> None:
        if self.sleeper is not None:
            self.loop.wake(self.sleeper)
            self.sleeper = None

    def end(self, reason: str) -> None:
        self.failure = reason
        self.wake()

    def close(self) -> None:
        if self.target_key is None:
            self.table.followers.pop(self, None)
            return
        same = self.table.key_followers.get(self.target_key)
        if same is not None:
            same.pop(self, None)
            if not same:
                del self.table.key_followers[self.target_key]


class Feed:
    """A source of feed rows; the subclasses differ in what they follow."""

    infinite = True
    is_feed = True
    kind = SEQUENCE_FEED

    def __init__(self, table: Table, options: FeedOptions) -> None:
        self.table = table
        self.options = options

    def notes(self) -> list[int]:
        return [self.kind, INCLUDES_STATES] if self.options.include_states else [self.kind]

    def key(self) -> bytes | None:
        return None

    def initial(self, env: Env) -> Iterator[Datum]:
        raise NotImplementedError

    def rows_of(self, env: Env, changes: list[Change]) -> Iterator[Datum]:
        raise NotImplementedError

    def iterate(self, env: Env) -> Iterator[Datum]:
        follower = Follower(env, self.table, self.options, self.key())
        try:
            yield from self._opening(env)
            while True:
                if follower.failure is not None:
                    raise OpFailedError(follower.failure)
                if follower.skipped:
                    skipped, follower.skipped = follower.skipped, 0
                    yield overflow(skipped, self.options)
                if not follower.queue:
                    follower.sleeper = getcurrent()
                    if env.idle is None:
                        raise QueryLogicError("Cannot call `changes` here.")
                    env.idle()
                    follower.sleeper = None
                    if follower.queue and type(self.options.squash) is float:
                        self._wait_to_squash(env)
                    continue
                yield from self._drain(env, follower)
        finally:
            follower.close()

    def _drain(self, env: Env, follower: Follower) -> Iterator[Datum]:
        while follower.queue:
            env.tick()
            yield from self.rows_of(env, [follower.next()])

    def _wait_to_squash(self, env: Env) -> None:
        """Let changes gather for the seconds that `squash` asks for."""
        loop, sleeper = env.server.loop, getcurrent()
        over: list[bool] = []

        def ring() -> None:
            over.append(True)
            loop.wake(sleeper)

        loop.after(float(self.options.squash), ring)
        while not over and not env.stopped:
            loop.park()

    def _opening(self, env: Env) -> Iterator[Datum]:
        options = self.options
        first = self.initial(env) if options.include_initial else iter(())
        if options.include_states and options.include_initial:
            yield self.state("initializing")
        yield from first
        if options.include_states:
            yield self.state("ready")

    def state(self, name: str) -> Datum:
        return {"state": name, "type": "state"} if self.options.include_types else {"state": name}

    def typed(self, row: dict[str, Datum], kind: str) -> Datum:
        return {**row, "type": kind} if self.options.include_types else row

    def change_row(self, old: Datum, new: Datum) -> dict[str, Datum]:
        kind = "add" if old is None else "remove" if new is None else "change"
        return self.typed({"new_val": new, "old_val": old}, kind)


def overflow(skipped: int, options: FeedOptions) -> Datum:
    message = f"Changefeed cache over array size limit, skipped {skipped} elements."
    row: dict[str, Datum] = {"error": message}
    return {**row, "type": "error"} if options.include_types else row


class Coverage:
    """Whether, and how often, a read covers a document."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.index = None if read.index is None else read.table.index(read.index)
        self.field = read.table.primary_key
        self.keys = None if read.keys is None else frozenset(read.keys)
        self.everything = read.is_whole_table and self.index is None

    def covers(self, document: Datum) -> bool:
        return self.everything or self.times(document) > 0

    def times(self, document: Datum) -> int:
        if self.index is None:
            keys = [order_key(document[self.field])]
        else:
            keys = self.index.keys_of(document)
        return sum(map(self._within, keys))

    def sort_key(self, document: Datum) -> tuple[bytes, bytes]:
        own = order_key(document[self.field])
        if self.index is None:
            return own, own
        keys = [key for key in self.index.keys_of(document) if self._within(key)]
        return min(keys, default=b""), own

    def _within(self, key: bytes) -> bool:
        if self.keys is not None:
            return key in self.keys
        read = self.read
        if read.low is not None and (key < read.low or (read.low_open and key == read.low)):
            return False
        return read.high is None or key < read.high or (not read.high_open and key == read.high)


def released_rows(read: Read, coverage: Coverage) -> list[Datum]:
    """The rows of a read as they are on disk: changes not yet committed are left out."""
    rows = list(read.table.read(read))
    pending = read.table.store.pending_changes(read.table)
    if not pending:
        return rows
    before: dict[bytes, Datum] = {}
    for change in pending:
        before.setdefault(change.key, change.old)
    field = read.table.primary_key
    rows = [row for row in rows if order_key(row[field]) not in before]
    rows += [old for old in before.values() if old is not None and coverage.covers(old)]
    if read.order is not None:
        rows.sort(key=coverage.sort_key, reverse=read.order == "desc")
    return rows


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
        value = document
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
        for step in self.after.steps:
            if step.function is not None and value is not None:
                value = step.function(value)
        return value

    def initial(self, env: Env) -> Iterator[Datum]:
        for offset, (_, document) in enumerate(list(self.shown)):
            row: dict[str, Datum] = {"new_val": self._shown_value(document)}
            if self.options.include_offsets:
                row.update(new_offset=offset)
            yield self.typed(row, "initial")

    def _opening(self, env: Env) -> Iterator[Datum]:
        self.shown = self._top(env)
        yield from super()._opening(env)

    def _drain(self, env: Env, follower: Follower) -> Iterator[Datum]:
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


def feed_of(value: Any, options: FeedOptions) -> Feed:
    """The feed that follows a value, or why there is none."""
    from db.embedded.sequences import Selection, SingleSelection, Stream
    from db.embedded.table import key_from_value

    if type(value) is SingleSelection:
        if value.read is not None:
            return LimitFeed(value.read, value.steps, (), 1, options)
        return PointFeed(value.table, key_from_value(value.key), options)
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
    return RangeFeed(read, steps, options)
