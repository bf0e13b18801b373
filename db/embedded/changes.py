"""Changefeeds: what `changes` follows and how a change of a document becomes a row of the feed.

A `Follower` is registered at a table and queues raw changes as they are released (after the
commit); the feed's own greenlet turns them into rows: which rows of the table it covers, then
the same steps (filter, map …) the stream had. So a slow filter or a slow reader costs its own query
only; a queue that grows over `changefeed_queue_size` is dropped and told as an error element.

The kinds of feeds are in `feeds.py`; the session draws rows by iterating and is told when nothing
is left (`env.idle`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from greenlet import getcurrent, greenlet

from db.embedded.datum import Datum, equal
from db.embedded.env import Env
from db.embedded.errors import OpFailedError, QueryInterrupted, QueryLogicError
from db.embedded.sequences import Held, Stream
from db.embedded.store import Change
from db.embedded.values import feed_below, rows_of

if TYPE_CHECKING:
    from db.embedded.table import Table

SEQUENCE_FEED, ATOM_FEED, ORDER_BY_LIMIT_FEED, UNIONED_FEED, INCLUDES_STATES = 1, 2, 3, 4, 5
DEFAULT_QUEUE_SIZE: Final = 100_000
NO_END: Final = (
    "Cannot call a terminal (`reduce`, `count`, etc.) on an infinite stream (such as a changefeed)."
)


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
        running = self.begin(env)
        try:
            while True:
                yield from running.available()
                running.expect(getcurrent())
                if env.idle is None:
                    raise QueryLogicError(NO_END)
                env.idle()
        finally:
            running.close()

    def begin(self, env: Env) -> Running:
        return Running(env, self)

    def drain(self, env: Env, follower: Follower) -> Iterator[Datum]:
        """The rows of what is queued."""
        while follower.queue:
            env.tick()
            yield from self.rows_of(env, [follower.next()])

    def opening(self, env: Env) -> Iterator[Datum]:
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


class Running:
    """A feed that has been opened: its follower and what it can tell without waiting."""

    def __init__(self, env: Env, feed: Feed) -> None:
        self.env = env
        self.feed = feed
        self.follower = Follower(env, feed.table, feed.options, feed.key())
        self._opening: Iterator[Datum] | None = feed.opening(env)

    def available(self) -> Iterator[Datum]:
        """Rows until nothing is queued any more; ends without waiting."""
        if self._opening is not None:
            yield from self._opening
            self._opening = None
        follower = self.follower
        while True:
            if follower.skipped:
                skipped, follower.skipped = follower.skipped, 0
                yield overflow(skipped, self.feed.options)
            if follower.failure is not None:
                raise OpFailedError(follower.failure)
            if not follower.queue:
                return
            if type(self.feed.options.squash) is float:
                self._let_gather(self.feed.options.squash)
            yield from self.feed.drain(self.env, follower)

    def _let_gather(self, seconds: float) -> None:
        """Wait the seconds that `squash` asks for, so that changes of one row become one."""
        loop, sleeper = self.env.server.loop, getcurrent()
        over: list[bool] = []

        def ring() -> None:
            over.append(True)
            loop.wake(sleeper)

        loop.after(seconds, ring)
        while not over:
            loop.park()
            if self.env.stopped:
                raise QueryInterrupted

    def expect(self, sleeper: greenlet) -> None:
        """Be woken when there is more."""
        self.follower.sleeper = sleeper
        if self.follower.queue or self.follower.failure is not None:
            self.follower.wake()

    def close(self) -> None:
        self.follower.close()


def _flattened(part: Any) -> list[Any]:
    """The parts of a united feed, each with the steps that follow it; otherwise the part."""
    united = feed_below(part)
    if not isinstance(united, UnitedFeed):
        return [Stream(Held(part)) if isinstance(part, list) else part]
    parts = []
    for inner in united.parts:
        for step in part.steps:
            inner = inner.with_step(step)
        parts.append(inner)
    return parts


class UnitedFeed:
    """Several streams in one, of which at least one is a changefeed.

    States are told once for all: `initializing` with the first, `ready` when each is.
    """

    infinite = True
    is_feed = True

    def __init__(self, parts: list[Any]) -> None:
        self.parts = [one for part in parts for one in _flattened(part)]

    def notes(self) -> list[int]:
        notes = [UNIONED_FEED]
        if any(feed_below(part) and feed_below(part).options.include_states for part in self.parts):
            notes.append(INCLUDES_STATES)
        return notes

    def iterate(self, env: Env) -> Iterator[Datum]:
        feeds = [(feed_below(part), part) for part in self.parts if feed_below(part) is not None]
        finite = [part for part in self.parts if feed_below(part) is None]
        opened = [(feed.begin(env), part.steps) for feed, part in feeds]
        waiting_for = sum(feed.options.include_states for feed, _ in feeds)
        told: list[str] = []
        try:
            for part in finite:
                yield from rows_of(env, part)
            while True:
                for running, steps in opened:
                    rows = running.available()
                    for step in steps:
                        rows = step.run(env, rows)
                    for row in rows:
                        if type(row) is dict and "state" in row:
                            told.append(row["state"])
                            first = (
                                row["state"] == "initializing" and told.count("initializing") == 1
                            )
                            last = told.count("ready") == waiting_for
                            if not first and not (row["state"] == "ready" and last):
                                continue
                        yield row
                for running, _ in opened:
                    running.expect(getcurrent())
                if env.idle is None:
                    raise QueryLogicError(NO_END)
                env.idle()
        finally:
            for running, _ in opened:
                running.close()


def overflow(skipped: int, options: FeedOptions) -> Datum:
    message = f"Changefeed cache over array size limit, skipped {skipped} elements."
    row: dict[str, Datum] = {"error": message}
    return {**row, "type": "error"} if options.include_types else row
