"""Terms that change documents: insert, update, replace, delete, sync, for_each.

All of them come down to `write_rows`: for each row a function gives the new document, `_write_one`
checks it against the old one and puts it in the table, and the counts add up to the answer.
Documents change in memory at once; a query that has written hard is answered once all it wrote is
on disk, however many writes it is made of.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from db.embedded.datum import Datum, equal, number, pretty, type_name
from db.embedded.env import Env
from db.embedded.errors import Backtrace, QueryLogicError, ReqlError
from db.embedded.groups import Grouped
from db.embedded.keys import key_from_value
from db.embedded.merging import merge_datum
from db.embedded.nodes import FUNC, Call, Closure, Frame
from db.embedded.outcomes import Hook, Outcome, parse_return_changes
from db.embedded.permissions import check_config, check_write
from db.embedded.registry import special, term
from db.embedded.sequences import Function, Selection, SingleSelection
from db.embedded.table import Table
from db.embedded.values import (
    as_array,
    as_bool,
    as_constant_function,
    as_datum,
    as_object,
    as_selection,
    as_sequence,
    as_string,
    expect_arity,
    finite_rows_of,
    wrong_type,
)
from db.embedded.weight import check_weight

_CHUNK: Final = 256

LONGEST_STORED_ARRAY: Final = 100_000

Change = Callable[[Datum], Datum]


def is_hard(env: Env, table: Table, options: dict[str, Any]) -> bool:
    if "durability" not in options and "durability" not in env.runopts:
        return bool(table.config.get("durability", "hard") == "hard")
    wanted = options.get("durability", env.runopts.get("durability"))
    return check_durability(as_string(env, wanted)) == "hard"


def check_durability(wanted: str) -> str:
    if wanted not in ("hard", "soft"):
        raise QueryLogicError(
            f'Durability option `{wanted}` unrecognized (options are "hard" and "soft").'
        )
    return wanted


def _write_one(
    table: Table, key: bytes | None, change: Change, hard: bool, outcome: Outcome, env: Env
) -> None:
    """Replace the document under the key by what `change` makes of it."""
    old = table.get(key) if key is not None else None
    try:
        new = change(old)
        if new is not None:
            new = _checked(table, key, old, new)
            if env.array_limit > LONGEST_STORED_ARRAY:
                check_weight(new)
                _check_arrays(new)
        if outcome.hook is not None and not (old is None and new is None):
            new = _hooked(env, table, outcome.hook, old, new)
        if old is None and new is None:
            outcome.note("skipped", None, None)
            return
        if old is not None and new is not None and equal(old, new):
            outcome.note("unchanged", old, new)
            return
        if key is None:
            key = key_from_value(new[table.primary_key])
        table.put(key, new, hard)
        env.resident = 0  # what a table holds is not the query's
    except ReqlError as error:
        outcome.note("errors", old, old, error.message)
        return
    what = "inserted" if old is None else "deleted" if new is None else "replaced"
    outcome.note(what, old, new)


def _check_arrays(value: Datum) -> None:
    """What may be computed with a raised array limit may still be too long to be stored."""
    if type(value) is dict:
        for item in value.values():
            _check_arrays(item)
    elif type(value) is list:
        if len(value) > LONGEST_STORED_ARRAY:
            raise QueryLogicError("Array too large for disk writes (limit 100,000 elements).")
        for item in value:
            _check_arrays(item)


def _checked(table: Table, key: bytes | None, old: Datum, new: Datum) -> Datum:
    if type(new) is not dict:
        raise QueryLogicError(
            "Inserted value must be an OBJECT (got " + type_name(new) + "):\n" + pretty(new)
        )
    field = table.primary_key
    if field not in new:
        raise QueryLogicError(f"Inserted object must have primary key `{field}`:\n{pretty(new)}")
    if key is not None and key_from_value(new[field]) != key:
        raise QueryLogicError(
            f"Primary key `{field}` cannot be changed (`{pretty(old)}` -> `{pretty(new)}`)."
        )
    return new


def _hooked(env: Env, table: Table, hook: Hook, old: Datum, new: Datum) -> Datum:
    context = {"primary_key": (new or old)[table.primary_key], "timestamp": env.now}
    made = as_datum(env, hook(context, old, new))
    if new is None and made is not None:
        raise QueryLogicError(
            "A write hook function must return `null` when a document is deleted."
        )
    if new is not None and made is None:
        raise QueryLogicError(
            "A write hook function must not return `null` when a document is written."
        )
    if made is not None:
        key = key_from_value((new or old)[table.primary_key])
        made = _checked(table, key, old, made)
    return made


_WRITE_OPTIONS: Final = {
    "durability": "string",
    "return_changes": "datum",
    "ignore_write_hook": "bool",
    "return_vals": "datum",
}
_CHANGE_OPTIONS: Final = {**_WRITE_OPTIONS, "non_atomic": "bool"}


def _prepare(env: Env, table: Table, options: dict[str, Any]) -> Outcome:
    if "return_vals" in options:
        raise QueryLogicError(
            "Error: encountered obsolete optarg `return_vals`.  Use `return_changes` instead."
        )
    hook = table.write_hook
    if as_bool(env, options.get("ignore_write_hook", False)):
        check_config(env, table)
        hook = None
    return Outcome(parse_return_changes(options.get("return_changes", False)), hook)


def write_rows(env: Env, target: Any, change: Change, options: dict[str, Any]) -> dict[str, Datum]:
    """Apply one change to every row of a selection."""
    table = target.table
    outcome = _prepare(env, table, options)
    check_write(env, table)
    hard = is_hard(env, table, options)
    if hard:
        env.begin_hard_write()
    if type(target) is SingleSelection:
        key = (
            key_from_value(target.key)
            if target.row is None
            else key_from_value(target.row[table.primary_key])
        )
        _write_one(table, key, change, hard, outcome, env)
    else:
        field = table.primary_key
        for row in list(finite_rows_of(env, target)):
            env.tick()
            _write_one(table, key_from_value(row[field]), change, hard, outcome, env)
    return outcome.as_datum(env)


def _change_function(env: Env, function: Function) -> Change:
    expect_arity(function, 1)
    unary = function.unary
    return lambda old: as_datum(env, unary(old))


def _selection_term(call: Call, change_of: Callable[[Frame], Change]) -> Closure:
    """update and replace: the change, then the rows it applies to."""
    target_of = call.runs[0]
    options_of = {name: node.run for name, node in call.options.items()}
    deterministic = call.args[1].deterministic

    def run(frame: Frame) -> Any:
        env = frame[0]
        options = {name: as_datum(env, evaluate(frame)) for name, evaluate in options_of.items()}
        if not deterministic and options.get("non_atomic") in (None, False):
            raise QueryLogicError(
                "Could not prove argument deterministic.  Maybe you want to use the non_atomic "
                "flag?"
            )
        change = change_of(frame)
        target = target_of(frame)
        if type(target) is Grouped:
            return target.apply(
                lambda rows: write_rows(env, as_selection(env, rows), change, options)
            )
        return write_rows(env, as_selection(env, target), change, options)

    return run


@special(
    "UPDATE", 53, 2, 2, options=_CHANGE_OPTIONS, writes=True, forbids_writes=True, literals=True
)
def update(call: Call) -> Closure:
    """What is not a function is evaluated for each row, so its errors are counted per row."""
    patch_from, is_function = call.runs[1], call.args[1].code == FUNC

    def change_of(frame: Frame) -> Change:
        env = frame[0]
        if is_function:
            patch_of = _change_function(env, patch_from(frame))
        else:

            def patch_of(old: Datum) -> Datum:
                patch = patch_from(frame)
                return as_datum(env, patch.unary(old) if type(patch) is Function else patch)

        def change(old: Datum) -> Datum:
            if old is None:
                return None
            patch = patch_of(old)
            if patch is None:
                return old
            if type(patch) is not dict:
                raise QueryLogicError(
                    f"Inserted value must be an OBJECT (got {type_name(patch)}):\n{pretty(patch)}"
                )
            return merge_datum(old, patch)

        return change

    return _selection_term(call, change_of)


@special("REPLACE", 55, 2, 2, options=_CHANGE_OPTIONS, writes=True, forbids_writes=True)
def replace(call: Call) -> Closure:
    function_from = call.runs[1]

    def change_of(frame: Frame) -> Change:
        env = frame[0]
        return _change_function(env, as_constant_function(env, function_from(frame)))

    return _selection_term(call, change_of)


@term("DELETE", 54, "selection", options=_WRITE_OPTIONS, writes=True)
def delete(env: Env, target: Any, **options: Any) -> dict[str, Datum]:
    return write_rows(env, target, lambda old: None, options)


_INSERT_OPTIONS: Final = {**_WRITE_OPTIONS, "conflict": "any", "upsert": "datum"}


@term("INSERT", 56, "table any", options=_INSERT_OPTIONS, writes=True, forbids_writes=True)
def insert(env: Env, target: Selection, documents: Any, **options: Any) -> dict[str, Datum]:
    table = target.table
    if "upsert" in options:
        raise QueryLogicError(
            "Error: encountered obsolete optarg `upsert`.  Use `conflict` instead."
        )
    outcome = _prepare(env, table, options)
    resolve = _conflict(env, table, options.get("conflict", "error"))
    hard = is_hard(env, table, options)
    check_write(env, table)
    if hard:
        env.begin_hard_write()
    rows = iter(_documents(env, documents))
    while chunk := list(islice(rows, _CHUNK)):
        _insert_chunk(env, table, chunk, resolve, hard, outcome)
    return outcome.as_datum(env)


def _documents(env: Env, value: Any) -> Iterable[Datum]:
    if type(value) is SingleSelection:
        value = value.row
    if type(value) is dict:
        return [value]
    return finite_rows_of(env, as_sequence(env, value))


def _insert_chunk(
    env: Env, table: Table, chunk: list[Datum], resolve: Any, hard: bool, outcome: Outcome
) -> None:
    """Insert some documents; those that have no usable key are found before any is written."""
    prepared: list[tuple[bytes | None, Datum]] = []
    field = table.primary_key
    for document in chunk:
        try:
            if type(document) is not dict:
                raise wrong_type("OBJECT", document)
            if field not in document:
                generated = str(uuid.uuid4())
                document = {**document, field: generated}
                outcome.generated_keys.append(generated)
            prepared.append((key_from_value(document[field]), document))
        except ReqlError as error:
            prepared.append((None, error.message))
            outcome.first_error = outcome.first_error or error.message
    for key, document in prepared:
        env.tick()
        if key is None:
            outcome.note("errors", None, None, document)
        else:
            _write_one(table, key, _insertion(field, document, resolve), hard, outcome, env)


def _insertion(field: str, document: Datum, resolve: Any) -> Change:
    def change(old: Datum) -> Datum:
        return document if old is None else resolve(document[field], old, document)

    return change


def _conflict(env: Env, table: Table, option: Any) -> Callable[[Datum, Datum, Datum], Datum]:
    if type(option) is Function:
        if not option.deterministic:
            raise QueryLogicError("The conflict function passed to `insert` must be deterministic.")
        if option.arity is not None and option.arity != 3:
            raise QueryLogicError(
                "The conflict function passed to `insert` should expect 3 arguments."
            )
        return lambda key, old, new: as_datum(env, option.call(key, old, new))
    option = as_string(env, option)
    if option == "error":
        field = table.primary_key

        def refuse(key: Datum, old: Datum, new: Datum) -> Datum:
            raise QueryLogicError(f"Duplicate primary key `{field}`:\n{pretty(old)}\n{pretty(new)}")

        return refuse
    if option == "replace":
        return lambda key, old, new: new
    if option == "update":
        return lambda key, old, new: merge_datum(old, new)
    raise QueryLogicError(
        f'Conflict option `{option}` unrecognized (options are "error", "replace" and "update").'
    )


@term("SYNC", 138, "table", writes=True)
def sync(env: Env, target: Selection) -> dict[str, Datum]:
    check_write(env, target.table)
    env.wait_for_commit()
    return {"synced": 1}


_NOT_WRITES: Final = "FOR_EACH expects one or more basic write queries."


@special("FOR_EACH", 68, 2, 2, writes=True)
def for_each(call: Call) -> Closure:
    rows_from, write_from = call.runs
    path = call.args[1].path

    def run(frame: Frame) -> dict[str, Datum]:
        env = frame[0]
        stats: dict[str, Datum] = {}
        rows = as_sequence(env, rows_from(frame))
        function = as_constant_function(env, write_from(frame))
        for row in finite_rows_of(env, rows):
            env.tick()
            _add_result(env, stats, function.call(row), path)
        return stats

    return run


def _add_result(env: Env, stats: dict[str, Datum], value: Any, path: Backtrace) -> None:
    try:
        result = as_datum(env, value)
    except ReqlError:
        raise QueryLogicError(_NOT_WRITES, path) from None
    try:
        for one in [result] if type(result) is dict else as_array(env, result):
            add_stats(env, stats, as_object(env, one))
    except ReqlError as error:
        raise QueryLogicError(f"{_NOT_WRITES}  {error.message}", path) from None


def add_stats(env: Env, stats: dict[str, Datum], one: dict[str, Datum]) -> None:
    """Add the answer of one write to the sum of others."""
    for name, value in one.items():
        known = stats.get(name)
        if known is None:
            stats[name] = value
        elif isinstance(value, list) and isinstance(known, list):
            if name == "warnings":
                stats[name] = known + [text for text in value if text not in known]
            else:
                stats[name] = (known + value)[: env.array_limit]
        elif type(value) in (int, float) and type(known) in (int, float):
            stats[name] = number(known + value)
