"""Which documents a read of a table covers, asked of one document at a time.

Reading goes from an index to documents; feeds go the other way, from a changed document to whether
the feed's read would have found it, and where in its order. System tables, which have no indexes,
read by it too.
"""

from __future__ import annotations

from db.embedded.datum import Datum, order_key
from db.embedded.sequences import Read


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
