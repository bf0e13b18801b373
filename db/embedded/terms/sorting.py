"""Terms that order and deduplicate: order_by, asc, desc, distinct."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from db.embedded.datum import Datum, order_key
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError
from db.embedded.groups import Grouped
from db.embedded.indexed import index_entries
from db.embedded.nodes import DESC, Call, Closure, Frame, Node
from db.embedded.ordering import Order, order_of, sort_rows
from db.embedded.registry import special, term
from db.embedded.sequences import ArraySelection, Generated, Read, Selection, Sequence, Step, Stream
from db.embedded.values import as_sequence, as_string, check_groups, finite_rows_of

_NOT_A_TABLE = (
    "Indexed order_by can only be performed on a TABLE or TABLE_SLICE. Make sure order_by comes "
    "before any transformations (such as map) or filters."
)


@term("ASC", 73, "any")
def ascending(env: Env, key: Any) -> Any:
    """What it orders by; the direction is read off the query (see `ordering.py`)."""
    return key


@term("DESC", 74, "any")
def descending(env: Env, key: Any) -> Any:
    return key


@special("ORDER_BY", 41, 1, None, options={"index": "any"}, splices=False)
def order_by(call: Call) -> Closure:
    rows_of_frame = call.runs[0]
    keys = call.args[1:]
    index = call.options.get("index")

    def run(frame: Frame) -> Any:
        env = frame[0]
        value = rows_of_frame(frame)
        orders = [order_of(env, frame, node) for node in keys]
        if type(value) is Grouped:
            groups = check_groups(env, value)
            return groups.apply(lambda rows: _ordered(env, frame, rows, orders, index))
        return _ordered(env, frame, as_sequence(env, value), orders, index)

    return run


def _ordered(
    env: Env, frame: Frame, rows: list[Datum] | Sequence, orders: list[Order], index: Node | None
) -> Any:
    if index is not None and not (isinstance(rows, list) and not rows):
        return _by_index(env, frame, rows, orders, index)
    if not orders and index is None:
        raise QueryLogicError("Must specify something to order by.")
    items = sort_rows(env, env.collect(finite_rows_of(env, rows)), orders)
    if isinstance(rows, Selection | ArraySelection):
        return ArraySelection(rows.table, items)
    return items


def _by_index(env: Env, frame: Frame, rows: Any, orders: list[Order], index: Node) -> Any:
    if type(rows) is not Selection or rows.kind not in ("TABLE", "TABLE_SLICE"):
        raise QueryLogicError(_NOT_A_TABLE)
    name = as_string(env, index.run(frame))
    sliced = with_order(rows, name, "desc" if index.code == DESC else "asc")
    if not orders:
        return sliced
    return Selection(sliced.read, (_sorted_within(sliced.read, orders),))


def _sorted_within(read: Read, orders: list[Order]) -> Step:
    def apply(env: Env, rows: Iterator[Datum]) -> Iterator[Datum]:
        for _, entries in groupby(index_entries(env, read), key=lambda entry: entry[0]):
            same = env.check_array([document for _, _, document in entries])
            yield from sort_rows(env, same, orders) if len(same) > 1 else same

    return Step("order_by", apply=apply)


def with_order(rows: Selection, name: str, order: str) -> Selection:
    """The table or slice read in the order of an index."""
    read = rows.read
    index = None if name == read.table.primary_key else name
    if index is not None:
        read.table.index(index)
    if read.order is not None:
        raise QueryLogicError("Cannot perform multiple indexed ORDER_BYs on the same table.")
    if not read.is_whole_table and read.index != index:
        raise QueryLogicError(
            f"Cannot order by index `{name}` after calling BETWEEN on index "
            f"`{read.index or read.table.primary_key}`."
        )
    return rows.narrowed(index=index, order=order)


# --- distinct -----------------------------------------------------------------------------


@term("DISTINCT", 42, "sequence", options={"index": "string"})
def distinct(env: Env, rows: list[Datum] | Sequence, index: str | None = None) -> Any:
    if type(rows) is Selection and rows.kind in ("TABLE", "TABLE_SLICE"):
        made = _distinct_of_table(rows, index)
        if made is not None:
            return made
    if index is not None:
        raise QueryLogicError("Can only perform an indexed distinct on a TABLE.")
    unique: dict[bytes, Datum] = {}
    limit = env.array_limit
    for row in finite_rows_of(env, rows):
        unique[order_key(row)] = row
        if len(unique) > limit:
            env.check_array(list(unique))
    return [unique[key] for key in sorted(unique)]


def _distinct_of_table(rows: Selection, index: str | None) -> Sequence | None:
    table, read = rows.table, rows.read
    primary = table.primary_key
    if index == primary:
        return rows.with_step(
            Step("distinct", apply=lambda env, found: (row[primary] for row in found))
        )
    ordered_by = read.index if not read.is_whole_table or read.order is not None else None
    plain = read.is_whole_table and read.order is None
    if not plain and ordered_by != index:
        return None
    if read.order is None:
        read = with_order(rows, index or primary, "asc").read

    def values(env: Env) -> Iterator[Datum]:
        if index is None:
            yield from _once_each(read.iterate(env))
            return
        for _, entries in groupby(index_entries(env, read), key=lambda entry: entry[0]):
            yield next(entries)[1]

    return Stream(Generated(values))


def _once_each(rows: Iterator[Datum]) -> Iterator[Datum]:
    last: Datum = None
    for row in rows:
        if row is not last:
            yield row
        last = row
