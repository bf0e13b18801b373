"""The queries of one connection: started, continued, stopped, answered.

Each query runs in a greenlet of its own; what ends it, a result or any error, is answered. A
result that is a sequence becomes a cursor (`cursors.py`). The connection hands over frames and
sends what `send` is given.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import orjson
from greenlet import getcurrent, greenlet

from db.embedded.compiler import compile_query
from db.embedded.cursors import Cursor, FeedCursor
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
from db.embedded.results import atom_json, documents_json, rows_json
from db.embedded.sequences import ArraySelection, Selection, Sequence
from db.embedded.templates import prepare
from db.embedded.values import as_int, feed_below
from db.embedded.wire import QueryType, answer, failure

if TYPE_CHECKING:
    from db.embedded.server import Server

log = logging.getLogger("db.embedded.session")

MOST_QUERIES: Final = 1024
PLAIN: Final = frozenset({str, int, bool, type(None)})
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
        "_ident",
        "cursor",
        "env",
        "noreply",
        "sleeper",
        "started_at",
        "stopped",
        "term",
        "token",
    )

    def __init__(self, token: int, noreply: bool, term: Any) -> None:
        self.token = token
        self._ident: str | None = None
        self.noreply = noreply
        self.term = term
        self.started_at = time.time()
        self.env: Env | None = None
        self.cursor: Cursor | None = None
        self.sleeper: greenlet | None = None
        self.stopped = False

    @property
    def ident(self) -> str:
        """The id under which the system table `jobs` shows it."""
        if self._ident is None:
            self._ident = str(uuid.uuid4())
        return self._ident


class Session:
    """All queries of one connection."""

    def __init__(
        self,
        server: Server,
        user: str,
        send: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self.server = server
        self.loop = server.loop
        self.user = user
        self.send = send
        self._on_end = on_end  # told when a query has ended
        self.queries: dict[int, Query] = {}
        self._waiting: list[tuple[int, set[int]]] = []

    @property
    def is_full(self) -> bool:
        """Whether so many queries are being evaluated that no more should be read."""
        if len(self.queries) <= MOST_QUERIES:
            return False
        return sum(query.cursor is None for query in self.queries.values()) > MOST_QUERIES

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
        self.loop.spawn(lambda: self._guard(query, lambda: self._run(query, options)))

    def _continue(self, token: int, message: list[Any]) -> None:
        query = self.queries.get(token)
        if query is None or query.cursor is None:
            self._fail(token, ClientError(f"Token {token} not in stream cache.", ()))
            return
        cursor = query.cursor
        if isinstance(cursor, FeedCursor):
            if cursor.ask() and query.sleeper is not None:
                self.loop.wake(query.sleeper)
            return
        self.loop.spawn(lambda: self._guard(query, lambda: self._next_batch(query, cursor)))

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

    def _guard(self, query: Query, work: Callable[[], None]) -> None:
        """Around everything a query's greenlet does: whatever ends it is answered."""
        query.sleeper = getcurrent()
        try:
            work()
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

    def _run(self, query: Query, options: dict[str, Any]) -> None:
        runopts = evaluate_options(options) if options else {}
        node, params = prepare(query.term)
        query.env = env = Env(self.server, runopts, self.user, params)
        try:
            value = node.run([env])
        finally:
            env.keep_promise()
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
        self._on_end()

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
        iterator = rows.rows(env)
        if query.noreply:
            for _ in iterator:
                pass
            self._forget(query)
            return
        feed = feed_below(rows)
        if feed is None:
            whole = isinstance(rows, Selection)
            encode = documents_json(self.server.store.encoded) if whole else rows_json
            self._next_batch(query, Cursor(iterator, most_rows, encode))
            return
        cursor = FeedCursor(
            self.loop, query.token, iterator, most_rows, feed.notes(), self._sender(query)
        )
        query.cursor = cursor
        env.idle = cursor.idle
        last = cursor.run()
        self._finish(query, answer(query.token, ResponseType.SUCCESS_SEQUENCE, last))

    def _sender(self, query: Query) -> Callable[[bytes], None]:
        """What a feed sends with: nothing once its query or its client is gone."""
        return lambda data: None if query.stopped else self.send(data)

    def _next_batch(self, query: Query, cursor: Cursor) -> None:
        query.cursor = None
        body, ended = cursor.draw()
        if query.stopped:
            return
        if ended:
            extra = b',"p":[]' if query.env and query.env.runopts.get("profile") is True else b""
            self._finish(query, answer(query.token, ResponseType.SUCCESS_SEQUENCE, body, extra))
            return
        query.cursor = cursor
        query.sleeper = None
        self.send(answer(query.token, ResponseType.SUCCESS_PARTIAL, body))

    # --- the end --------------------------------------------------------------------------

    def _fail(self, token: int, error: ReqlError) -> None:
        self.send(failure(token, error))

    def _end(self, query: Query) -> None:
        """Unwind a query wherever it is; its greenlet, if parked, ends at its next look."""
        query.stopped = True
        sleeper, cursor = query.sleeper, query.cursor
        self._forget(query)
        if query.env is not None:
            query.env.stopped = True
        if isinstance(cursor, FeedCursor):
            cursor.stopped = True
            if sleeper is not None:
                self.loop.wake(sleeper)
        elif cursor is not None and sleeper is None:
            cursor.close()

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
        if name == "db":
            values[name] = prepare(raw)[0]
        else:
            values[name] = raw if type(raw) in PLAIN else compile_query(raw).run([Env()])
    if "array_limit" in values:
        _check_array_limit(values["array_limit"])
    return values


def _check_array_limit(wanted: Any) -> None:
    try:
        limit = as_int(Env(), wanted)
    except ReqlError as error:
        error.backtrace = ()
        raise
    if limit < 1:
        raise QueryLogicError(f"Illegal array size limit `{limit}`.  (Must be >= 1.)", ())
