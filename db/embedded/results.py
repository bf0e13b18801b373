"""Results as JSON for the wire.

A query yields one datum (`atom_json`), grouped data, or a sequence drawn in batches
(`draw_batch`): as many rows as the client allows in one, about a megabyte, or what a third of a
second gives. The session sends what these return.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from db.embedded.datum import DATUM_TYPES, Datum, to_json
from db.embedded.encoded import EncodedDocuments
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError
from db.embedded.groups import Grouped
from db.embedded.sequences import ArraySelection, Sequence, SingleSelection
from db.embedded.values import check_groups, value_kind

BATCH_BYTES: Final = 1024 * 1024
BATCH_S: Final = 0.3
CHUNK_ROWS: Final = 128


def draw_batch(
    iterator: Iterator[Datum], most_rows: int | None, rows_json: Callable[[list[Datum]], bytes]
) -> tuple[bytes, bool]:
    """The next batch as JSON rows (no brackets), and whether the sequence has ended."""
    parts: list[bytes] = []
    size, count = 0, 0
    until = time.perf_counter() + BATCH_S
    while True:
        room = CHUNK_ROWS if most_rows is None else min(CHUNK_ROWS, most_rows - count)
        chunk = list(islice(iterator, room))
        if chunk:
            part = rows_json(chunk)
            parts.append(part)
            size += len(part)
            count += len(chunk)
        if len(chunk) < room:
            return b",".join(parts), True
        if size > BATCH_BYTES or count == most_rows or time.perf_counter() > until:
            return b",".join(parts), False


def rows_json(rows: list[Datum]) -> bytes:
    return to_json(rows)[1:-1]


def documents_json(encoded: EncodedDocuments) -> Callable[[list[Datum]], bytes]:
    """As `rows_json` for rows that are whole documents of a table."""
    return lambda rows: b",".join(map(encoded.of, rows))


def atom_json(env: Env, value: Any) -> bytes:
    """The one datum a query yields, as JSON."""
    if type(value) is SingleSelection:
        return env.server.store.encoded.of(value.row)
    if isinstance(value, ArraySelection):
        value = env.collect(value.rows(env))
    elif type(value) is Grouped:
        return grouped_json(env, value)
    elif type(value) not in DATUM_TYPES:
        raise QueryLogicError(
            "Query result must be of type DATUM, GROUPED_DATA, or STREAM (got "
            f"{value_kind(value)}).",
            (),
        )
    return to_json(value)


def grouped_json(env: Env, grouped: Grouped) -> bytes:
    data: list[Datum] = []
    for group, value in check_groups(env, grouped).items():
        if isinstance(value, Sequence):
            value = env.collect(value.rows(env))
        elif type(value) is SingleSelection:
            value = value.row
        data.append([group, value])
    return b'{"$reql_type$":"GROUPED_DATA","data":' + to_json(data) + b"}"
