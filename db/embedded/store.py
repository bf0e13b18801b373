"""The file: SQLite behind one writer thread that commits in groups.

The evaluating thread changes documents in memory and records each change here; the writer takes
everything recorded so far as one group and commits it (WAL, synchronous=FULL, so an acknowledged
commit is on disk). A hard write waits for its group; a soft one is acknowledged at once and its
group is committed within `SOFT_BOUND_S`. Changefeeds hear of a change only once it is released:
after the commit for a hard one, and never before a hard one that came earlier.

If a commit fails (disk full, I/O error) the group and everything recorded after it are undone in
memory, newest first, and the waiting queries get the reason. Only the catalog calls this module;
the event loop calls `settle()` when the writer has rung its bell.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from db.embedded.datafile import explain_refusal, open_database
from db.embedded.datum import Datum
from db.embedded.encoded import EncodedDocuments

log = logging.getLogger("db.embedded.store")

SOFT_BOUND_S: Final = 1.0
_SOFT_DELAY_S: Final = 0.25
_CHECKPOINT_PAGES: Final = 4000


class Keeper(Protocol):
    """Whose memory a change is in: a table, or the catalog for its own rows."""

    number: int

    def restore(self, key: bytes, value: Datum) -> None:
        """Put back what was under the key (None: nothing) without recording it."""

    def released(self, changes: list[Change]) -> None:
        """The changes may be shown to feeds now."""


@dataclass(slots=True, eq=False)
class Change:
    """One document under one key, before and after; None is absent."""

    keeper: Keeper
    key: bytes
    old: Datum
    new: Datum
    stored: bytes | None  # `new` as JSON, made by the evaluating thread so that it can refuse


@dataclass(slots=True)
class Group:
    """What one commit will write."""

    serial: int
    rows: dict[tuple[int, bytes], Change] = field(default_factory=dict)
    dropped: list[int] = field(default_factory=list)
    waiters: list[Callable[[str | None], None]] = field(default_factory=list)
    first_at: float = 0.0
    failure: str | None = None


class Store:
    """One data file and its writer."""

    def __init__(self, folder: Path, ring: Callable[[], None]) -> None:
        self.path = folder / "reql.sqlite"
        self.encoded = EncodedDocuments()
        self._ring = ring
        self._file = open_database(self.path)
        self._condition = threading.Condition()
        self._open = Group(1)
        self._hard_wanted = False
        self._stopping = False
        self._halted = False  # a commit failed and memory has not been put back yet
        self._settled: deque[Group] = deque()
        self._unreleased: deque[tuple[int, Change]] = deque()
        self._committed = 0
        self.commits = 0
        self.failures = 0
        self.last_failure: str | None = None
        self._writer = threading.Thread(target=self._write_loop, name="writer", daemon=True)

    def start(self) -> None:
        self._writer.start()

    def load(self) -> list[tuple[int, bytes, bytes]]:
        """Every stored row, before the writer starts."""
        return self._file.execute(
            "SELECT space, key, value FROM rows ORDER BY space, key"
        ).fetchall()

    # --- recording (evaluating thread) ----------------------------------------------------

    def record(self, change: Change, hard: bool) -> None:
        """Note a change that is already made in memory."""
        with self._condition:
            group = self._open
            place = (change.keeper.number, change.key)
            earlier = group.rows.get(place)
            if earlier is None:
                group.rows[place] = change
            else:
                group.rows[place] = Change(
                    change.keeper, change.key, earlier.old, change.new, change.stored
                )
            if not group.first_at:
                group.first_at = time.monotonic()
                self._condition.notify()
        if hard or self._unreleased:
            self._unreleased.append((group.serial if hard else 0, change))
        else:
            change.keeper.released([change])

    def load_space(self, number: int) -> list[tuple[bytes, bytes]]:
        """The rows of one table as the file has them (after a drop that could not be saved)."""
        return self._file.execute(
            "SELECT key, value FROM rows WHERE space = ? ORDER BY key", (number,)
        ).fetchall()

    def drop_space(self, number: int) -> None:
        """Forget every row of a dropped table."""
        with self._condition:
            for place in [place for place in self._open.rows if place[0] == number]:
                del self._open.rows[place]
            self._open.dropped.append(number)
            if not self._open.first_at:
                self._open.first_at = time.monotonic()
                self._condition.notify()

    def when_committed(self, done: Callable[[str | None], None]) -> None:
        """Call `done(failure)` once everything recorded so far is on disk (or has failed).

        `done` runs in the evaluating thread, from `settle`, or at once if nothing is pending.
        """
        with self._condition:
            if self._open.first_at:
                self._open.waiters.append(done)
                self._hard_wanted = True
                self._condition.notify()
                return
            if self._committed < self._open.serial - 1:
                self._taken.waiters.append(done)
                return
        done(None)

    def pending_changes(self, keeper: Keeper) -> list[Change]:
        """Changes of a keeper that feeds must not see yet, oldest first."""
        return [change for _, change in self._unreleased if change.keeper is keeper]

    def settle(self) -> None:
        """Release what was committed, undo what failed, wake who waits."""
        while self._settled:
            group = self._settled.popleft()
            if group.failure is None:
                self._release(group.serial)
            else:
                self._undo(group)
            for done in group.waiters:
                done(group.failure)

    def _release(self, serial: int) -> None:
        released: list[Change] = []
        queue = self._unreleased
        while queue and queue[0][0] <= serial:
            released.append(queue.popleft()[1])
        start = 0
        for position in range(1, len(released) + 1):
            if position == len(released) or (
                released[position].keeper is not released[start].keeper
            ):
                released[start].keeper.released(released[start:position])
                start = position

    def _undo(self, failed: Group) -> None:
        self.failures += 1
        with self._condition:
            later = self._open
            self._open = Group(later.serial + 1)
            self._committed = later.serial
            self._halted = False
            self._condition.notify()
        for group in (later, failed):
            for change in group.rows.values():
                change.keeper.restore(change.key, change.old)
        self._unreleased.clear()
        later.failure = failed.failure
        for done in later.waiters:
            done(failed.failure)

    # --- the writer thread ----------------------------------------------------------------

    _taken: Group = Group(0)

    def _take(self) -> Group | None:
        """The next group to commit; None when it is time to stop."""
        with self._condition:
            while True:
                group = self._open
                if self._halted and not self._stopping:
                    self._condition.wait()
                elif group.first_at:
                    wait_s = group.first_at + _SOFT_DELAY_S - time.monotonic()
                    if self._hard_wanted or self._stopping or wait_s <= 0:
                        break
                    self._condition.wait(wait_s)
                elif self._stopping:
                    return None
                else:
                    self._condition.wait()
            self._hard_wanted = False
            self._open = Group(group.serial + 1)
            self._taken = group
            return group

    def _write_loop(self) -> None:
        while True:
            group = self._take()
            if group is None:
                return
            try:
                self._commit(group)
            except Exception as error:  # top of the thread: whatever it is, the group failed
                group.failure = explain_refusal(error, self.path.parent)
                if group.failure is None:
                    log.exception("commit failed")
                    group.failure = f"{type(error).__name__}: {error}"
                elif group.failure != self.last_failure:
                    log.error("Writes are not saved and are undone. %s", group.failure)
                self.last_failure = group.failure
                with contextlib.suppress(sqlite3.Error):
                    self._file.execute("ROLLBACK")
            with self._condition:
                self._halted = group.failure is not None
                self._committed = max(self._committed, group.serial)
                self._settled.append(group)
            self._ring()

    def _commit(self, group: Group) -> None:
        changes = group.rows.items()
        gone = [place for place, change in changes if change.stored is None]
        kept = [(*place, change.stored) for place, change in changes if change.stored is not None]
        execute = self._file.execute
        execute("BEGIN IMMEDIATE")
        for number in group.dropped:
            execute("DELETE FROM rows WHERE space = ?", (number,))
        if gone:
            self._file.executemany("DELETE FROM rows WHERE space = ? AND key = ?", gone)
        if kept:
            self._file.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", kept)
        execute("COMMIT")
        self.commits += 1
        if self.last_failure is not None:
            self.last_failure = None
            log.warning("Writes are saved again.")

    def close(self) -> None:
        """Commit what is pending and close the file."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._writer.is_alive():
            self._writer.join(timeout=60)
        self._file.close()
