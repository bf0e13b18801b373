"""A real web server on the loopback that behaves as badly as a test wants.

Each path is a `Behaviour`; every request is remembered. Used by the tests of media and of the
catalogue.
"""

from __future__ import annotations

import re
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

PIECE = 64 * 1024


@dataclass
class Behaviour:
    """`cuts`: after how many bytes each transfer breaks, one after the other; `hangs`: the same,
    but it stays open and sends nothing. `bytes_s`: no faster than this.
    """

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    refuses_head: bool = False
    ranges: bool = True
    says_size: bool = True
    bytes_s: float | None = None
    cuts: list[int] = field(default_factory=list)
    hangs: list[int] = field(default_factory=list)
    etag: str = '"one"'


class FileServer:
    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.paths: dict[str, Behaviour] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.sending = 0
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> FileServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str, **behaviour: Any) -> str:
        """The address of `path`, which from now on behaves like this."""
        if behaviour:
            self.paths[path] = Behaviour(**behaviour)
        return f"http://127.0.0.1:{self.port}{path}"

    def ranges_asked(self, path: str) -> list[str | None]:
        """The Range of every transfer of this path, in order."""
        found = [headers for method, at, headers in self.requests if (method, at) == ("GET", path)]
        return [headers.get("range") for headers in found]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                server._answer(self, with_content=False)

            def do_GET(self) -> None:
                server._answer(self, with_content=True)

            def log_message(self, format: str, *args: Any) -> None:
                """Silent: `requests` has it."""

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler, *, with_content: bool) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append((handler.command, handler.path, headers))
        behaviour = self.paths.get(handler.path) or Behaviour(b"<html>not here</html>", 404)
        if not with_content and behaviour.refuses_head:
            handler.send_error(405)
            return
        content, status, start = behaviour.content, behaviour.status, 0
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        handler.close_connection = True
        more = dict(behaviour.headers)
        if asked and behaviour.ranges and status == 200:
            start = int(asked[1])
            end = int(asked[2]) + 1 if asked[2] else len(content)
            more["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
            content, status = content[start:end], 206
            if not content:
                status = 416
                more["Content-Range"] = f"bytes */{len(behaviour.content)}"
        handler.send_response(status)
        if behaviour.says_size and "Content-Length" not in more:
            more["Content-Length"] = str(len(content))
        if behaviour.ranges:
            more.setdefault("Accept-Ranges", "bytes")
        for name, value in {"ETag": behaviour.etag, "Connection": "close", **more}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if with_content:
            self._send(handler, behaviour, content)

    def _send(self, handler: BaseHTTPRequestHandler, behaviour: Behaviour, content: bytes) -> None:
        cut = behaviour.cuts.pop(0) if behaviour.cuts else None
        hang = behaviour.hangs.pop(0) if behaviour.hangs else None
        stop_at = min(value for value in (cut, hang, len(content)) if value is not None)
        begun, sent = time.monotonic(), 0
        self.sending += 1
        try:
            while sent < stop_at and not self._closing.is_set():
                piece = content[sent : min(sent + PIECE, stop_at)]
                handler.wfile.write(piece)
                sent += len(piece)
                if behaviour.bytes_s:
                    due_s = begun + sent / behaviour.bytes_s - time.monotonic()
                    self._closing.wait(max(0.0, due_s))
            handler.wfile.flush()
            if hang is not None:
                self._wait_for_end(handler)
        except OSError:
            pass  # the other side has gone: what these tests are about
        finally:
            self.sending -= 1

    def _wait_for_end(self, handler: BaseHTTPRequestHandler) -> None:
        """Until the client gives up."""
        handler.connection.settimeout(0.2)
        while not self._closing.is_set():
            try:
                if handler.connection.recv(1) == b"":
                    return
            except TimeoutError:
                continue


def make_tls(folder: Path) -> ssl.SSLContext:
    """With a certificate for localhost that nobody vouches for, left in the folder."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *names, *files], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
