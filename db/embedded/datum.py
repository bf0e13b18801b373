"""Data as the query language sees it: types, their names, equality, total order, printing.

A datum is a plain Python value: None, bool, int/float, str, list, dict with str keys, `bytes`
(BINARY), `Time` (TIME), and the two bounds MINVAL and MAXVAL. Data are never changed in place:
documents in memory, literals of a query and results share structure.

Numbers are doubles in ReQL. Here an integral double up to 2**53 is always an `int` (so it
travels as one), anything else a finite `float`; `number()` makes them so, and every term that
computes numbers passes its result through it. `order_key()` encodes any datum to bytes whose
order is ReQL's order; indexes, sorting, grouping and `distinct` all use it.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import orjson

from db.embedded.errors import QueryLogicError, ResourceLimitError
from db.embedded.weight import MOST_WRITTEN, check_weight
from db.embedded.zones import clean_zone

Datum = Any

LARGEST_EXACT_INT: Final = 2**53


class Time:
    """An instant with the time zone it is shown in; compared by the instant alone."""

    __slots__ = ("epoch", "zone")

    def __init__(self, epoch: float, zone: str = "+00:00") -> None:
        self.epoch = epoch
        self.zone = zone

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Time) and other.epoch == self.epoch

    def __hash__(self) -> int:
        return hash(self.epoch)

    def __repr__(self) -> str:
        return f"Time({self.epoch!r}, {self.zone!r})"


class Bound:
    """r.minval or r.maxval: below or above every other datum."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


MINVAL: Final = Bound("MINVAL")
MAXVAL: Final = Bound("MAXVAL")

TYPE_NAMES: Final[dict[type, str]] = {
    list: "ARRAY",
    bool: "BOOL",
    type(None): "NULL",
    int: "NUMBER",
    float: "NUMBER",
    dict: "OBJECT",
    bytes: "PTYPE<BINARY>",
    Time: "PTYPE<TIME>",
    str: "STRING",
}
DATUM_TYPES: Final = frozenset(TYPE_NAMES) | {Bound}


def type_name(value: Datum) -> str:
    """The name `type_of` prints for a datum."""
    if type(value) is Bound:
        return str(value.name)
    return TYPE_NAMES[type(value)]


def number(value: float) -> int | float:
    """The one representation of a computed number; an infinite or undefined one is an error."""
    if type(value) is int:
        if -LARGEST_EXACT_INT <= value <= LARGEST_EXACT_INT:
            return value
        try:
            value = float(value)
        except OverflowError:
            value = math.inf if value > 0 else -math.inf
    if math.isfinite(value):
        if value.is_integer() and -LARGEST_EXACT_INT <= value <= LARGEST_EXACT_INT:
            return int(value)
        return value
    shown = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    raise QueryLogicError(f"Non-finite number: {shown}")


# --- equality and order -------------------------------------------------------------------


def equal(a: Datum, b: Datum) -> bool:
    """ReQL equality: as Python's, except that true is not 1."""
    if type(a) is list or type(a) is dict:
        if type(a) is not type(b):
            return False
        check_weight(a)
        check_weight(b)
    return bool(a == b) and _same_kinds(a, b)


def _same_kinds(a: Datum, b: Datum) -> bool:
    kind = type(a)
    if kind is str or a is b:
        return True
    if kind is dict:
        return all(_same_kinds(value, b[key]) for key, value in a.items())
    if kind is list:
        return all(map(_same_kinds, a, b))
    return (kind is bool) == (type(b) is bool)


_double = struct.Struct(">d").pack


def _encode_number(value: float) -> bytes:
    packed = _double(value + 0.0)  # + 0.0 turns -0.0 into 0.0
    if packed[0] & 0x80:
        return bytes(255 - byte for byte in packed)
    return bytes((packed[0] | 0x80,)) + packed[1:]


def _escape(text: bytes) -> bytes:
    return text.replace(b"\x00", b"\x00\xff") + b"\x00"


def _encode_nested(value: Datum) -> bytes:
    kind = type(value)
    if kind is str:
        return b"\x80" + _escape(value.encode("utf-8", "surrogatepass"))
    if kind is bytes:
        return b"\x60" + _escape(value)
    return _ENCODERS[kind](value)


