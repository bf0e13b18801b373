"""What one running query carries along: its session, its options, its share of time.

An `Env` is the first cell of every frame, so each term can reach it. Loops over rows or
function calls use `tick()`, which lets other queries run when this one has used up its time
slice and unwinds it when its client has gone. The session makes one Env per query.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from db.embedded.datum import Time
from db.embedded.errors import ResourceLimitError

if TYPE_CHECKING:
    from db.embedded.catalog import Catalog

T = TypeVar("T")

TICKS_PER_LOOK = 256
DEFAULT_ARRAY_LIMIT = 100_000


class Env:
    """The state of one query while it runs."""

    __slots__ = ("array_limit", "catalog", "now", "runopts", "ticks", "user", "yield_slice")

    def __init__(
        self,
        catalog: Catalog | None = None,
        runopts: dict[str, Any] | None = None,
        user: str = "admin",
        yield_slice: Callable[[], None] | None = None,
    ) -> None:
        self.catalog = catalog
        self.runopts = runopts or {}
        self.user = user
        self.array_limit = int(self.runopts.get("array_limit", DEFAULT_ARRAY_LIMIT))
        self.now = Time(round(time.time(), 3))
        self.ticks = TICKS_PER_LOOK
        self.yield_slice = yield_slice

    def tick(self) -> None:
        """Call once per row or function call; cheap."""
        self.ticks -= 1
        if self.ticks < 0:
            self.ticks = TICKS_PER_LOOK
            if self.yield_slice is not None:
                self.yield_slice()

    def ticking(self, rows: Iterable[T]) -> Iterator[T]:
        """The same rows, with a tick for each."""
        for row in rows:
            self.tick()
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
