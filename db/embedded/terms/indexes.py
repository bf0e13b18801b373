"""Terms on secondary indexes: create, drop, list, rename, status, wait.

An index function is kept as the term it arrived as, with the variables around it replaced by
their values, so it means the same after a restart.
"""

from __future__ import annotations

from typing import Any

from db.embedded.compiler import Call, Closure, Frame
from db.embedded.datum import Datum
from db.embedded.env import Env
from db.embedded.errors import OpFailedError, QueryLogicError
from db.embedded.freezing import freeze_function
from db.embedded.registry import special, term
from db.embedded.sequences import Selection
from db.embedded.values import as_bool, as_string, as_table


def field_function(name: str) -> list[Any]:
    """The term `lambda row: row[name]`."""
    return [69, [[2, [1]], [170, [[10, [1]], name]]]]


@special("INDEX_CREATE", 75, 2, 3, options={"multi": "bool", "geo": "bool"}, writes=True)
def index_create(call: Call) -> Closure:
    table_of, name_of = call.runs[:2]
    options_of = {name: node.run for name, node in call.options.items()}

    def run(frame: Frame) -> Datum:
        env = frame[0]
        table = as_table(env, table_of(frame)).table
        name = as_string(env, name_of(frame))
        multi = "multi" in options_of and as_bool(env, options_of["multi"](frame))
        if "geo" in options_of and as_bool(env, options_of["geo"](frame)):
            raise QueryLogicError("Geo indexes are not supported by the embedded database.")
        if name == table.primary_key:
            raise OpFailedError(f"Index name conflict: `{name}` is the name of the primary key.")
        if name in table.indexes:
            raise index_exists(table, name)
        function: Any = field_function(name)
        if len(call.raw) > 2:
            if not call.args[2].deterministic:
                raise QueryLogicError(
                    "Could not prove function deterministic.  Index functions must be "
                    "deterministic."
                )
            function = freeze_function(call.raw[2], call.scope, frame)
        indexes = {**table.config["indexes"], name: {"function": function, "multi": multi}}
        env.catalog.configure_table(table, indexes=indexes)
        env.wait_for_commit()
        return {"created": 1}

    return run


@term("INDEX_LIST", 77, "table", writes=True)
def index_list(env: Env, selection: Selection) -> Datum:
    return sorted(selection.table.indexes)


@term("INDEX_DROP", 76, "table string", writes=True)
def index_drop(env: Env, selection: Selection, name: str) -> Datum:
    table = selection.table
    table.index(name)
    env.catalog.configure_table(
        table, indexes={key: value for key, value in table.config["indexes"].items() if key != name}
    )
    env.wait_for_commit()
    return {"dropped": 1}


@term("INDEX_WAIT", 140, "table string*")
def index_wait(env: Env, selection: Selection, *names: str) -> Datum:
    table = selection.table
    return [
        {
            "index": name,
            "ready": True,
            "multi": table.index(name).multi,
            "geo": False,
            "outdated": False,
        }
        for name in names or sorted(table.indexes)
    ]


@term("INDEX_STATUS", 139, "table string*")
def index_status(env: Env, selection: Selection, *names: str) -> Datum:
    return index_wait(env, selection, *names)


def index_exists(table: Any, name: str) -> OpFailedError:
    return OpFailedError(
        f"Index `{name}` already exists on table `{table.database.name}.{table.name}`."
    )
