"""What holds for every value and every query, not for chosen ones: order, round trips, no faults.

These evaluate in this process, so that thousands of queries take seconds.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rethinkdb import RethinkDB

from db.embedded.datum import (
    LARGEST_EXACT_INT,
    Datum,
    Time,
    compare,
    equal,
    number,
    number_text,
    order_key,
    to_json,
)
from db.embedded.errors import ReqlError
from db.embedded.instants import from_iso8601, instant, to_iso8601
from db.embedded.registry import TERMS
from tests.db.embedded.inprocess import evaluate, evaluate_term

pytestmark = pytest.mark.embedded_only("evaluates in this process, thousands of queries")

r = RethinkDB()

numbers = st.floats(allow_nan=False, allow_infinity=False).map(number) | st.integers(
    -LARGEST_EXACT_INT, LARGEST_EXACT_INT
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
times = st.builds(
    instant,
    st.integers(-10_000_000_000_000, 10_000_000_000_000).map(lambda ms: ms / 1000),
    st.sampled_from(["+00:00", "-07:00", "+05:30", "+14:00"]),
)
scalars = st.none() | st.booleans() | numbers | texts | st.binary(max_size=8) | times
data = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts.filter(lambda key: key != "$reql_type$"), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(data, data, data)
def test_the_order_of_data_is_total(a: Datum, b: Datum, c: Datum) -> None:
    assert compare(a, b) == -compare(b, a)
    assert (compare(a, b) == 0) == equal(a, b) == (order_key(a) == order_key(b))
    low, middle, high = sorted((a, b, c), key=cmp_to_key(compare))
    assert compare(low, middle) <= 0
    assert compare(middle, high) <= 0
    assert compare(low, high) <= 0
    assert [low, middle, high] == sorted((a, b, c), key=order_key)


@given(numbers)
def test_the_text_of_a_number_reads_back_as_that_number(value: float) -> None:
    assert float(number_text(value)) == value
    assert evaluate_term([51, [[51, [value, "string"]], "number"]]) == value


@given(st.dictionaries(texts.filter(lambda key: key != "$reql_type$"), numbers, max_size=5))
def test_objects_survive_as_pairs_and_as_json(value: dict[str, Datum]) -> None:
    query = r.expr(value)
    assert evaluate(query.coerce_to("array").coerce_to("object")) == value
    assert evaluate(r.json(query.to_json_string())) == value


@given(texts)
def test_texts_survive_as_bytes(text: str) -> None:
    assert evaluate(r.expr(text).coerce_to("binary").coerce_to("string")) == text


@given(texts, st.sampled_from([" ", ",", "ab"]))
def test_split_on_a_separator_is_undone_by_joining(text: str, separator: str) -> None:
    assert separator.join(evaluate(r.expr(text).split(separator))) == text
    assert "".join(evaluate(r.expr(text).split(""))) == text


@given(times)
def test_a_time_survives_as_iso8601(time: Time) -> None:
    assert from_iso8601(to_iso8601(time)) == time
    assert from_iso8601(to_iso8601(time)).zone == time.zone
    portions = evaluate(
        r.epoch_time(time.epoch)
        .in_timezone(time.zone)
        .do(
            lambda t: r.time(
                t.year(), t.month(), t.day(), t.hours(), t.minutes(), 0, t.timezone()
            ).to_epoch_time()
        )
    )
    assert portions == math.floor(time.epoch / 60) * 60


@given(st.lists(numbers, max_size=8))
def test_aggregations_agree_with_python(values: list[Datum]) -> None:
    query = r.expr(values)
    assert evaluate(query.order_by(lambda x: x)) == sorted(values)
    assert evaluate(query.distinct()) == sorted(set(values))
    assert evaluate(query.count()) == len(values)
    if values:
        assert evaluate(query.max()) == max(values)
        assert evaluate(query.min()) == min(values)


@given(
    st.lists(st.integers(), max_size=8),
    st.integers(-10, 10),
    st.none() | st.integers(-10, 10),
)
def test_slices_are_python_slices(values: list[int], start: int, stop: int | None) -> None:
    values = [number(value) for value in values]
    query = r.expr(values)
    sliced = query.slice(start) if stop is None else query.slice(start, stop)
    assert evaluate(sliced) == values[start:stop]


# --- no query is a fault ------------------------------------------------------------------

_CODES = [2, 3, *sorted(code for code, spec in TERMS.items() if not spec.writes)]


def _call(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    arguments = st.lists(inner, max_size=4)
    function = inner.map(lambda body: [69, [[2, [1]], body]])
    return (
        st.tuples(st.sampled_from(_CODES), arguments).map(list)
        | st.tuples(st.sampled_from(_CODES), st.tuples(inner, function).map(list)).map(list)
        | st.dictionaries(texts, inner, max_size=3)
    )


json_scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | texts
terms = st.recursive(json_scalars | st.just([10, [1]]) | st.just([13, []]), _call, max_leaves=12)


@settings(max_examples=600)
@given(terms)
def test_any_term_ends_with_a_datum_or_an_error_of_the_language(raw: Any) -> None:
    with suppress(ReqlError):
        assert to_json(evaluate_term(raw, array_limit=100))
