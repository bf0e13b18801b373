"""Rows of a table together with their value in the index they are read by.

Grouping, counting distinct values and sorting within an index need the value, which `Read` alone
does not give: an index keeps order keys. The value is computed from the document again; of a multi
index, the element whose key it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from db.embedded.datum import Datum, order_key
from db.embedded.env import Env
from db.embedded.index import Index
from db.embedded.keys import walk
from db.embedded.sequences import Read


def index_entries(env: Env, read: Read) -> Iterator[tuple[bytes, Datum, Datum]]:
    """(order key of the value, value, document) for every row, in the order of the values."""
    table = read.table
    if read.index is None:
        for document in read.iterate(env):
            value = document[table.primary_key]
            yield order_key(value), value, document
        return
    index = table.index(read.index)
    descending = read.order == "desc"
    keys = walk(index.ordered(), read.low, read.high, read.low_open, read.high_open, descending)
    for key in keys:
        bucket = sorted(index.buckets.get(key, {}).items(), reverse=descending)
        for primary, times in bucket:
            document = table.get(primary)
            if document is None:
                continue
            value = _value_under(index, key, document)
            for _ in range(times):
                env.tick()
                yield key, value, document


def _value_under(index: Index, key: bytes, document: Datum) -> Datum:
    value = index.value_of(document)
    if index.multi and type(value) is list:
        return next((item for item in value if order_key(item) == key), None)
    return value
