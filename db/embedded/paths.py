"""Which parts of an object pluck, without and has_fields speak of.

A pattern is a field name, an object whose values are patterns again (true: all of that field), or
a list of patterns. It is compiled once into a `Pattern`; a flat list of names, the common case, has
a short way of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from db.embedded.datum import Datum, pretty
from db.embedded.errors import QueryLogicError
from db.embedded.weight import check_weight


class _Mismatch(Exception):
    """The value has no such parts: it is not an object."""


class Pattern:
    """The fields taken whole and the fields looked into, in the order they were given."""

    __slots__ = ("nested", "whole")

    def __init__(self, parts: Iterable[Datum]) -> None:
        self.whole: list[str] = []
        self.nested: list[tuple[str, Pattern]] = []
        for part in parts:
            check_weight(part)
            self._add(part)

    def _add(self, part: Datum) -> None:
        if type(part) is str:
            self.whole.append(part)
        elif type(part) is list:
            for inner in part:
                self._add(inner)
        elif type(part) is dict:
            for name in sorted(part):
                if part[name] is True:
                    self.whole.append(name)
                else:
                    self.nested.append((name, Pattern((part[name],))))
        else:
            raise QueryLogicError(f"Invalid path argument `{pretty(part)}`.")

    # --- pluck ----------------------------------------------------------------------------

    def plucker(self) -> Callable[[dict[str, Datum]], Datum]:
        names = list(dict.fromkeys(self.whole))
        if self.nested:
            return self._pluck
        if len(names) == 1:
            (only,) = names
            return lambda row: {only: row[only]} if only in row else {}
        return lambda row: {name: row[name] for name in names if name in row}

    def _pluck(self, row: Datum) -> Datum:
        if type(row) is not dict:
            raise _Mismatch
        made = {name: row[name] for name in self.whole if name in row}
        for name, pattern in self.nested:
            if name not in row:
                continue
            try:
                made[name] = pattern._pluck_within(row[name])
            except _Mismatch:
                continue
        return made

    def _pluck_within(self, value: Datum) -> Datum:
        if type(value) is list:
            return [self._pluck(item) for item in value]
        return self._pluck(value)

    # --- without --------------------------------------------------------------------------

    def without(self, row: Datum) -> Datum:
        if type(row) is not dict:
            raise _Mismatch
        whole = self.whole
        made = {name: value for name, value in row.items() if name not in whole}
        for name, pattern in self.nested:
            if name not in made:
                continue
            try:
                made[name] = pattern._without_within(made[name])
            except _Mismatch:
                continue
        return made

    def _without_within(self, value: Datum) -> Datum:
        if type(value) is list:
            return [self.without(item) for item in value]
        return self.without(value)

    # --- has_fields -----------------------------------------------------------------------

    def is_in(self, row: Any) -> bool:
        if type(row) is not dict:
            return False
        for name in self.whole:
            if row.get(name) is None:
                return False
        return all(name in row and pattern.is_in(row[name]) for name, pattern in self.nested)
