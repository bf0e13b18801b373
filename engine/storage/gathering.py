"""Gathers what several threads want done at about the same time, so that one of them does it for
all: as a database commits several transactions with one flush.

Nobody waits for company. Who finds little of its kind under way begins at once; those who come
meanwhile are gathered, and when something is done the first of them takes the others along. So one
waits as long as that takes, and then its own; nobody waits beyond the limit it names.
Used by engine.storage.overlays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")


@dataclass(eq=False)
class _Errand(Generic[Item, Result]):
    item: Item
    is_done: bool = False
    result: Result | None = None


@dataclass(eq=False)
class _Kind(Generic[Item, Result]):
    waiting: list[_Errand[Item, Result]] = field(default_factory=list)
    under_way: int = 0


class Gathering(Generic[Item, Result]):
    """`most` of a kind are done together, and that `at_once` so many times."""

    def __init__(self, most: int, at_once: int) -> None:
        self._most, self._at_once = most, at_once
        self._changed = threading.Condition()
        self._kinds: dict[Hashable, _Kind[Item, Result]] = {}

    def bring(
        self,
        kind: Hashable,
        item: Item,
        perform: Callable[[Sequence[Item]], Mapping[Item, Result]],
        wait_s: float,
    ) -> Result | None:
        """What `perform` has for this item, called here or by another thread with items of the same
        kind. None where it has nothing for it; also where it raised in another thread, or has not
        come to an end there within `wait_s`.
        """
        errand = _Errand[Item, Result](item)
        with self._changed:
            of_kind = self._kinds.setdefault(kind, _Kind())
            of_kind.waiting.append(errand)
            is_its_turn = self._changed.wait_for(
                lambda: (
                    errand.is_done
                    or (of_kind.under_way < self._at_once and errand in of_kind.waiting[:1])
                ),
                wait_s,
            )
            if errand.is_done:
                return errand.result
            if not is_its_turn:
                if errand in of_kind.waiting:
                    of_kind.waiting.remove(errand)
                    self._changed.notify_all()
                return None
            taken = of_kind.waiting[: self._most]
            del of_kind.waiting[: self._most]
            of_kind.under_way += 1
            self._changed.notify_all()  # who is first now may begin too
        results: Mapping[Item, Result] = {}
        try:
            results = perform([one.item for one in taken])
        finally:
            with self._changed:
                for one in taken:
                    one.is_done, one.result = True, results.get(one.item)
                of_kind.under_way -= 1
                if not of_kind.waiting and not of_kind.under_way:
                    del self._kinds[kind]
                self._changed.notify_all()
        return errand.result
