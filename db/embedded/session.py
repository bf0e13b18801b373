"""The queries of one connection: started, continued, stopped, answered.

Each query runs in a greenlet of its own. A result that is a sequence becomes a cursor that keeps
its iterator between batches; a changefeed's cursor keeps its greenlet, parked until there is
something to tell. The connection hands over frames and sends what `send` is given.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson
from greenlet import getcurrent, greenlet

from db.embedded.compiler import Node, compile_query
from db.embedded.datum import DATUM_TYPES, Datum, to_json
from db.embedded.env import Env
from db.embedded.errors import (
    ClientError,
    CompileError,
    InternalError,
    OpFailedError,
    QueryInterrupted,
    QueryLogicError,
    ReqlError,
    ResourceLimitError,
    ResponseType,
)
from db.embedded.sequences import (
    ArraySelection,
    Grouped,
    Sequence,
    SingleSelection,
    value_kind,
)
from db.embedded.values import feed_below
from db.embedded.wire import QueryType, answer, failure

if TYPE_CHECKING:
    from db.embedded.server import Server

log = logging.getLogger("db.embedded.session")

MOST_QUERIES: Final = 1024
BATCH_BYTES: Final = 1024 * 1024
BATCH_S: Final = 0.3
CHUNK_ROWS: Final = 128
GLOBAL_OPTIONS: Final = frozenset(
    {
        "db",
        "noreply",
        "profile",
        "durability",
        "read_mode",
        "use_outdated",
        "array_limit",
        "max_batch_rows",
        "min_batch_rows",
        "max_batch_bytes",
        "max_batch_seconds",
        "first_batch_scaledown_factor",
        "time_format",
        "group_format",
        "binary_format",
        "geometry",
        "changefeed_queue_size",
        "user",
        "identifier_format",
        "optarg_limit",
    }
)


class Query:
    """One running query: who asked, its greenlet, and its cursor once it has one."""

    __slots__ = (
        "cursor",
        "env",
        "ident",
        "noreply",
        "sleeper",
        "started_at",
        "stopped",
        "term",
        "token",
    )

    def __init__(self, token: int, noreply: bool, term: Any) -> None:
        self.token = token
        self.ident = str(uuid.uuid4())
        self.noreply = noreply
        self.term = term
        self.started_at = time.time()
        self.env: Env | None = None
        self.cursor: Cursor | None = None
        self.sleeper: greenlet | None = None
        self.stopped = False


class Cursor:
    """The rest of a sequence that a client reads in batches."""

    __slots__ = ("is_feed", "iterator", "most_rows", "notes", "parked", "pending", "wanted")

    def __init__(
        self, iterator: Iterator[Datum], most_rows: int | None, feed_notes: list[int] | None
    ) -> None:
        self.iterator = iterator
        self.most_rows = most_rows
        self.is_feed = feed_notes is not None
        self.notes = feed_notes or []  # told with the first batch
        self.wanted = False  # a feed's client waits for the next batch
        self.parked = False  # a feed's greenlet waits for changes
        self.pending: list[Datum] = []


class Session:
    """All queries of one connection."""

    def __init__(self, server: Server, user: str, send: Callable[[bytes], None]) -> None:
        self.server = server
        self.loop = server.loop
        self.user = user
        self.send = send
        self.queries: dict[int, Query] = {}
        self._waiting: list[tuple[int, set[int]]] = []

    # --- frames ---------------------------------------------------------------------------

    def take_frame(self, token: int, text: bytes) -> None:
        try:
            message = orjson.loads(text)
            kind = message[0]
            handle = self._HANDLERS[kind]
        except (orjson.JSONDecodeError, IndexError, KeyError, TypeError):
            self._fail(token, ClientError("Client is buggy (failed to deserialize query).", ()))
            return
        handle(self, token, message)

    def _start(self, token: int, message: list[Any]) -> None:
        if token in self.queries:
            self._fail(token, ClientError(f"ERROR: duplicate token {token}", ()))
            return
        if len(message) < 2 or (len(message) > 2 and type(message[2]) is not dict):
            self._fail(token, ClientError("Client is buggy (failed to deserialize query).", ()))
            return
        options = message[2] if len(message) > 2 else {}
        query = Query(token, options.get("noreply") is True, message[1])
        self.queries[token] = query
        self.server.queries_total += 1
        self.loop.spawn(lambda: self._run(query, message[1], options))

    def _continue(self, token: int, message: list[Any]) -> None:
        query = self.queries.get(token)
        if query is None or query.cursor is None:
            self._fail(token, ClientError(f"Token {token} not in stream cache.", ()))
            return
        cursor = query.cursor
        if cursor.is_feed:
            cursor.wanted = True
            if cursor.parked and cursor.pending:
                self._deliver(query, cursor)
            elif query.sleeper is not None and not cursor.parked:
                self.loop.wake(query.sleeper)
            return
        self.loop.spawn(lambda: self._resume(query, cursor))

    def _stop(self, token: int, message: list[Any]) -> None:
        query = self.queries.get(token)
        if query is None:
            self.send(answer(token, ResponseType.SUCCESS_SEQUENCE, b""))
            return
        self._end(query)
        self.send(answer(token, ResponseType.SUCCESS_SEQUENCE, b""))

    def _noreply_wait(self, token: int, message: list[Any]) -> None:
        earlier = {query.token for query in self.queries.values() if query.cursor is None}
        if earlier:
            self._waiting.append((token, earlier))
        else:
            self.send(answer(token, ResponseType.WAIT_COMPLETE, b""))

    def _server_info(self, token: int, message: list[Any]) -> None:
        info = {
            "id": self.server.identity["id"],
            "name": self.server.identity["name"],
            "proxy": False,
        }
        self.send(answer(token, ResponseType.SERVER_INFO, orjson.dumps(info)))

    _HANDLERS: Final = {
        QueryType.START: _start,
        QueryType.CONTINUE: _continue,
        QueryType.STOP: _stop,
        QueryType.NOREPLY_WAIT: _noreply_wait,
        QueryType.SERVER_INFO: _server_info,
    }

    # --- evaluation -----------------------------------------------------------------------

    def _run(self, query: Query, term: Any, options: dict[str, Any]) -> None:
        with self._answering_errors(query):
            runopts = evaluate_options(options)
            node = compile_query(term)
            query.env = env = Env(self.server, runopts, self.user)
            self._answer(query, env, node)

    @contextmanager
    def _answering_errors(self, query: Query) -> Iterator[None]:
        """Around everything a query's greenlet does: whatever ends it is answered."""
        query.sleeper = getcurrent()
        try:
            yield
        except ReqlError as error:
            self._finish(query, failure(query.token, error))
        except RecursionError:
            deep = ResourceLimitError("The query is nested too deeply to be evaluated.", ())
            self._finish(query, failure(query.token, deep))
        except QueryInterrupted:
            self._forget(query)
        except Exception as fault:  # top of a query: a fault of ours, told as such
            log.exception("query failed")
            broken = InternalError(f"Internal error: {type(fault).__name__}: {fault}", ())
            self._finish(query, failure(query.token, broken))

    def _answer(self, query: Query, env: Env, node: Node) -> None:
        value = node.run([env])
        if isinstance(value, Sequence) and not isinstance(value, ArraySelection):
            self._open_cursor(query, env, value)
            return
        body = atom_json(env, value)
        extra = b',"p":[]' if env.runopts.get("profile") is True else b""
        self._finish(query, answer(query.token, ResponseType.SUCCESS_ATOM, body, extra))

    def _finish(self, query: Query, response: bytes) -> None:
        if query.stopped:
            return
        if not query.noreply:
            self.send(response)
        self._forget(query)

    def _forget(self, query: Query) -> None:
        query.sleeper = None
        self.queries.pop(query.token, None)
        if self._waiting:
            self._settle_waits(query.token)

    def _settle_waits(self, token: int) -> None:
        still: list[tuple[int, set[int]]] = []
        for waiter, earlier in self._waiting:
            earlier.discard(token)
            if earlier:
                still.append((waiter, earlier))
            else:
                self.send(answer(waiter, ResponseType.WAIT_COMPLETE, b""))
        self._waiting = still

    # --- cursors --------------------------------------------------------------------------

    def _open_cursor(self, query: Query, env: Env, rows: Sequence) -> None:
        limit = env.runopts.get("max_batch_rows")
        most_rows = limit if type(limit) is int and limit > 0 else None
        feed = feed_below(rows)
        cursor = Cursor(rows.rows(env), most_rows, feed.notes() if feed else None)
        if query.noreply:
            for _ in cursor.iterator:
                pass
            self._forget(query)
            return
        if feed is None:
            self._next_batch(query, cursor)
            return
        query.cursor = cursor
        self._follow(query, env, cursor)

    def _resume(self, query: Query, cursor: Cursor) -> None:
        with self._answering_errors(query):
            self._next_batch(query, cursor)

    def _next_batch(self, query: Query, cursor: Cursor) -> None:
        query.cursor = None
        body, ended = self._draw(cursor)
        if query.stopped:
            return
        if ended:
            extra = b',"p":[]' if query.env and query.env.runopts.get("profile") is True else b""
            self._finish(query, answer(query.token, ResponseType.SUCCESS_SEQUENCE, body, extra))
            return
        query.cursor = cursor
        query.sleeper = None
        self.send(answer(query.token, ResponseType.SUCCESS_PARTIAL, body))

    def _draw(self, cursor: Cursor) -> tuple[bytes, bool]:
        """The next batch as JSON rows, and whether the sequence has ended."""
        parts: list[bytes] = []
        size, count = 0, 0
        until = time.perf_counter() + BATCH_S
        iterator = cursor.iterator
        while True:
            room = CHUNK_ROWS
            if cursor.most_rows is not None:
                room = min(room, cursor.most_rows - count)
            chunk: list[Datum] = []
            for row in iterator:
                chunk.append(row)
                if len(chunk) >= room:
                    break
            if chunk:
                part = encode(chunk)[1:-1]
                parts.append(part)
                size += len(part)
                count += len(chunk)
            if len(chunk) < room:
                return b",".join(parts), True
            if size > BATCH_BYTES or count == cursor.most_rows or time.perf_counter() > until:
                return b",".join(parts), False

    # --- changefeeds ----------------------------------------------------------------------

    def _follow(self, query: Query, env: Env, cursor: Cursor) -> None:
        """Run a feed's iterator for ever; it parks in its source, which calls `idle` first."""
        cursor.wanted = True
        env.idle = lambda: self._idle(query, cursor)
        most = cursor.most_rows or 500
        for row in cursor.iterator:
            cursor.pending.append(row)
            if len(cursor.pending) >= most:
                while not cursor.wanted:
                    self.loop.park()
                    if query.stopped:
                        raise QueryInterrupted
                self._deliver(query, cursor)
        if query.stopped:
            return
        rows = encode(cursor.pending)[1:-1]
        while not cursor.wanted:
            self.loop.park()
        self._finish(query, answer(query.token, ResponseType.SUCCESS_SEQUENCE, rows))

    def _idle(self, query: Query, cursor: Cursor) -> Any:
        """Nothing more to tell now: deliver what there is, then wait to be woken."""
        if cursor.wanted and (cursor.pending or cursor.notes):
            self._deliver(query, cursor)
        cursor.parked = True
        value = self.loop.park()
        cursor.parked = False
        if query.stopped:
            raise QueryInterrupted
        return value

    def _deliver(self, query: Query, cursor: Cursor) -> None:
        rows = encode(cursor.pending)[1:-1]
        extra = b""
        if cursor.notes:
            extra = b',"n":' + orjson.dumps(cursor.notes)
            cursor.notes = []
        cursor.pending = []
        cursor.wanted = False
        self.send(answer(query.token, ResponseType.SUCCESS_PARTIAL, rows, extra))

    # --- the end --------------------------------------------------------------------------

    def _fail(self, token: int, error: ReqlError) -> None:
        self.send(failure(token, error))

    def _end(self, query: Query) -> None:
        """Unwind a query wherever it is; its greenlet, if parked, ends at once."""
        query.stopped = True
        sleeper = query.sleeper
        cursor = query.cursor
        self._forget(query)
        if query.env is not None:
            query.env.stopped = True
        if sleeper is not None and cursor is not None and cursor.is_feed:
            self.loop.wake(sleeper)
        elif cursor is not None:
            close = getattr(cursor.iterator, "close", None)
            if close is not None and sleeper is None:
                close()

    def interrupt(self, ident: str) -> None:
        """End a query because its row in the system table `jobs` was deleted."""
        for query in list(self.queries.values()):
            if query.ident == ident:
                self._fail(query.token, OpFailedError("Query terminated by the `jobs` table.", ()))
                self._end(query)

    def close(self) -> None:
        """The connection is gone: stop everything that ran on it."""
        self.send = _drop
        for query in list(self.queries.values()):
            self._end(query)


