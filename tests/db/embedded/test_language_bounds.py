"""Where this database says no and RethinkDB does not: terms left out, and what eats memory."""

from __future__ import annotations

import pytest

from db.embedded.errors import QueryLogicError, ResourceLimitError
from db.embedded.registry import TERMS
from tests.db.embedded.inprocess import evaluate, evaluate_term, r


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
