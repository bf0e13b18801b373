"""Terms that read tables: db, table, get, get_all, between."""

from __future__ import annotations

from typing import Any, Final

from db.embedded.datum import MAXVAL, MINVAL, Datum
from db.embedded.env import Env
from db.embedded.errors import NonExistenceError, QueryLogicError
from db.embedded.keys import index_key_from_value, key_from_value
from db.embedded.names import check_name, find_database, find_table, is_name
from db.embedded.nodes import Call, Closure, Frame
from db.embedded.permissions import check_read
from db.embedded.registry import special, term
from db.embedded.sequences import DatabaseValue, Selection, SingleSelection
from db.embedded.values import as_database, as_string, is_open

# Options of `table` that may be said once for the whole query.
_BY_QUERY: Final = frozenset({"read_mode", "identifier_format"})
READ_MODES: Final = frozenset({"majority", "single", "outdated"})


@term("DB", 14, "string", deterministic=False)
def db(env: Env, name: str) -> DatabaseValue:
    return DatabaseValue(find_database(env.server, check_name("Database", name)))


def default_database(env: Env) -> DatabaseValue:
    """The database of the connection (`r.connect(db=…)`), `test` if it named none."""
    node = env.runopts.get("db")
    if node is None:
        return DatabaseValue(env.catalog.find_database("test"))
    return as_database(env, node.run([env]))


@special(
    "TABLE",
    15,
    1,
    2,
    options={"read_mode": "string", "use_outdated": "bool", "identifier_format": "string"},
    deterministic=False,
)
def table(call: Call) -> Closure:
    database_of = call.runs[0] if len(call.args) == 2 else None
    name_of = call.runs[-1]
    options = {name: node.run for name, node in call.options.items()}

    constant = call.args[-1].constant
    known_name = constant if type(constant) is str and is_name(constant) else None

    def run(frame: Frame) -> Selection:
        env = frame[0]
        database = (
            default_database(env) if database_of is None else as_database(env, database_of(frame))
        )
        name = known_name or check_name("Table", as_string(env, name_of(frame)))
        runopts = env.runopts
        if options or "read_mode" in runopts or "identifier_format" in runopts:
            form = read_options(env, frame)
        else:
            form = "name"
        found = find_table(env.server, database.database, name, form)
        check_read(env, found)
        whole: Selection = found.whole
        return whole

    def read_options(env: Env, frame: Frame) -> str:
        """Check the options; the identifier format they ask for."""
        if "use_outdated" in options:
            raise QueryLogicError(
                "The `use_outdated` optarg is no longer supported.  Use the `read_mode` optarg "
                "instead."
            )
        settings = {name: value for name, value in env.runopts.items() if name in _BY_QUERY}
        settings |= {name: evaluate(frame) for name, evaluate in options.items()}
        settings = {name: as_string(env, value) for name, value in settings.items()}
        if "read_mode" in settings:
            check_read_mode(settings["read_mode"])
        return check_identifier_format(settings.get("identifier_format", "name"))

    return run


def check_read_mode(mode: str) -> None:
    if mode not in READ_MODES:
        raise QueryLogicError(
            f'Read mode `{mode}` unrecognized (options are "majority", "single", and "outdated").'
        )


def check_identifier_format(form: str) -> str:
    if form not in ("name", "uuid"):
        raise QueryLogicError(
            f'Identifier format `{form}` unrecognized (options are "name" and "uuid").'
        )
    return form


@term("GET", 16, "table datum", deterministic=False)
def get(env: Env, selection: Selection, value: Datum) -> SingleSelection:
    found = selection.read.table
    return SingleSelection(found, found.get(key_from_value(value)), value)


def index_option(selection: Selection, name: str | None) -> str | None:
    """The name of a secondary index of the table, None for the primary key."""
    found = selection.read.table
    if name is None or name == found.primary_key:
        return None
    found.index(name)
    return name


@term("GET_ALL", 78, "table datum*", options={"index": "string"}, deterministic=False)
def get_all(env: Env, selection: Selection, *values: Datum, index: str | None = None) -> Selection:
    name = index_option(selection, index)
    for value in values:
        if value is None:
            raise NonExistenceError("Keys cannot be NULL.")
    make_key = key_from_value if name is None else index_key_from_value
    keys = tuple(map(make_key, values))
    return selection.narrowed(index=name, keys=keys)


_BETWEEN_OPTIONS: Final = {"index": "string", "left_bound": "string", "right_bound": "string"}


@term("BETWEEN", 182, "slice datum datum", options=_BETWEEN_OPTIONS, deterministic=False)
def between(
    env: Env,
    selection: Selection,
    low: Datum,
    high: Datum,
    index: str | None = None,
    left_bound: str = "closed",
    right_bound: str = "open",
) -> Selection:
    low_open, high_open = is_open("left_bound", left_bound), is_open("right_bound", right_bound)
    if low is None or high is None:
        raise QueryLogicError(
            "Cannot use `null` in BETWEEN, use `r.minval` or `r.maxval` to denote unboundedness."
        )
    return _bounded(selection, low, high, index, low_open, high_open)


def _bounded(
    selection: Selection,
    low: Datum,
    high: Datum,
    index: str | None,
    low_open: bool,
    high_open: bool,
) -> Selection:
    read = selection.read
    order_index = read.index if read.order is not None else None
    if index is None and order_index is not None:
        name: str | None = order_index
    else:
        name = index_option(selection, index)
    if not read.is_whole_table:
        raise QueryLogicError("Cannot perform multiple BETWEENs on the same table.")
    if read.order is not None and name != read.index:
        shown = read.index or read.table.primary_key
        raise QueryLogicError(
            f"Cannot call BETWEEN on index `{name or read.table.primary_key}` after ordering on "
            f"index `{shown}`."
        )
    make_key = key_from_value if name is None else index_key_from_value
    return selection.narrowed(
        index=name,
        low=make_key(low, is_bound=True),
        high=make_key(high, is_bound=True),
        low_open=low_open,
        high_open=high_open,
        bounds=(low, high),
    )


@term("BETWEEN_DEPRECATED", 36, "slice datum datum", options=_BETWEEN_OPTIONS, deterministic=False)
def between_deprecated(
    env: Env,
    selection: Selection,
    low: Datum,
    high: Datum,
    index: str | None = None,
    left_bound: str = "closed",
    right_bound: str = "open",
) -> Selection:
    """The old form: null stands for unbounded."""
    return _bounded(
        selection,
        MINVAL if low is None else low,
        MAXVAL if high is None else high,
        index,
        is_open("left_bound", left_bound),
        is_open("right_bound", right_bound),
    )


@term("MINVAL", 180)
def minval(env: Env) -> Any:
    return MINVAL


@term("MAXVAL", 181)
def maxval(env: Env) -> Any:
    return MAXVAL
