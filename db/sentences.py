"""Sentences for a person: pydantic's findings about a field in our words, and how many there are.

A pattern's sentence says what to write instead of quoting the pattern. Used for rows
(db/rowcheck.py) and for requests (webapp/errors.py). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

PATTERNS: dict[str, str] = {}
"""pattern -> what to write. Filled by `pattern`, where the pattern is."""


def pattern(text: str, sentence: str) -> str:
    """Declare a pattern together with what to tell people who miss it."""
    PATTERNS[text] = sentence
    return text


def explain(error: Mapping[str, Any]) -> str:
    """`error` is one of ValidationError.errors(), with its context. No full stop at the end."""
    kind, context = str(error["type"]), error.get("ctx") or {}
    say = SENTENCES.get(kind) or SENTENCES.get(kind.partition("_")[0])
    if say is None:
        text = str(error["msg"]).removeprefix("Value error, ")
        return text[:1].lower() + text[1:].rstrip(".")
    return say(context)


def counted(count: int | None, one: str, several: str) -> str:
    """`1 disk is`, `3 disks are`."""
    return f"{count} {one if count == 1 else several}"


def _length(context: Mapping[str, Any], name: str, what: str) -> str:
    return counted(context.get(name), what, f"{what}s")


def _too_short(context: Mapping[str, Any]) -> str:
    if context.get("min_length") == 1:
        return "it must not be empty"
    return f"it must have at least {_length(context, 'min_length', 'character')}"


Say = Callable[[Mapping[str, Any]], str]

SENTENCES: dict[str, Say] = {
    "missing": lambda c: "it is missing",
    "extra_forbidden": lambda c: "there is no such field",
    "string_pattern_mismatch": lambda c: PATTERNS.get(
        str(c.get("pattern")), "it has characters that cannot be used here"
    ),
    "string_too_short": _too_short,
    "string_too_long": lambda c: f"it must have at most {_length(c, 'max_length', 'character')}",
    "too_short": lambda c: f"give at least {_length(c, 'min_length', 'item')}",
    "too_long": lambda c: f"give at most {_length(c, 'max_length', 'item')}",
    "greater_than": lambda c: f"it must be more than {c.get('gt')}",
    "greater_than_equal": lambda c: f"it must be at least {c.get('ge')}",
    "less_than": lambda c: f"it must be less than {c.get('lt')}",
    "less_than_equal": lambda c: f"it must be at most {c.get('le')}",
    "literal_error": lambda c: f"it must be one of {c.get('expected')}",
    "string": lambda c: "it must be text",
    "int": lambda c: "it must be a whole number",
    "float": lambda c: "it must be a number",
    "bool": lambda c: "it must be true or false",
    "list": lambda c: "it must be a list",
    "dict": lambda c: "it must be an object with fields",
    "model": lambda c: "it must be an object with fields",
    "datetime": lambda c: "it must be a time",
}
"""By the error's type, or by its first word for all that say what kind of value is wanted."""
