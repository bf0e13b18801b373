"""Listening, connections, and the server as a whole.

One `Server` owns the loop, the store and the catalog. A `Connection` reads frames, feeds its
handshake and then its session, and writes answers without ever blocking: what a slow client
does not take is kept in its buffer (at most one batch per open query, since batches are asked
for), and reading from it pauses while too much is unsent. Connections that do not finish the
handshake in time are closed; half-open ones are found by TCP keepalive.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import select
import socket
import time
from collections import deque
from pathlib import Path
from typing import Final

from db.embedded.catalog import Catalog
from db.embedded.handshake import Handshake, Refused
from db.embedded.loop import Loop
from db.embedded.session import Session
from db.embedded.store import Store
from db.embedded.system import SystemDatabase, fixed_id
from db.embedded.system_tables import TABLES
from db.embedded.table import MemoryTable
from db.embedded.users import Users
from db.embedded.wire import cut_frames, failure

log = logging.getLogger("db.embedded.server")

HANDSHAKE_S: Final = 15.0
MOST_UNSENT: Final = 8 * 1024 * 1024
_READ_SIZE: Final = 256 * 1024
SCRATCH: Final = {
    "name": "_debug_scratch",
    "number": -2,
    "primary_key": "id",
    "indexes": {},
    "durability": "soft",
}
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class Connection:
    """One client."""

    def __init__(self, server: Server, sock: socket.socket, peer: tuple[str, int]) -> None:
        self.server = server
        self.sock = sock
        self.peer = peer
        self.descriptor = sock.fileno()
        self.input = bytearray()
        self.output = bytearray()
        self.events = _IN
        self.closed = False
        self.closing = False
        self.handshake: Handshake | None = Handshake(server.users.credential)
        self.session: Session | None = None
        server.loop.watch(self.descriptor, _IN, self._ready)
        server.loop.after(HANDSHAKE_S, self._check_handshake)

    def _check_handshake(self) -> None:
        if self.handshake is not None and not self.closed:
            self.close()

    def _ready(self, events: int) -> None:
        if events & _OUT:
            self._flush()
        if not self.closed and events & ~_OUT:
            self._read()

    def _read(self) -> None:
        try:
            data = self.sock.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        self.input += data
        if self.handshake is not None:
            self._shake(self.handshake)
        if self.session is not None:
            self._take_frames(self.session)

    def _shake(self, handshake: Handshake) -> None:
        try:
            reply = handshake.feed(self.input)
        except Refused as refused:
            self.send(refused.reply)
            self._close_when_sent()
            return
        if reply:
            self.send(reply)
        if handshake.done:
            self.handshake = None
            self.session = Session(self.server, handshake.user, self.send, self._read_again)

    def _take_frames(self, session: Session) -> None:
        frames, error, token = cut_frames(self.input)
        for token_of_frame, text in frames:
            session.take_frame(token_of_frame, text)
        if error is not None:
            self.send(failure(token, error))
            self._close_when_sent()
        elif session.is_full:
            self._watch(self._interest())

    def _interest(self) -> int:
        """What to wait for: nothing is read that there would be no room for."""
        events = _OUT if self.output else 0
        is_full = self.session is not None and self.session.is_full
        if len(self.output) < MOST_UNSENT and not self.closing and not is_full:
            events |= _IN
        return events

    def _read_again(self) -> None:
        """A query has ended: read on if reading was paused and there is room now."""
        if not self.events & _IN:
            self._watch(self._interest())

    def send(self, data: bytes) -> None:
        if self.closed or self.closing:
            return
        if not self.output:
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.server.loop.after(0, self.close)
                self.closing = True
                return
            if sent == len(data):
                return
            data = data[sent:]
        self.output += data
        self._watch(self._interest())

    def _watch(self, events: int) -> None:
        if events != self.events and not self.closed:
            self.events = events
            self.server.loop.change(self.descriptor, events)

    def _flush(self) -> None:
        try:
            sent = self.sock.send(self.output)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self.output[:sent]
        if not self.output and self.closing:
            self.close()
        else:
            self._watch(self._interest())

    def _close_when_sent(self) -> None:
        self.closing = True
        if self.output:
            self._watch(_OUT)
        else:
            self.close()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.server.loop.forget(self.descriptor)
        self.server.connections.discard(self)
        self.sock.close()
        if self.session is not None:
            self.session.close()


class Server:
    """The whole: loop, store, catalog, listener, connections."""

    def __init__(self, folder: Path, host: str, port: int, password: str | None) -> None:
        self.folder = folder
        self.loop = Loop()
        self.store = Store(folder, self.loop.ring)
        self.loop.on_bell.append(self.store.settle)
        self.catalog = Catalog(self.store)
        self.catalog.load()
        self.users = Users(self.catalog)
        self.store.start()
        self.users.prepare(password)
        self.identity = self.catalog.identity()
        self.system = SystemDatabase(self, TABLES)
        self.scratch = MemoryTable(self.store, self.system, fixed_id("scratch"), SCRATCH)
        self.catalog.on_change = self.system.look
        self.started_at = round(time.time(), 3)
        self.queries_total = 0
        self.recent_log: deque[tuple[int, float, str, str]] = deque(maxlen=1000)
        log.addHandler(LogKeeper(self.recent_log))
        self.connections: set[Connection] = set()
        self.listener = _listen(host, port)
        self.host, self.port = self.listener.getsockname()[:2]
        self.loop.watch(self.listener.fileno(), _IN, self._accept)

    def _accept(self, events: int) -> None:
        while True:
            try:
                sock, peer = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    log.warning("out of file descriptors: a connection waits")
                    self._pause_accepting()
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
            self.connections.add(Connection(self, sock, peer[:2]))

    def _pause_accepting(self) -> None:
        self.loop.forget(self.listener.fileno())
        self.loop.after(0.5, lambda: self.loop.watch(self.listener.fileno(), _IN, self._accept))

    def run(self) -> None:
        self.loop.run()

    def stop(self) -> None:
        """Ask the loop to end; called from a signal handler."""
        self.loop.stop()

    def close(self) -> None:
        for connection in list(self.connections):
            connection.close()
        with contextlib.suppress(OSError):
            self.listener.close()
        self.store.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(1024)
    listener.setblocking(False)
    return listener


class LogKeeper(logging.Handler):
    """Keeps the last log lines for the system table `logs`."""

    def __init__(self, lines: deque[tuple[int, float, str, str]]) -> None:
        super().__init__(logging.INFO)
        self._lines = lines
        self._numbers = itertools.count(1)

    def emit(self, record: logging.LogRecord) -> None:
        line = (next(self._numbers), record.created, record.levelname.lower(), record.getMessage())
        self._lines.append(line)
