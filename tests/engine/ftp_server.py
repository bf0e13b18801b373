"""A small FTP server on the loopback for one file, passive and anonymous: as much as curl asks for.

`lies`: it sends the client to another host for the data, as a hostile server would.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from types import TracebackType


class FtpServer:
    def __init__(self, name: str, content: bytes, *, lies: bool = False) -> None:
        self.name, self.content, self.lies = name, content, lies
        self.offsets: list[int] = []
        ftp = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    Session(ftp, self).serve()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> FtpServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"ftp://127.0.0.1:{self._server.server_address[1]}/{self.name}"


class Session:
    """One control connection."""

    def __init__(self, ftp: FtpServer, handler: socketserver.StreamRequestHandler) -> None:
        self._ftp, self._handler = ftp, handler
        self._offset = 0
        self._data: socket.socket | None = None

    def serve(self) -> None:
        self._say("220 ready")
        while line := self._handler.rfile.readline():
            command, _, argument = line.decode().strip().partition(" ")
            if command.upper() == "QUIT":
                self._say("221 bye")
                return
            answer = getattr(self, f"do_{command.lower()}", None)
            self._say(answer(argument) if answer else "502 not known here")

    def _say(self, text: str) -> None:
        self._handler.wfile.write(f"{text}\r\n".encode())

    def do_user(self, _name: str) -> str:
        return "331 any password"

    def do_pass(self, _password: str) -> str:
        return "230 come in"

    def do_pwd(self, _: str) -> str:
        return '257 "/"'

    def do_cwd(self, _folder: str) -> str:
        return "250 there"

    def do_type(self, _kind: str) -> str:
        return "200 as you like"

    def do_size(self, name: str) -> str:
        known = name.lstrip("/") == self._ftp.name
        return f"213 {len(self._ftp.content)}" if known else "550 no such file"

    def do_rest(self, offset: str) -> str:
        self._offset = int(offset)
        return "350 from there"

    def do_pasv(self, _: str) -> str:
        self._data = socket.create_server(("127.0.0.1", 0))
        port = self._data.getsockname()[1]
        host = "10,255,255,1" if self._ftp.lies else "127,0,0,1"
        return f"227 at ({host},{port // 256},{port % 256})"

    def do_retr(self, _name: str) -> str:
        assert self._data is not None
        self._say("150 coming")
        self._ftp.offsets.append(self._offset)
        self._data.settimeout(20)
        connection, _address = self._data.accept()
        with connection:
            connection.sendall(self._ftp.content[self._offset :])
        self._data.close()
        self._offset = 0
        return "226 that was all"
