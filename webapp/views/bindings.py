"""One markup for both ends: elements that say where their content comes from.

A template writes `{{ b.text("spec.vcpus") }}` and gets an element filled from the payload that also
carries the path (`data-text="spec.vcpus"`). When the payload changes, static/js/bind.js fills the
same elements again by the same few rules, so a card is never described twice, and a new card is a
blank copy filled the same way. tests/webapp/pages compares the two ends in a real browser.

Paths are keys joined by dots; `a|b` takes the first that is not empty; `.length` counts a list.
Attributes take a path or a pattern with {paths}.
Conditions: `path`, `!path`, `path = word word…` (is one of), `path has word` (a list holds it).
Pure: payload in, markup out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from webapp.views.words import WORDS

Payload = Mapping[str, Any]
_HOLE = re.compile(r"\{([^}]+)\}")


def read_path(payload: Payload, path: str) -> Any:
    """The value at a path; None where any part is missing."""
    for choice in path.split("|"):
        value: Any = payload
        for key in choice.strip().split("."):
            if isinstance(value, Mapping):
                value = value.get(key)
            elif isinstance(value, list) and key == "length":
                value = len(value)
            else:
                value = None
        if not is_empty(value):
            return value
    return None


def is_empty(value: Any) -> bool:
    return value is None or value is False or value == "" or value == []


def holds(payload: Payload, condition: str) -> bool:
    """Whether a condition of the grammar above is true of the payload."""
    if condition.startswith("!"):
        return not holds(payload, condition[1:])
    path, equals, words = condition.partition(" = ")
    if equals:
        return as_text(read_path(payload, path)) in words.split()
    path, has, word = condition.partition(" has ")
    if has:
        value = read_path(payload, path)
        return isinstance(value, list) and word in value
    return not is_empty(read_path(payload, condition))


def as_text(value: Any) -> str:
    """As a browser would write it: true, 2 (not 2.0), nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def fill_rule(payload: Payload, name: str, rule: str) -> str | None:
    """The attribute's value by a path or a pattern with {paths}; None where one of them is empty.
    In addresses the values are percent-encoded.
    """
    if "{" not in rule:
        value = read_path(payload, rule)
        return None if is_empty(value) else as_text(value)
    texts = [as_text(read_path(payload, path)) for path in _HOLE.findall(rule)]
    if not all(texts):
        return None
    if name in ("href", "src"):
        texts = [quote(text, safe="!'()*~") for text in texts]
    rest = iter(texts)
    return _HOLE.sub(lambda _: next(rest), rule)


def _gib_of_mib(value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    gib = round(value / 1024, 1)
    return f"{value:g} MiB" if value < 1024 else f"{as_text(gib)} GiB"


def _bytes(value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    at = 0
    while value >= 1024 and at < len(units) - 1:
        value, at = value / 1024, at + 1
    return f"{as_text(round(value, 1))} {units[at]}"


def _rate(value: Any) -> str:
    text = _bytes(value)
    return f"{text}/s" if text else ""


def _duration(value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    minutes = round(value / 60)
    if value < 60:
        return f"{round(value)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _milliseconds(value: Any) -> str:
    return f"{round(value)} ms" if isinstance(value, int | float) else ""


def _counted(what: str, count: Any) -> str:
    if not isinstance(count, int | float) or isinstance(count, bool):
        return ""
    text = WORDS["one" if count == 1 else "some"][what]
    return text.replace("{count}", as_text(count))


FORMATS: dict[str, Callable[[Any], str]] = {
    "text": as_text,
    "memory": _gib_of_mib,
    "bytes": _bytes,
    "rate": _rate,
    "duration": _duration,
    "ms": _milliseconds,
    "sentences": lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
    "words": lambda value: ", ".join(map(str, value)) if isinstance(value, list) else "",
}


class Bindings:
    """The elements of one payload. A blank payload gives the blank card that scripts copy."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload

    def text(self, path: str, tag: str = "span", fmt: str = "text", **attributes: str) -> Markup:
        value = FORMATS[fmt](read_path(self.payload, path))
        if fmt != "text":
            attributes["data-format"] = fmt
        return _element(tag, {"data-text": path, **attributes}, value)

    def word(self, table: str, path: str, tag: str = "span", **attributes: str) -> Markup:
        """The text that table `table` of words.py has for the value; nothing where it has none."""
        key = as_text(read_path(self.payload, path))
        text = WORDS[table].get(key, "")
        return _element(tag, {"data-word": f"{table} {path}", **attributes}, text)

    def counted(self, what: str, path: str, tag: str = "span", **attributes: str) -> Markup:
        """A number with what is counted, by the tables `one` and `some` of words.py."""
        text = _counted(what, read_path(self.payload, path))
        return _element(tag, {"data-counted": f"{what} {path}", **attributes}, text)

    def time(self, path: str) -> Markup:
        """A moment. UTC until the script turns it into the reader's own time."""
        value = as_text(read_path(self.payload, path))
        text = f"{value[:10]} {value[11:16]} UTC" if value else ""
        return _element("time", {"data-time": path, "datetime": value}, text)

    def show(self, condition: str) -> Markup:
        """Attributes of an element that is there only while the condition holds."""
        hidden = "" if holds(self.payload, condition) else " hidden"
        return _safe(_attribute("data-show", condition) + hidden)

    def set(self, **rules: str) -> Markup:
        """Attributes taken from the payload: set(data_state="condition", href="/desktops/{id}").
        What is empty is absent.
        """
        named = {name.rstrip("_").replace("_", "-"): rule for name, rule in rules.items()}
        listed = "; ".join(f"{name} {rule}" for name, rule in named.items())
        parts = [_attribute("data-set", listed)]
        for name, rule in named.items():
            value = fill_rule(self.payload, name, rule)
            if value is not None:
                parts.append(_attribute(name, value))
        return _safe(" ".join(parts))


def _element(tag: str, attributes: Mapping[str, str], text: str) -> Markup:
    parts = [
        _attribute(name.rstrip("_").replace("_", "-"), attributes[name]) for name in attributes
    ]
    return _safe(f"<{tag} {' '.join(parts)}>{escape(text)}</{tag}>")


def _attribute(name: str, value: str) -> str:
    return f'{name}="{escape(value)}"'


def _safe(markup: str) -> Markup:
    """Tags and attribute names come from our templates; every value was escaped above."""
    return Markup(markup)  # noqa: S704
