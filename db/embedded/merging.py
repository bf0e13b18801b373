"""How objects are merged (merge, update, insert with conflict="update") and what r.literal does.

An object is merged into an object field by field; anything else replaces what was there. A
literal, `{"$reql_type$": "LITERAL", "value": …}`, replaces where a merge would go on, and with no
value removes the field. Used by the document terms and the write terms.
"""

from __future__ import annotations

from db.embedded.datum import Datum
from db.embedded.weight import check_weight


def is_literal(value: Datum) -> bool:
    return type(value) is dict and value.get("$reql_type$") == "LITERAL"


def merge_datum(old: Datum, new: Datum) -> Datum:
    """The old value with the new one merged into it."""
    if type(new) is not dict:
        return new
    check_weight(new)
    return _merge(old, new)


def _merge(old: Datum, new: dict[str, Datum]) -> Datum:
    if "$reql_type$" in new and is_literal(new):
        return strip_literals(new.get("value"))
    if type(old) is not dict:
        return strip_literals(new)
    made = dict(old)
    for key, value in new.items():
        if type(value) is not dict:
            made[key] = value
        elif is_literal(value):
            if "value" in value:
                made[key] = value["value"]
            else:
                made.pop(key, None)
        else:
            made[key] = _merge(made.get(key), value)
    return made


def strip_literals(value: Datum) -> Datum:
    """The value with literals inside it replaced by what they stand for."""
    if type(value) is not dict:
        return value
    if not any(type(item) is dict for item in value.values()):
        return value
    made = {}
    for key, item in value.items():
        if is_literal(item):
            if "value" in item:
                made[key] = item["value"]
        else:
            made[key] = strip_literals(item)
    return made
