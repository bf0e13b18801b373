"""JSON text as RethinkDB parses it: r.json and the words for what is wrong with a text.

Python's parser does the work. Where it refuses, a second, plain parser walks the text again only to
find which of RapidJSON's complaints applies, since those are what people see.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from db.embedded.datum import Datum, pretty, revive
from db.embedded.errors import QueryLogicError

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SPACE: Final = " \t\n\r"
_DEEPEST: Final = 500


def parse_json(text: str) -> Datum:
    """The datum a JSON text stands for."""
    if "\x00" in text:
        raise QueryLogicError("Encountered unescaped null byte in JSON string.")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _complaint(text, _find_fault(text)) from None
    if "\\u" in text and not _is_unicode(value):
        raise _complaint(text, "The surrogate pair in string is invalid.")
    return revive(value)


def _is_unicode(value: Any) -> bool:
    """Whether every string can be written as UTF-8; half a surrogate pair cannot."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise QueryLogicError(f"Duplicate key {pretty(key)} in JSON.")
            seen.add(key)
    return made


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _complaint(text: str, reason: str) -> QueryLogicError:
    shown = text if len(text.encode()) <= 40 else text.encode()[:37].decode(errors="ignore") + "..."
    return QueryLogicError(f'Failed to parse "{shown}" as JSON: {reason}')


class _Fault(Exception):
    """Where parsing stops; its argument is the complaint."""


def _find_fault(text: str) -> str:
    try:
        walker = _Walker(text)
        walker.space()
        if walker.at == len(text):
            return "The document is empty."
        walker.value(0)
        walker.space()
        if walker.at < len(text):
            return "The document root must not be followed by other values."
    except _Fault as fault:
        return str(fault)
    return "Invalid value."


class _Walker:
    """Reads a JSON text for its faults only."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def next(self) -> str:
        return self.text[self.at : self.at + 1]

    def space(self) -> None:
        while self.next() and self.next() in _SPACE:
            self.at += 1

    def skip(self, character: str) -> bool:
        found = self.next() == character
        self.at += found
        return found

    def value(self, depth: int) -> None:
        if depth > _DEEPEST:
            raise _Fault("Terminate parsing due to Handler error.")
        character = self.next()
        if character == "{":
            self.object(depth)
        elif character == "[":
            self.array(depth)
        elif character == '"':
            self.string()
        elif character == "-" or character.isdigit():
            self.number()
        else:
            for word in ("true", "false", "null"):
                if self.text.startswith(word, self.at):
                    self.at += len(word)
                    return
            raise _Fault("Invalid value.")

    def object(self, depth: int) -> None:
        self.at += 1
        self.space()
        if self.skip("}"):
            return
        while True:
            if self.next() != '"':
                raise _Fault("Missing a name for object member.")
            self.string()
            self.space()
            if not self.skip(":"):
                raise _Fault("Missing a colon after a name of object member.")
            self.space()
            self.value(depth + 1)
            self.space()
            if self.skip("}"):
                return
            if not self.skip(","):
                raise _Fault("Missing a comma or '}' after an object member.")
            self.space()

    def array(self, depth: int) -> None:
        self.at += 1
        self.space()
        if self.skip("]"):
            return
        while True:
            self.value(depth + 1)
            self.space()
            if self.skip("]"):
                return
            if not self.skip(","):
                raise _Fault("Missing a comma or ']' after an array element.")
            self.space()

    def string(self) -> None:
        self.at += 1
        while True:
            character = self.next()
            if character == "":
                raise _Fault("Missing a closing quotation mark in string.")
            self.at += 1
            if character == '"':
                return
            if character < " ":
                raise _Fault("Invalid encoding in string.")
            if character == "\\":
                self.escape()

    def escape(self) -> None:
        character = self.next()
        self.at += 1
        if character == "u":
            if not re.match(r"[0-9A-Fa-f]{4}", self.text[self.at : self.at + 4]):
                raise _Fault("Incorrect hex digit after \\u escape in string.")
            self.at += 4
        elif character not in '"\\/bfnrt' or not character:
            raise _Fault("Invalid escape character in string.")

    def number(self) -> None:
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            raise _Fault("Invalid value.")
        self.at = found.end()
        if self.next() == ".":
            raise _Fault("Miss fraction part in number.")
        if self.next() in ("e", "E"):
            raise _Fault("Miss exponent in number.")