def _encode_object(value: dict[str, Datum]) -> bytes:
    pairs = (
        b"\x01" + _escape(key.encode("utf-8", "surrogatepass")) + _encode_nested(value[key])
        for key in sorted(value)
    )
    return b"\x50" + b"".join(pairs) + b"\x00"


# Array, bool, null, number, object, binary, time, string: the alphabetical order of the type
# names, which is the order ReQL gives to data of different types.
_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    list: lambda value: b"\x10" + b"".join(map(_encode_nested, value)) + b"\x00",
    bool: lambda value: b"\x21" if value else b"\x20",
    type(None): lambda value: b"\x30",
    int: lambda value: b"\x40" + _encode_number(value),
    float: lambda value: b"\x40" + _encode_number(value),
    dict: _encode_object,
    bytes: lambda value: b"\x60" + value,
    Time: lambda value: b"\x70" + _encode_number(value.epoch),
    str: lambda value: b"\x80" + value.encode("utf-8", "surrogatepass"),
    Bound: lambda value: b"\x00" if value is MINVAL else b"\xfe",
}


def order_key(value: Datum) -> bytes:
    """Bytes that compare as the data do; equal bytes exactly for equal data."""
    kind = type(value)
    if kind is list or kind is dict:
        check_weight(value)
    return _ENCODERS[kind](value)


def compare(a: Datum, b: Datum) -> int:
    """-1, 0 or 1, over all types."""
    if type(a) is type(b) and type(a) in (str, int):
        return int(a > b) - int(a < b)
    left, right = order_key(a), order_key(b)
    return int(left > right) - int(left < right)


# --- the form on the wire and on disk -----------------------------------------------------


def _pseudo_type(value: Any) -> dict[str, Datum]:
    if type(value) is Time:
        return {
            "$reql_type$": "TIME",
            "epoch_time": number(value.epoch),
            "timezone": value.zone,
        }
    if type(value) is bytes:
        return {"$reql_type$": "BINARY", "data": base64.b64encode(value).decode()}
    if type(value) is Bound:
        raise QueryLogicError(f"Cannot convert `r.{value.name.lower()}` to JSON.")
    raise TypeError(f"not a datum: {type(value).__name__}")


