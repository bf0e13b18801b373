"""Cursors: what is left of a result that a client reads in batches.

A plain `Cursor` keeps its iterator between batches. A `FeedCursor` keeps its greenlet: it draws
rows as changes come, parks when there are none (`idle`, which the feed calls), and answers the
client's outstanding request with what has gathered. It never draws more than a batch ahead of the
client, so a slow reader's changes queue at the feed, where their number is limited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

from db.embedded.datum import Datum
from db.embedded.errors import QueryInterrupted, ReqlError, ResponseType
from db.embedded.loop import Loop
from db.embedded.results import draw_batch, rows_json
from db.embedded.wire import answer

FEED_BATCH_ROWS: Final = 500


class Cursor:
    """The rest of a sequence."""

    is_feed = False

    def __init__(
        self,
        iterator: Iterator[Datum],
        most_rows: int | None,
        encode: Callable[[list[Datum]], bytes] = rows_json,
    ) -> None:
        self.iterator = iterator
        self.most_rows = most_rows
        self._encode = encode

    def draw(self) -> tuple[bytes, bool]:
        """The next batch as JSON rows, and whether the sequence has ended."""
        return draw_batch(self.iterator, self.most_rows, self._encode)

    def close(self) -> None:
        close = getattr(self.iterator, "close", None)
        if close is not None:
            close()


class FeedCursor(Cursor):
    """A changefeed being read."""

    is_feed = True

    def __init__(
        self,
        loop: Loop,
        token: int,
        iterator: Iterator[Datum],
        most_rows: int | None,
        notes: list[int],
        send: Callable[[bytes], None],
    ) -> None:
        super().__init__(iterator, most_rows or FEED_BATCH_ROWS)
        self.stopped = False
        self._loop = loop
        self._token = token
        self._notes = notes  # told with the first batch
        self._send = send
        self._wanted = True  # the client waits for a batch
        self._parked = False  # the feed waits for changes
        self._pending: list[Datum] = []

    def run(self) -> bytes:
        """Draw rows until the feed ends (most never do); the rows of the last answer."""
        try:
            for row in self.iterator:
                self._pending.append(row)
                if len(self._pending) == self.most_rows:
                    self._wait_until_wanted()
                    self._deliver()
        except ReqlError:
            if self._pending:
                self._wait_until_wanted()
                self._deliver()
            self._wait_until_wanted()
            raise
        self._wait_until_wanted()
        return rows_json(self._pending)

    def idle(self) -> Any:
        """Called by the feed when it has nothing to tell: deliver, then wait to be woken."""
        if self._wanted and (self._pending or self._notes):
            self._deliver()
        self._parked = True
        value = self._loop.park()
        self._parked = False
        self._check_stopped()
        return value

    def ask(self) -> bool:
        """The client wants the next batch; true if the greenlet must be woken to give it."""
        self._wanted = True
        if self._parked and self._pending:
            self._deliver()
            return False
        return not self._parked

    def _wait_until_wanted(self) -> None:
        while not self._wanted:
            self._loop.park()
            self._check_stopped()

    def _check_stopped(self) -> None:
        if self.stopped:
            raise QueryInterrupted

    def _deliver(self) -> None:
        extra = b""
        if self._notes:
            extra = b',"n":' + orjson.dumps(self._notes)
            self._notes = []
        rows, self._pending = rows_json(self._pending), []
        self._wanted = False
        self._send(answer(self._token, ResponseType.SUCCESS_PARTIAL, rows, extra))
