"""A secondary index in memory: which documents have which indexed value.

The index function is compiled from its stored term and run for each document that changes; where
it fails or yields no key the document is not in the index, as in RethinkDB. The sorted list of
values is built when a range or an order first needs it.
"""

from __future__ import annotations

from typing import Any

from sortedcontainers import SortedList

from db.embedded.compiler import compile_query
from db.embedded.datum import Datum, order_key
from db.embedded.env import MOST_LOOKS, Env
from db.embedded.errors import ReqlError
from db.embedded.keys import INDEXABLE, all_indexable


class Index:
    """A secondary index: order key of the indexed value -> keys of its documents."""

    def __init__(self, name: str, config: dict[str, Any]) -> None:
        self.name = name
        self.config = config
        self.multi = bool(config.get("multi"))
        self.ready = True
        self.buckets: dict[bytes, dict[bytes, int]] = {}
        self.waiting: set[bytes] = set()  # while it is built: documents it does not have yet
        self._sorted: SortedList | None = None
        self._env = Env()
        self.value_of = compile_query(config["function"]).run([self._env]).unary

    def keys_of(self, document: Datum) -> list[bytes]:
        """The index keys of a document; none where the function fails or yields no key."""
        self._env.looks_left = MOST_LOOKS
        try:
            value = self.value_of(document)
        except ReqlError:
            return []
        if self.multi and type(value) is list:
            return [key for item in value if (key := self._key(item)) is not None]
        key = self._key(value)
        return [] if key is None else [key]

    def _key(self, value: Datum) -> bytes | None:
        try:
            key = order_key(value)
        except (KeyError, ReqlError):
            return None
        if key[0] not in INDEXABLE or (key[0] == 0x10 and not all_indexable(value)):
            return None
        return key

    def change(self, key: bytes, old: Datum, new: Datum) -> None:
        """Follow a change of a document."""
        if self.waiting and key in self.waiting:
            self.waiting.discard(key)
        elif old is not None:
            self.discard(key, old)
        if new is not None:
            self.add(key, new)

    def add(self, key: bytes, document: Datum) -> None:
        for value in self.keys_of(document):
            bucket = self.buckets.get(value)
            if bucket is None:
                self.buckets[value] = {key: 1}
                if self._sorted is not None:
                    self._sorted.add(value)
            else:
                bucket[key] = bucket.get(key, 0) + 1

    def discard(self, key: bytes, document: Datum) -> None:
        for value in self.keys_of(document):
            bucket = self.buckets.get(value)
            if bucket is None:
                continue
            bucket.pop(key, None)
            if not bucket:
                del self.buckets[value]
                if self._sorted is not None:
                    self._sorted.remove(value)

    def ordered(self) -> SortedList:
        if self._sorted is None:
            self._sorted = SortedList(self.buckets)
        return self._sorted
