"""Terms that turn one sequence into another: map, filter, concat_map, order_by, slice …"""

from __future__ import annotations

from typing import Any

from db.embedded.datum import Datum
from db.embedded.env import Env
from db.embedded.registry import term
from db.embedded.sequences import Function, Sequence, Step
from db.embedded.values import datum_function


@term("MAP", 38, "sequence function", forbids_writes=True)
def map_rows(env: Env, rows: list[Datum] | Sequence, function: Function) -> Any:
    call = datum_function(env, function)
    if isinstance(rows, list):
        return env.collect(map(call, rows))
    return rows.with_step(Step("map", call))
