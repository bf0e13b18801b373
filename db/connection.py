"""Connections to RethinkDB (or the embedded server) with a deadline on every answer.

The ordinary driver waits for ever for an answer; here each query has a deadline after which its
connection is closed. `Database.run` borrows a connection from a pool, so that one connection is
never used by two threads (or greenlets) at once; under gevent's monkey patching the same code is
cooperative. Feeds take a connection of their own with `Database.connect`. Used by everything that
touches the database.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rethinkdb import RethinkDB
from rethinkdb.errors import (
    ReqlDriverError,
    ReqlError,
    ReqlOpFailedError,
    ReqlOpIndeterminateError,
    ReqlTimeoutError,
)
from rethinkdb.net import ConnectionInstance, DefaultConnection, make_connection

from db.errors import DatabaseCannotWrite, DatabaseUnavailable
from db.settings import Settings

r = RethinkDB()

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 20.0
IDLE_CONNECTIONS = 8
NOT_SAVED = "not saved and has been undone"
"""The embedded server's words. RethinkDB itself ends where its disk takes nothing more."""
CANNOT_WRITE = (
    "The database cannot write: its disk is full or read-only. Nothing was changed. It goes on by "
    "itself once there is room."
)


class BoundedInstance(ConnectionInstance):
    """The driver's connection, but an answer that does not come in time is an error, not a hang."""

    def _read_response(self, query: Any, deadline: float | None = None) -> Any:
        if deadline is None:
            deadline = time.time() + self._parent.answer_timeout_s
        return super()._read_response(query, deadline)


class BoundedConnection(DefaultConnection):
    answer_timeout_s = ANSWER_TIMEOUT_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._conn_type = BoundedInstance


class Database:
    """A handle on one ReQL database. Thread safe; make one per process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._idle: queue.LifoQueue[BoundedConnection] = queue.LifoQueue(IDLE_CONNECTIONS)

    def connect(self) -> BoundedConnection:
        """A fresh connection that the caller owns and closes. Raises DatabaseUnavailable."""
        s = self.settings
        try:
            connection: BoundedConnection = make_connection(
                BoundedConnection,
                host=s.db_host,
                port=s.db_port,
                db=s.db_name,
                user=s.db_user,
                password=s.db_password,
                timeout=CONNECT_TIMEOUT_S,
            )
        except ReqlDriverError as error:
            raise DatabaseUnavailable(
                f"The database at {s.db_host}:{s.db_port} does not answer: {error}"
            ) from error
        return connection

    def run(self, query: Any, **options: Any) -> Any:
        """The query's answer; a sequence comes as a list. `options` are the driver's run options.

        Raises DatabaseUnavailable when the connection is lost (a write may then have happened or
        not: callers' writes are idempotent), DatabaseCannotWrite where its disk takes nothing, and
        the driver's ReqlError for what the server refuses.
        """
        with self._borrowed() as connection:
            answer = query.run(connection, **options)
            return list(answer) if hasattr(answer, "next") else answer

    def close(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close(noreply_wait=False)
            except queue.Empty:
                return

    @contextmanager
    def _borrowed(self) -> Iterator[BoundedConnection]:
        connection = self._take()
        try:
            yield connection
        except (ReqlDriverError, ReqlTimeoutError, ReqlOpIndeterminateError, OSError) as error:
            connection.close(noreply_wait=False)
            raise DatabaseUnavailable(f"The database went away during a query: {error}") from error
        except ReqlError as error:
            self._give_back(connection)
            if isinstance(error, ReqlOpFailedError) and NOT_SAVED in error.message:
                raise DatabaseCannotWrite(CANNOT_WRITE) from error
            raise
        except BaseException:
            connection.close(noreply_wait=False)
            raise
        else:
            self._give_back(connection)

    def _take(self) -> BoundedConnection:
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return self.connect()
            if connection.is_open() and not is_stale(connection):
                return connection
            connection.close(noreply_wait=False)

    def _give_back(self, connection: BoundedConnection) -> None:
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close(noreply_wait=False)


def is_stale(connection: BoundedConnection) -> bool:
    """True where the other side has closed: an idle connection has nothing to read, so readable
    means ended.
    """
    import select

    socket = connection._instance._socket._socket
    if socket is None:
        return True
    poller = select.poll() if hasattr(select, "poll") else None
    if poller is None:
        return bool(select.select([socket], [], [], 0)[0])
    poller.register(socket, select.POLLIN | select.POLLHUP)
    return bool(poller.poll(0))
