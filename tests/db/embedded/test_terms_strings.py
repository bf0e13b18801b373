"""Strings: regular expressions, splitting, case."""

from __future__ import annotations

from typing import Any

import pytest

from tests.db.embedded.conftest import Run, r

TEXT = "one two  three "

SPLITS: list[tuple[str, tuple[Any, ...], list[str]]] = [
    (TEXT, (), ["one", "two", "three"]),
    (TEXT, (None, 1), ["one", "two  three "]),
    (TEXT, (None, 0), [TEXT]),
    (TEXT, (" ",), ["one", "two", "", "three", ""]),
    (TEXT, (" ", 1), ["one", "two  three "]),
    ("abc", ("",), ["a", "b", "c"]),
    ("abc", ("", 2), ["a", "b", "c"]),
    ("abc", ("", 1), ["a", "bc"]),
    ("e\u0301a", ("",), ["e\u0301", "a"]),
    ("a\u2003b\u00a0c", (), ["a", "b", "c"]),
    ("", (), []),
    ("", ("",), []),
    ("", (" ",), [""]),
]


@pytest.mark.parametrize(("text", "arguments", "expected"), SPLITS, ids=str)
def test_split(reql: Run, text: str, arguments: tuple[Any, ...], expected: list[str]) -> None:
    assert reql(r.expr(text).split(*arguments)) == expected


def test_only_ascii_letters_have_case(reql: Run) -> None:
    assert reql(r.expr("aBÉé").upcase()) == "ABÉé"
    assert reql(r.expr("aBÉé").downcase()) == "abÉé"


def test_match_tells_bytes_and_groups(reql: Run) -> None:
    assert reql(r.expr("éabc").match("b(c)|(x)")) == {
        "str": "bc",
        "start": 3,
        "end": 5,
        "groups": [{"str": "c", "start": 4, "end": 5}, None],
    }
    assert reql(r.expr("abc").match("x")) is None
    assert reql(r.expr("ABC").match("(?i)^a.c$"))["str"] == "ABC"
    assert reql(r.expr("a\n").match("a$")) is None
    assert reql(r.expr(["ab", "b"]).filter(lambda s: s.match("a"))) == ["ab"]


def test_a_pattern_cannot_hold_up_the_server(reql: Run) -> None:
    """A backtracking matcher would need longer than the age of the earth for this one."""
    assert reql(r.expr("a" * 2000).match("(a*)*(a*)*(a*)*b")) is None


def test_what_is_no_pattern(refusal: Any) -> None:
    assert refusal(r.expr("").match("a(")) == (
        "ReqlQueryLogicError",
        "Error in regexp `a(` (portion `a(`): missing ): a(",
    )
    assert refusal(r.expr("").match("(?=a)"))[1].startswith(
        "Error in regexp `(?=a)` (portion `(?=`)"
    )
    assert refusal(r.expr("a").split("b", -2)) == (
        "ReqlQueryLogicError",
        "Error: `split` size argument must be in range [-1, 99999].",
    )
