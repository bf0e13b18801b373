"""Terms as text a person reads: what `jobs`, `index_status` and `get_write_hook` show of a query.

The text is the JavaScript driver's form, as RethinkDB shows it: `r.table("t").get(1)`, functions as
`function(_var1) { return …; }`. It is cut off where it gets long, so that showing a query costs
nothing to speak of however large it is.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from db.embedded.nodes import DATUM, FUNC, IMPLICIT_VAR, MAKE_ARRAY, MAKE_OBJ, VAR
from db.embedded.registry import TERMS

LONGEST: Final = 2000
_BRACKET, _FUNCALL = 170, 64
# Terms that are called on `r`, whatever their first argument is.
_OF_R: Final = frozenset(
    [
        "db",
        "table",
        "args",
        "asc",
        "desc",
        "binary",
        "epoch_time",
        "error",
        "http",
        "iso8601",
        "javascript",
        "json",
        "literal",
        "object",
        "random",
        "range",
        "time",
        "uuid",
    ]
)


class _Full(Exception):
    """The text is long enough."""


def show_term(raw: Any) -> str:
    """The text of a term as it arrived on the wire."""
    printer = _Printer()
    try:
        printer.term(raw)
    except _Full:
        return "".join(printer.parts) + "…"
    except (LookupError, TypeError, RecursionError):
        return "".join(printer.parts) + "?"
    return "".join(printer.parts)


class _Printer:
    """Writes a term piece by piece."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._left = LONGEST

    def put(self, text: str) -> None:
        if len(text) > self._left:
            self.parts.append(text[: self._left])
            raise _Full
        self._left -= len(text)
        self.parts.append(text)

    def term(self, raw: Any) -> None:
        if type(raw) is dict:
            self._object(raw)
        elif type(raw) is not list:
            self.put(orjson.dumps(raw[: LONGEST + 1] if type(raw) is str else raw).decode())
        elif raw[0] in _SPECIAL:
            _SPECIAL[raw[0]](self, raw)
        else:
            self._call(raw)

    def listed(self, items: Any) -> None:
        for number, item in enumerate(items):
            if number:
                self.put(", ")
            self.term(item)

    def _object(self, raw: dict[str, Any]) -> None:
        self.put("{")
        for number, (name, value) in enumerate(raw.items()):
            self.put(f"{', ' if number else ''}{orjson.dumps(name[:LONGEST]).decode()}: ")
            self.term(value)
        self.put("}")

    def _array(self, raw: list[Any]) -> None:
        self.put("[")
        self.listed(raw[1])
        self.put("]")

    def _function(self, raw: list[Any]) -> None:
        names, body = raw[1][0][1], raw[1][1]
        self.put(f"function({', '.join(f'_var{name}' for name in names)}) {{ return ")
        self.term(body)
        self.put("; }")

    def _call(self, raw: list[Any]) -> None:
        code, args = raw[0], raw[1] if len(raw) > 1 else []
        name = TERMS[code].name.lower()
        if args and (name not in _OF_R or (name == "table" and len(args) == 2)):
            self._receiver(args[0])
            args = args[1:]
        else:
            self.put("r")
        if code != _BRACKET:
            first, *others = name.split("_")
            self.put("." + first + "".join(map(str.title, others)))
        self.put("(")
        self.listed([*args, *raw[2:]])
        self.put(")")

    def _receiver(self, raw: Any) -> None:
        """What a method is called on; a plain value needs `r.expr` around it."""
        is_plain = type(raw) is not list or raw[0] == MAKE_ARRAY
        self.put("r.expr(" if is_plain else "")
        self.term(raw)
        self.put(")" if is_plain else "")

    def _do(self, raw: list[Any]) -> None:
        function, *values = raw[1]
        self.put("r.do(")
        self.listed([*values, function])
        self.put(")")


_SPECIAL: Final[dict[Any, Any]] = {
    DATUM: lambda printer, raw: printer.term(raw[1]),
    MAKE_ARRAY: _Printer._array,
    MAKE_OBJ: lambda printer, raw: printer.term(raw[2] if len(raw) > 2 else {}),
    FUNC: _Printer._function,
    VAR: lambda printer, raw: printer.put(f"_var{raw[1][0]}"),
    IMPLICIT_VAR: lambda printer, raw: printer.put("r.row"),
    _FUNCALL: _Printer._do,
}
