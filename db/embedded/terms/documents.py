"""Terms on objects: fields, pluck, without, merge, has_fields …"""

from __future__ import annotations

from typing import Any

from db.embedded.datum import Datum
from db.embedded.env import Env
from db.embedded.registry import term
from db.embedded.sequences import Sequence, Step
from db.embedded.values import field_of


@term("GET_FIELD", 31, "any string")
def get_field(env: Env, value: Any, name: str) -> Any:
    if type(value) is list or isinstance(value, Sequence):
        return _map_fields(env, value, name)
    return field_of(env, value, name)


def _map_fields(env: Env, value: list[Datum] | Sequence, name: str) -> Any:
    """On a sequence: that field of every row that has it."""
    if isinstance(value, list):
        return [row[name] for row in value if name in row]
    has = Step("filter", lambda row: name in row)
    take = Step("map", lambda row: row[name])
    return value.with_step(has).with_step(take)
