"""What one running query carries along: its session, its options, its share of time.

An `Env` is the first cell of every frame, so each term can reach it. Loops over rows or
function calls use `tick()`, which lets other queries run when this one has used up its time
slice and unwinds it when its client has gone. The session makes one Env per query; index functions
run with a bare one, which has no server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from greenlet import getcurrent

from db.embedded.datum import Time
from db.embedded.errors import (
    OpFailedError,
    QueryInterrupted,
    QueryLogicError,
    ResourceLimitError,
)
from db.embedded.memory import resident_bytes

if TYPE_CHECKING:
    from db.embedded.catalog import Catalog
    from db.embedded.server import Server

T = TypeVar("T")

TICKS_PER_LOOK = 256
DEFAULT_ARRAY_LIMIT = 100_000
MOST_SECONDS = 300.0  # of evaluation, waiting not counted
MOST_BYTES = 512 * 1024 * 1024  # by which the process grows while the query runs
MOST_LOOKS = 400  # of a function without a server (of an index, a write hook) for one document


class Env:
    """The state of one query while it runs."""

    __slots__ = (
        "_server", "array_limit", "bytes_left", "failures_before", "idle", "looks_left", "now",
        "params", "resident", "runopts", "seconds_left", "stopped", "ticks", "user",
    )  # fmt: skip

    def __init__(
        self,
        server: Server | None = None,
        runopts: dict[str, Any] | None = None,
        user: str = "admin",
        params: list[Any] | None = None,
    ) -> None:
        self._server = server
        self.runopts = runopts or {}
        self.user = user
        self.params = params  # the data taken out of the query (see templates.py)
        self.array_limit = self.runopts.get("array_limit", DEFAULT_ARRAY_LIMIT)
        self.now = Time(round(time.time(), 3))
        self.seconds_left = MOST_SECONDS
        self.bytes_left = MOST_BYTES
        self.resident = 0  # the memory of the process when this query's turn began; 0: not known
        self.looks_left = MOST_LOOKS
        self.ticks = TICKS_PER_LOOK
        self.stopped = False
        self.failures_before: int | None = None  # of commits, when it began to write hard
        self.idle: Callable[[], Any] | None = None  # how a feed waits; set by the session

    @property
    def server(self) -> Server:
        if self._server is None:
            raise QueryLogicError("Global options and stored functions cannot use tables.")
        return self._server

    @property
    def catalog(self) -> Catalog:
        return self.server.catalog

    # --- time slices and limits -----------------------------------------------------------

    def tick(self) -> None:
        """Call once per row or function call; cheap."""
        self.ticks -= 1
        if self.ticks < 0:
            self._look()

    def tick_for_tables(self) -> None:
        """As `tick`, for work whose memory belongs to a table and not to the query."""
        self.resident = 0
        self.tick()

    def _look(self) -> None:
        self.ticks = TICKS_PER_LOOK
        if self._server is None:
            self.looks_left -= 1
            if self.looks_left < 0:
                raise ResourceLimitError("The function takes too long for one document.")
            return
        self._measure()
        used_s = self._server.loop.yield_slice()
        if used_s:
            self.seconds_left -= used_s
            self.resident = resident_bytes()
        if self.stopped:
            raise QueryInterrupted
        if self.seconds_left < 0:
            raise ResourceLimitError(f"Query took more than {MOST_SECONDS:g} s to evaluate.")

    def _measure(self) -> None:
        """Count what the process has grown by since this query's turn began."""
        resident = resident_bytes()
        if self.resident:
            self.bytes_left = min(MOST_BYTES, self.bytes_left - resident + self.resident)
        self.resident = resident
        if self.bytes_left < 0:
            raise ResourceLimitError(f"Query used more than {MOST_BYTES >> 20} MiB of memory.")

    def ticking(self, rows: Iterable[T]) -> Iterator[T]:
        """The same rows, with a tick for each."""
        for row in rows:
            self.ticks -= 1
            if self.ticks < 0:
                self._look()
            yield row

    def check_array(self, items: list[T]) -> list[T]:
        """The list, unless it is longer than the query allows."""
        if len(items) > self.array_limit:
            raise ResourceLimitError(f"Array over size limit `{self.array_limit}`.")
        return items

    def collect(self, rows: Iterable[T]) -> list[T]:
        """All rows as a list, stopping as soon as the array limit is passed."""
        items: list[T] = []
        limit = self.array_limit
        for row in rows:
            items.append(row)
            self.tick()
            if len(items) > limit:
                self.check_array(items)
        return items

    # --- durability -----------------------------------------------------------------------

    def begin_hard_write(self) -> None:
        """From now on the query is answered only once all that it writes is on disk."""
        if self.failures_before is None:
            self.failures_before = self.server.store.failures

    def keep_promise(self) -> None:
        """After the last of the query's writes: wait for those that were hard."""
        if self.failures_before is not None:
            self.wait_for_commit()

    def wait_for_commit(self) -> None:
        """Park until everything recorded so far is on disk; a failed commit is an error."""
        sleeper, loop, store = getcurrent(), self.server.loop, self.server.store
        answered: list[str | None] = []

        def done(failure: str | None) -> None:
            if failure is None and self.failures_before not in (None, store.failures):
                # One that failed between two of its writes took the earlier with it.
                failure = store.last_failure
            answered.append(failure)
            if parked:
                loop.wake(sleeper)

        parked = False
        store.when_committed(done)
        parked = True
        while not answered:
            loop.park()
        if answered[0] is not None:
            raise OpFailedError(f"The write was not saved and has been undone ({answered[0]}).")
