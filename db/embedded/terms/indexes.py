"""Terms on secondary indexes and write hooks: create, drop, list, rename, status, wait, set, get.

Their functions are kept as the terms they arrived as, with the variables around them replaced by
their values, so they mean the same after a restart. `index_status` and `get_write_hook` hand them
out as an opaque binary that `index_create` and `set_write_hook` take back.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from db.embedded.datum import Datum
from db.embedded.env import Env
from db.embedded.errors import OpFailedError, QueryLogicError
from db.embedded.freezing import freeze_function, mentions
from db.embedded.names import refuse_system
from db.embedded.nodes import Call, Closure, Frame
from db.embedded.permissions import check_config
from db.embedded.printing import show_term
from db.embedded.registry import special, term
from db.embedded.sequences import Function, Selection
from db.embedded.system_tables import hook_text
from db.embedded.table import Table, index_missing
from db.embedded.values import as_bool, as_function, as_string, as_table

_INDEX_BLOB: Final = b"$reql_index_function$"
_HOOK_BLOB: Final = b"$reql_write_hook_function$"


_NOW: Final = 103  # the same for all of a query, but not for ever: no index may go by it


def field_function(name: str) -> list[Any]:
    """The term `lambda row: row[name]`."""
    return [69, [[2, [1]], [170, [[10, [1]], name]]]]


def _opaque(prefix: bytes, settings: dict[str, Any]) -> bytes:
    return prefix + orjson.dumps(settings)


def _from_opaque(prefix: bytes, blob: bytes) -> dict[str, Any] | None:
    if not blob.startswith(prefix):
        return None
    try:
        settings: dict[str, Any] = orjson.loads(blob[len(prefix) :])
    except orjson.JSONDecodeError:
        return None
    return settings


# --- secondary indexes --------------------------------------------------------------------


@special("INDEX_CREATE", 75, 2, 3, options={"multi": "bool", "geo": "bool"}, writes=True)
def index_create(call: Call) -> Closure:
    table_of, name_of = call.runs[:2]
    options_of = {name: node.run for name, node in call.options.items()}

    def run(frame: Frame) -> Datum:
        env = frame[0]
        table = as_table(env, table_of(frame)).table
        name = as_string(env, name_of(frame))
        _check_not_primary(table, name)
        settings = {"function": field_function(name), "multi": False}
        if len(call.runs) > 2:
            settings = _index_settings(call, frame)
        if "multi" in options_of:
            settings["multi"] = as_bool(env, options_of["multi"](frame))
        if "geo" in options_of and as_bool(env, options_of["geo"](frame)):
            raise QueryLogicError("Geo indexes are not supported by the embedded database.")
        check_config(env, table)
        refuse_system(table.database, "you can't create secondary indexes on the tables in it")
        if name in table.indexes:
            raise OpFailedError(f"Index `{name}` already exists on table `{table.full_name}`.")
        with table.build_index(name, settings, env.tick_for_tables):
            _check_still_there(env, table)
            _configure(env, table, {**table.config["indexes"], name: settings})
        return {"created": 1}

    return run


def _index_settings(call: Call, frame: Frame) -> dict[str, Any]:
    value = call.runs[2](frame)
    if type(value) is bytes:
        settings = _from_opaque(_INDEX_BLOB, value)
        if settings is None:
            raise QueryLogicError(
                "Cannot create a secondary index except from a reql_index_function returned "
                "from `index_status`."
            )
        return settings
    as_function(frame[0], value)
    if not call.args[2].deterministic or mentions(call.raw[2], _NOW):
        raise QueryLogicError(
            "Could not prove function deterministic.  Index functions must be deterministic."
        )
    return {"function": freeze_function(call.raw[2], call.scope, frame), "multi": False}


def _check_still_there(env: Env, table: Table) -> None:
    """Others went on while the index was made."""
    if env.catalog.tables_by_id.get(table.id) is not table:
        raise OpFailedError(f"Table `{table.full_name}` does not exist.")


def _check_not_primary(table: Table, name: str) -> None:
    if name == table.primary_key:
        raise QueryLogicError(f"Index name conflict: `{name}` is the name of the primary key.")


def _configure(env: Env, table: Table, indexes: dict[str, Any]) -> None:
    env.catalog.configure_table(table, indexes=indexes)
    env.wait_for_commit()


@term("INDEX_LIST", 77, "table", writes=True, deterministic=False)
def index_list(env: Env, selection: Selection) -> Datum:
    return sorted(selection.table.indexes)


@term("INDEX_DROP", 76, "table string", writes=True, deterministic=False)
def index_drop(env: Env, selection: Selection, name: str) -> Datum:
    table = selection.table
    check_config(env, table)
    if name not in table.indexes:
        raise OpFailedError(f"Index `{name}` does not exist on table `{table.full_name}`.")
    indexes = table.config["indexes"]
    _configure(env, table, {key: indexes[key] for key in indexes if key != name})
    return {"dropped": 1}


@term(
    "INDEX_RENAME",
    156,
    "table string string",
    options={"overwrite": "bool"},
    writes=True,
    deterministic=False,
)
def index_rename(
    env: Env, selection: Selection, old: str, new: str, overwrite: bool = False
) -> Datum:
    table = selection.table
    _check_not_primary(table, old)
    _check_not_primary(table, new)
    check_config(env, table)
    indexes = table.config["indexes"]
    if old not in indexes or (new in indexes and new != old and not overwrite):
        raise OpFailedError(
            f"Index `{old}` does not exist or index `{new}` already exists on table "
            f"`{table.full_name}`."
        )
    if old == new:
        return {"renamed": 0}
    renamed = {key: value for key, value in indexes.items() if key not in (old, new)}
    _configure(env, table, {**renamed, new: indexes[old]})
    return {"renamed": 1}


def _describe(table: Table, name: str) -> dict[str, Datum]:
    if name not in table.indexes:
        raise index_missing(table, name)
    settings = table.config["indexes"][name]
    extra = ", {multi: true}" if settings["multi"] else ""
    return {
        "function": _opaque(_INDEX_BLOB, settings),
        "geo": False,
        "index": name,
        "multi": settings["multi"],
        "outdated": False,
        "query": f"indexCreate('{name}', {show_term(settings['function'])}{extra})",
        "ready": True,
    }


@term("INDEX_STATUS", 139, "table string*", deterministic=False)
def index_status(env: Env, selection: Selection, *names: str) -> Datum:
    table = selection.table
    return [_describe(table, name) for name in names or sorted(table.indexes)]


@term("INDEX_WAIT", 140, "table string*", deterministic=False)
def index_wait(env: Env, selection: Selection, *names: str) -> Datum:
    """Indexes are complete when `index_create` answers, so there is nothing to wait for."""
    table = selection.table
    return [_describe(table, name) for name in names or sorted(table.indexes)]


# --- write hooks --------------------------------------------------------------------------


@special("SET_WRITE_HOOK", 189, 2, 2, writes=True, deterministic=False)
def set_write_hook(call: Call) -> Closure:
    table_of, hook_of = call.runs

    def run(frame: Frame) -> Datum:
        env = frame[0]
        table = as_table(env, table_of(frame)).table
        value = hook_of(frame)
        existed = table.write_hook is not None
        settings = None if value is None else _hook_settings(call, frame, value)
        check_config(env, table)
        env.catalog.configure_table(table, write_hook=settings)
        env.wait_for_commit()
        if settings is None:
            return {"deleted": 1}
        return {"replaced" if existed else "created": 1}

    return run


def _hook_settings(call: Call, frame: Frame, value: Any) -> dict[str, Any]:
    if type(value) is bytes:
        settings = _from_opaque(_HOOK_BLOB, value)
        if settings is None:
            raise QueryLogicError(
                "Cannot create a write hook except from a reql_write_hook_function returned "
                "from `get_write_hook`."
            )
        return settings
    function: Function = as_function(frame[0], value)
    if not call.args[1].deterministic:
        raise QueryLogicError(
            "Could not prove function deterministic.  Write hook functions must be deterministic."
        )
    if function.arity != 3:
        raise QueryLogicError("Write hook functions must expect 3 arguments.")
    return {"function": freeze_function(call.raw[1], call.scope, frame)}


@term("GET_WRITE_HOOK", 190, "table", deterministic=False)
def get_write_hook(env: Env, selection: Selection) -> Datum:
    hook = selection.table.config.get("write_hook")
    if hook is None:
        return None
    return {
        "function": _opaque(_HOOK_BLOB, hook),
        "query": hook_text(hook),
    }
