"""Terms that tell the type of a value or make one type of another: info, coerce_to, json …"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from db.embedded.datum import (
    DATUM_TYPES,
    MAXVAL,
    MINVAL,
    Bound,
    Datum,
    json_text,
    number,
    pretty,
    revive_object,
    type_name,
)
from db.embedded.env import Env
from db.embedded.errors import NonExistenceError, QueryLogicError
from db.embedded.groups import Grouped
from db.embedded.rapidjson import parse_json
from db.embedded.registry import term
from db.embedded.sequences import (
    ArraySelection,
    DatabaseValue,
    Function,
    Selection,
    Sequence,
    SingleSelection,
)
from db.embedded.terms.documents import duplicate_key
from db.embedded.values import as_array, as_string, finite_rows_of

# --- type_of and info ---------------------------------------------------------------------


def name_of_type(value: Any) -> str:
    """What `type_of` answers for any value."""
    if type(value) in DATUM_TYPES:
        return type_name(value)
    if type(value) is Grouped:
        return "GROUPED_STREAM" if value.is_stream else "GROUPED_DATA"
    if isinstance(value, Sequence):
        return value.kind
    return _VALUE_TYPES[type(value)]


_VALUE_TYPES: Final[dict[type, str]] = {
    SingleSelection: "SELECTION<OBJECT>",
    DatabaseValue: "DB",
    Function: "FUNCTION",
}


@term("TYPE_OF", 52, "any", per_group=False)
def type_of(env: Env, value: Any) -> str:
    return name_of_type(value)


@term("INFO", 79, "any", per_group=False)
def info(env: Env, value: Any) -> Datum:
    told: dict[str, Datum] = {"type": name_of_type(value)}
    if type(value) is Selection and value.kind == "TABLE_SLICE":
        told.update(_slice_info(value))
    elif type(value) is Selection and value.kind == "TABLE":
        told = _table_info(value.table)
    elif isinstance(value, (Selection, ArraySelection, SingleSelection)):
        told["table"] = _table_info(value.table)
    elif type(value) is DatabaseValue:
        told = _database_info(value.database)
    elif type(value) is Function:
        told["source_code"] = f"function of {value.arity or 0} arguments"
    elif type(value) is bytes:
        told.update(count=len(value), value=pretty(value))
    elif type(value) in DATUM_TYPES and value is not None and told["type"] not in _BOUNDS:
        told["value"] = pretty(value)
    return told


_BOUNDS: Final = ("MINVAL", "MAXVAL")


def _database_info(database: Any) -> dict[str, Datum]:
    return {"type": "DB", "name": database.name, "id": database.id}


def _table_info(table: Any) -> dict[str, Datum]:
    return {
        "type": "TABLE",
        "name": table.name,
        "id": table.id,
        "primary_key": table.primary_key,
        "db": _database_info(table.database),
        "indexes": sorted(table.indexes),
        "doc_count_estimates": [table.count()],
    }


_SORTINGS: Final = {None: "UNORDERED", "asc": "ASCENDING", "desc": "DESCENDING"}


def _slice_info(value: Selection) -> dict[str, Datum]:
    read = value.read
    told: dict[str, Datum] = {
        "table": _table_info(read.table),
        "index": read.index or (read.table.primary_key if not _is_plain(read) else None),
        "sorting": _SORTINGS[read.order],
    }
    bounds = read.bounds or (MINVAL, MAXVAL)
    for side, bound, is_open in (
        ("left", bounds[0], read.low_open),
        ("right", bounds[1], read.high_open),
    ):
        if bound is (MINVAL if side == "left" else MAXVAL):
            told[f"{side}_bound_type"] = "unbounded"
        elif type(bound) is Bound:
            told[f"{side}_bound_type"] = "unachievable"
        else:
            told[f"{side}_bound"] = bound
            told[f"{side}_bound_type"] = "open" if is_open else "closed"
    return told


def _is_plain(read: Any) -> bool:
    return read.is_whole_table and read.order is None


# --- coerce_to ----------------------------------------------------------------------------

_TYPES: Final = frozenset(
    {
        "DB", "TABLE", "TABLE_SLICE", "SELECTION<STREAM>", "SELECTION<ARRAY>", "STREAM",
        "SELECTION<OBJECT>", "DATUM", "FUNCTION", "GROUPED_DATA", "NULL", "BINARY", "BOOL",
        "NUMBER", "STRING", "ARRAY", "OBJECT", "MINVAL", "MAXVAL",
    }
)  # fmt: skip


@term("COERCE_TO", 51, "any string")
def coerce_to(env: Env, value: Any, wanted: str) -> Any:
    name = wanted.upper()
    if name not in _TYPES:
        raise QueryLogicError(f"Unknown Type: {wanted.upper()}")
    if _is_already(value, name):
        return value
    if type(value) is SingleSelection:
        value = value.row
    if _is_already(value, name):
        return value
    if name == "BOOL":
        return value is not None
    change = _BETWEEN_DATA.get((type(value), name))
    if change is not None:
        return change(env, value)
    if name == "STRING" and type(value) in DATUM_TYPES:
        return json_text(value)
    if type(value) is list or isinstance(value, Sequence):
        if name in ("ARRAY", "DATUM"):
            return env.collect(finite_rows_of(env, value))
        if name == "OBJECT":
            return _object_of_pairs(env, value)
    start = _coercion_name(value)
    kind = NonExistenceError if value is None else QueryLogicError
    raise kind(f"Cannot coerce {start} to {name}.")


def _is_already(value: Any, name: str) -> bool:
    if type(value) in DATUM_TYPES:
        return name in ("DATUM", "STREAM", _coercion_name(value))
    if type(value) is SingleSelection:
        return name in ("SELECTION<OBJECT>", "DATUM")
    if isinstance(value, Sequence):
        kinds = ("TABLE", "TABLE_SLICE", "SELECTION<STREAM>", "STREAM")
        return name in kinds[kinds.index(_coercion_name(value)) :]
    return name == name_of_type(value)


def _coercion_name(value: Any) -> str:
    if type(value) is bytes:
        return "BINARY"
    if isinstance(value, ArraySelection):
        return "SELECTION<STREAM>"
    name = name_of_type(value)
    return "OBJECT" if name.startswith("PTYPE<") else name


def _text_of_bytes(env: Env, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        shown = value[: min(error.start, 20)].decode(errors="replace")
        raise QueryLogicError(
            f"String `{shown}` (truncated) is not a UTF-8 string; {_utf8_fault(value, error)} at "
            f"position {error.start}."
        ) from None


def _utf8_fault(value: bytes, error: UnicodeDecodeError) -> str:
    first = value[error.start]
    if error.reason == "unexpected end of data":
        return "Expected continuation byte, saw end of string"
    if first < 0xC0 or first >= 0xF8:
        return "Invalid initial byte seen"
    if first > 0xF4:
        return "Non-Unicode character encoded (beyond U+10FFFF)"
    if first < 0xC2 or 0x80 <= value[error.start + 1] < 0xC0:
        return "Overlong encoding seen"
    return "Expected continuation byte, saw something else"


_DECIMAL: Final = re.compile(r"\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?)")
_NOT_FINITE: Final = re.compile(r"\s*[+-]?(inf|infinity|nan)", re.IGNORECASE)
_HEXADECIMAL: Final = re.compile(r"\s*[+-]?0[xX][0-9a-fA-F]+")


def _number_of_text(env: Env, text: str) -> Datum:
    if _DECIMAL.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return number(float(text))
    if _HEXADECIMAL.fullmatch(text):
        return number(int(text, 16))
    raise QueryLogicError(f"Could not coerce `{text}` to NUMBER.")


def _pairs_of_object(env: Env, value: dict[str, Datum]) -> Datum:
    return env.check_array([[key, value[key]] for key in sorted(value)])


_BETWEEN_DATA: Final[dict[tuple[type, str], Callable[[Env, Any], Datum]]] = {
    (bytes, "STRING"): _text_of_bytes,
    (str, "BINARY"): lambda env, text: text.encode(),
    (str, "NUMBER"): _number_of_text,
    (dict, "ARRAY"): _pairs_of_object,
}


def _object_of_pairs(env: Env, rows: list[Datum] | Sequence) -> Datum:
    made: dict[str, Datum] = {}
    for row in finite_rows_of(env, rows):
        pair = as_array(env, row)
        if len(pair) != 2:
            raise QueryLogicError(f"Expected array of size 2, but got size {len(pair)}.")
        key = as_string(env, pair[0])
        if key in made:
            raise duplicate_key(key, made[key], pair[1], "coerced object")
        made[key] = pair[1]
    return revive_object(made) if "$reql_type$" in made else made


# --- text and bytes -----------------------------------------------------------------------


@term("BINARY", 155, "datum")
def binary(env: Env, value: Datum) -> bytes:
    return value if type(value) is bytes else as_string(env, value).encode()


@term("JSON", 98, "string")
def json(env: Env, text: str) -> Datum:
    return parse_json(text)


@term("TO_JSON_STRING", 172, "datum")
def to_json_string(env: Env, value: Datum) -> str:
    return json_text(value)