def to_json(value: Datum) -> bytes:
    """Compact JSON with sorted keys, pseudo-types in their wire form."""
    check_weight(value, MOST_WRITTEN)
    try:
        return orjson.dumps(value, default=_pseudo_type, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as fault:
        if isinstance(fault.__cause__, QueryLogicError):
            raise fault.__cause__ from None
        raise


def from_json(text: bytes | str) -> Datum:
    """A datum from JSON that this server wrote or a client sent."""
    value = orjson.loads(text)
    return revive(value)


def revive(value: Datum) -> Datum:
    """The datum a parsed JSON value stands for: numbers normalised, pseudo-types made real."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int or kind is float:
        return number(value)
    if kind is list:
        return [revive(item) for item in value]
    made = {key: revive(item) for key, item in value.items()}
    return revive_object(made) if "$reql_type$" in made else made


def revive_object(value: dict[str, Datum]) -> Datum:
    """The pseudo-type an object with `$reql_type$` stands for."""
    name = value["$reql_type$"]
    if name == "TIME":
        return _revive_time(value)
    if name == "BINARY":
        return _revive_binary(value)
    if name == "GEOMETRY":
        raise QueryLogicError("GEOMETRY is not supported by the embedded database.")
    if type(name) is not str:
        raise QueryLogicError(
            f"Error: Field `$reql_type$` must be a string (got `{to_json(name).decode()}` of "
            f"type {type_name(name)})."
        )
    if name == "LITERAL":
        return value
    raise QueryLogicError(f"Unknown $reql_type$ `PTYPE<{name}>`.")


def _revive_time(value: dict[str, Datum]) -> Time:
    epoch, zone = value.get("epoch_time"), value.get("timezone")
    fault = _time_fault(value)
    if fault is None and type(zone) is str:
        try:
            return Time(round(float(epoch or 0), 3), clean_zone(zone))
        except QueryLogicError:
            fault = f"invalid timezone string `{pretty(zone)}`"
    raise QueryLogicError(f"Invalid time object constructed ({fault}):\n{shorten(pretty(value))}")


def _time_fault(value: dict[str, Datum]) -> str | None:
    for key in sorted(value):
        item = value[key]
        wanted = {"$reql_type$": (str,), "epoch_time": (int, float), "timezone": (str,)}.get(key)
        if wanted is None:
            return f"unrecognized field `{key}`"
        if type(item) not in wanted:
            kind = "number" if key == "epoch_time" else "string"
            return (
                f"field `{key}` must be a {kind} (got `{shorten(pretty(item))}` of type "
                f"{type_name(item)})"
            )
    missing = next((key for key in ("epoch_time", "timezone") if key not in value), None)
    return None if missing is None else f"no field `{missing}`"


def _revive_binary(value: dict[str, Datum]) -> bytes:
    for key in sorted(value):
        if key not in ("$reql_type$", "data"):
            raise QueryLogicError(f"Invalid binary pseudotype: illegal `{key}` key.")
    if "data" not in value:
        raise QueryLogicError("Invalid binary pseudotype: lacking `data` key.")
    text = value["data"]
    if type(text) is not str:
        raise QueryLogicError(f"Expected type STRING but found {type_name(text)}.")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return _decode_loosely(text)


_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def _decode_loosely(text: str) -> bytes:
    """Base64 with line breaks or without padding; anything else is told."""
    figures = "".join(text.split())
    body = figures.rstrip("=")
    if "=" in body:
        raise QueryLogicError("Invalid base64 format, data found after padding character '='.")
    for character in body:
        if character not in _BASE64:
            raise QueryLogicError(f"Invalid base64 character found: '{character}'.")
    if len(body) % 4 == 1:
        raise QueryLogicError(
            "Invalid base64 length: 1 character remaining, cannot decode a full byte."
        )
    return base64.b64decode(body + "=" * (-len(body) % 4))


# --- printing in messages -----------------------------------------------------------------


def number_text(value: float) -> str:
    """A number as RethinkDB writes it in text: the shortest form that reads back the same."""
    if type(value) is int:
        return str(value)
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    figures = "".join(map(str, digits)).rstrip("0") or "0"
    point = len(digits) + int(exponent)  # where the decimal point stands within the figures
    if 0 < point <= 21:
        whole = figures[:point].ljust(point, "0")
        text = f"{whole}.{figures[point:] or '0'}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + figures
    else:
        text = figures[0] + ("." + figures[1:] if len(figures) > 1 else "") + f"e{point - 1}"
    return "-" + text if sign else text


def json_text(value: Datum) -> str:
    """The text that to_json_string and coerce_to("string") make."""
    check_weight(value)
    return _json_text(value)


def _json_text(value: Datum) -> str:
    kind = type(value)
    if kind is float:
        return number_text(value)
    if kind is dict:
        return (
            "{" + ",".join(f"{_quote(key)}:{_json_text(value[key])}" for key in sorted(value)) + "}"
        )
    if kind is list:
        return "[" + ",".join(map(_json_text, value)) + "]"
    if kind in (Time, bytes, Bound):
        return _json_text(_pseudo_type(value))
    return _quote(value)


def _quote(value: Datum) -> str:
    return orjson.dumps(value).decode()


def pretty(value: Datum) -> str:
    """The indented JSON that error messages quote."""
    try:
        check_weight(value)
    except ResourceLimitError:
        return f"({type_name(value)} too large to be shown)"
    return _pretty(value, 0)


def _pretty(value: Datum, depth: int) -> str:
    if type(value) in (Time, bytes):
        value = _pseudo_type(value)
    inside = "\n" + "\t" * (depth + 1)
    if type(value) is dict and value:
        parts = (f"{_quote(key)}:\t{_pretty(value[key], depth + 1)}" for key in sorted(value))
        return "{" + inside + ("," + inside).join(parts) + inside[:-1] + "}"
    if type(value) is list and value:
        parts = (_pretty(item, depth + 1) for item in value)
        return "[" + inside + ("," + inside).join(parts) + inside[:-1] + "]"
    if type(value) is Bound:
        return str(value.name)
    return _json_text(value)


def shorten(text: str, limit: int = 300) -> str:
    """What is quoted of a value that may be huge."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
