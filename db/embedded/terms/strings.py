"""Terms on strings: match, split, upcase, downcase.

Regular expressions are RE2's, as in RethinkDB: the same syntax, and no pattern takes more than
linear time, so that no query can hold up the others. Positions of matches count bytes of UTF-8,
as there.
"""

from __future__ import annotations

import re
import string
import unicodedata
from functools import lru_cache
from typing import Any, Final

import re2

from db.embedded.datum import Datum
from db.embedded.env import Env
from db.embedded.errors import QueryLogicError
from db.embedded.registry import term
from db.embedded.values import as_int, as_string

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False


@lru_cache(maxsize=500)
def _pattern(text: str) -> Any:
    try:
        return re2.compile(text.encode(), _OPTIONS)
    except re2.error as error:
        told = error.args[0]
        reason = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
    portion = reason.partition(": ")[2]
    raise QueryLogicError(f"Error in regexp `{text}` (portion `{portion}`): {reason}")


@term("MATCH", 97, "string string")
def match(env: Env, text: str, pattern: str) -> Datum:
    found = _pattern(pattern).search(text.encode())
    if found is None:
        return None
    groups = [_group(found, i) for i in range(1, len(found.groups()) + 1)]
    return {**_group(found, 0), "groups": groups}


def _group(found: Any, i: int) -> Any:
    start, end = found.span(i)
    if start < 0:
        return None
    return {"start": start, "end": end, "str": found.group(i).decode(errors="replace")}


# --- split --------------------------------------------------------------------------------

# Unicode's White_Space, which is not quite what Python's \s is.
_WORD: Final = re.compile(
    "[^\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
)


@term("SPLIT", 149, "string datum? datum?")
def split(env: Env, text: str, separator: Datum = None, most: Datum = -1) -> Datum:
    delimiter = None if separator is None else as_string(env, separator)
    limit = _split_limit(env, most)
    if delimiter is None:
        parts = _split_on_space(env, text, limit)
    elif delimiter == "":
        parts = _split_characters(env, text, limit)
    else:
        parts = text.split(delimiter, limit)
    return env.check_array(parts)


def _split_limit(env: Env, most: Datum) -> int:
    limit = as_int(env, most)
    if -1 <= limit <= env.array_limit - 1:
        return limit
    raise QueryLogicError(
        f"Error: `split` size argument must be in range [-1, {env.array_limit - 1}]."
    )


def _split_on_space(env: Env, text: str, limit: int) -> list[str]:
    """Words; after `limit` of them the rest, without the space before it."""
    parts: list[str] = []
    for word in env.ticking(_WORD.finditer(text)):
        if len(parts) == limit:
            return [*parts, text[word.start() :]]
        parts.append(word.group())
        if len(parts) > env.array_limit:
            break
    return parts


def _split_characters(env: Env, text: str, limit: int) -> list[str]:
    """Single characters, each with the marks that combine with it."""
    parts: list[str] = []
    for position, character in enumerate(env.ticking(text)):
        if parts and unicodedata.category(character).startswith("M"):
            parts[-1] += character
            continue
        if len(parts) == limit:
            return [*parts, text[position:]]
        parts.append(character)
        if len(parts) > env.array_limit:
            break
    return parts


_UPPER: Final = {ord(small): small.upper() for small in string.ascii_lowercase}
_LOWER: Final = {ord(large): large.lower() for large in string.ascii_uppercase}


@term("UPCASE", 141, "string")
def upcase(env: Env, text: str) -> str:
    """Only ASCII letters have case here."""
    return text.translate(_UPPER)


@term("DOWNCASE", 142, "string")
def downcase(env: Env, text: str) -> str:
    return text.translate(_LOWER)