def _drop(data: bytes) -> None:
    """Answers to a client that is gone."""


def evaluate_options(options: dict[str, Any]) -> dict[str, Any]:
    """The global options as plain values (`db` stays a compiled term)."""
    values: dict[str, Any] = {}
    for name, raw in options.items():
        if name not in GLOBAL_OPTIONS:
            raise CompileError(f"Unrecognized global optional argument `{name}`.", ())
        node = compile_query(raw)
        values[name] = node if name == "db" else node.run([Env()])
    limit = values.get("array_limit")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise QueryLogicError(f"Illegal array size limit `{limit}`.", ())
    return values


def atom_json(env: Env, value: Any) -> bytes:
    """The one datum a query yields, as JSON."""
    if type(value) is SingleSelection:
        value = value.row
    elif isinstance(value, ArraySelection):
        value = env.collect(value.rows(env))
    elif type(value) is Grouped:
        return grouped_json(env, value)
    elif type(value) not in DATUM_TYPES:
        raise QueryLogicError(
            "Query result must be of type DATUM, GROUPED_DATA, or STREAM (got "
            f"{value_kind(value)}).",
            (),
        )
    return encode(value)


def grouped_json(env: Env, grouped: Grouped) -> bytes:
    data: list[Datum] = []
    for group, value in grouped.items():
        if isinstance(value, Sequence):
            value = env.collect(value.rows(env))
        elif type(value) is SingleSelection:
            value = value.row
        data.append([group, value])
    return b'{"$reql_type$":"GROUPED_DATA","data":' + encode(data) + b"}"


def encode(value: Datum) -> bytes:
    """JSON of a result; what has no JSON form is the query's error."""
    try:
        return to_json(value)
    except TypeError as error:
        if isinstance(error.__cause__, ReqlError):
            raise error.__cause__ from None
        raise
