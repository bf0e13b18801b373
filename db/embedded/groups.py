"""What `group` yields: values by group key.

Most terms are applied to each group by themselves (`calls.py` does so, by what is here), and a
group without rows is no group. The terms `group` and `ungroup` are in `terms/grouping.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from db.embedded.datum import Datum, order_key
from db.embedded.env import Env
from db.embedded.sequences import Held, Sequence, Stream


class NothingInGroup(Exception):
    """No row of a group took part in an aggregation: there will be no such group."""


def check_took_part(rows: Any, seen: bool) -> None:
    """For aggregations: leave the group out when these are its rows and none was seen."""
    if not seen and type(rows) is Stream and type(rows.source) is Held:
        raise NothingInGroup


class Grouped:
    """Values by group key. Most terms apply to each value by themselves.

    What `group` yields is a grouped stream (`is_stream`): each value is the list of the rows of
    its group, stream terms see it as a stream and a group left without rows is no group. Any
    other term makes it GROUPED_DATA, whose values are data.
    """

    __slots__ = ("groups", "is_stream")

    def __init__(
        self, groups: dict[bytes, tuple[Datum, Any]] | None = None, is_stream: bool = False
    ) -> None:
        self.groups: dict[bytes, tuple[Datum, Any]] = groups if groups is not None else {}
        self.is_stream = is_stream

    def apply_to_streams(self, env: Env, function: Callable[[Any], Any]) -> Grouped:
        """As `apply`, each group seen as a stream; stays a grouped stream if streams come out."""
        made: dict[bytes, tuple[Datum, Any]] = {}
        is_stream = False
        for key, (group, rows) in self.groups.items():
            try:
                value = function(Stream(Held(rows)))
            except NothingInGroup:
                continue
            if isinstance(value, Sequence):
                is_stream = True
                value = list(value.rows(env))
                if not value:
                    continue
            made[key] = (group, value)
        return Grouped(made, is_stream or not self.groups)

    def apply(self, function: Callable[[Any], Any]) -> Grouped:
        return Grouped(
            {key: (group, function(value)) for key, (group, value) in self.groups.items()}
        )

    def items(self) -> list[tuple[Datum, Any]]:
        """(group, value) pairs in the order of the groups."""
        return [self.groups[key] for key in sorted(self.groups)]

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[Datum, Any]]) -> Grouped:
        return cls({order_key(group): (group, value) for group, value in pairs})
