"""Where this database says no and RethinkDB does not: terms left out, and what eats memory."""

from __future__ import annotations

import pytest

from db.embedded.datum import to_json
from db.embedded.errors import NonExistenceError, QueryLogicError, ResourceLimitError
from db.embedded.registry import TERMS
from tests.db.embedded.inprocess import evaluate, evaluate_term, r

pytestmark = pytest.mark.embedded_only("evaluates in this process, at bounds of its own")


def test_left_out_terms_say_their_name_and_why() -> None:
    with pytest.raises(QueryLogicError) as told:
        evaluate(r.js("1"))
    assert told.value.message == (
        "`javascript` is not supported by the embedded database: the server runs no JavaScript."
    )
    for code, spec in TERMS.items():
        if spec.unsupported:
            with pytest.raises(QueryLogicError, match=spec.name.lower()):
                evaluate_term([code, ["x"] * spec.fewest])


def test_a_text_that_doubles_for_ever_ends_with_an_error() -> None:
    doubling = r.range(60).fold("isard", lambda text, _: text + text).count()
    with pytest.raises(ResourceLimitError, match="String over size limit"):
        evaluate(doubling)


def test_a_long_text_is_not_split_further_than_an_array_may_grow() -> None:
    for separator in ("", None):
        with pytest.raises(ResourceLimitError, match="Array over size limit `10`"):
            evaluate(r.expr("a " * 1_000_000).split(separator), array_limit=10)


# --- values of a few terms that would be terabytes ----------------------------------------

ARRAY = r.range(60).fold([1], lambda value, _: [value, value])
OBJECT = r.range(60).fold({"x": True}, lambda value, _: {"a": value, "b": value})

TOO_LARGE = {
    "the result": ARRAY,
    "a result's part": r.expr([1, ARRAY]),
    "JSON text": ARRAY.to_json_string(),
    "a string": ARRAY.coerce_to("string"),
    "equality": r.range(2).map(lambda _: ARRAY).coerce_to("array").do(lambda a: a[0] == a[1]),
    "order": ARRAY < ARRAY,
    "sorting": r.expr([1, 2]).order_by(lambda _: ARRAY),
    "distinct values": r.expr([1, 2]).map(lambda _: ARRAY).distinct(),
    "groups": r.expr([1]).group(lambda _: ARRAY).count(),
    "sets": r.expr([1]).set_insert(ARRAY),
    "merging": r.expr({}).merge(OBJECT),
    "a pattern": OBJECT.do(lambda value: value.has_fields(value)),
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_a_value_that_doubles_is_refused_where_it_would_be_walked(what: str) -> None:
    with pytest.raises(ResourceLimitError, match="Value over size limit"):
        to_json(evaluate(TOO_LARGE[what]))


def test_a_value_that_doubles_may_exist_unseen() -> None:
    assert evaluate(ARRAY.count()) == 2
    assert evaluate(OBJECT["a"]["b"]["a"].keys()) == ["a", "b"]


def test_a_message_about_a_value_that_doubles_is_short() -> None:
    with pytest.raises(NonExistenceError) as told:
        evaluate(OBJECT["c"])
    assert told.value.message == "No attribute `c` in object:\n(OBJECT too large to be shown)"


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ResourceLimitError, match="Value nested deeper than 250 levels"):
        to_json(evaluate(r.range(3000).fold([], lambda value, _: [value])))


def test_a_function_without_a_query_around_it_ends() -> None:
    with pytest.raises(ResourceLimitError, match="takes too long"):
        evaluate(r.range(10**9).count())
