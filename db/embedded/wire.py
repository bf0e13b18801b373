"""Frames and responses of the JSON protocol.

A frame is a token (8 bytes), a length (4 bytes), both little-endian, and that much JSON:
`[type, term, options]` from a client, `{"t": …, "r": […]}` back. The connection cuts the input with
`cut_frames`; the session builds answers with the functions below.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, Final

import orjson

from db.embedded.errors import ClientError, ReqlError, ResponseType

LARGEST_QUERY: Final = 64 * 1024 * 1024
_HEADER: Final = struct.Struct("<QI")


class QueryType(IntEnum):
    START = 1
    CONTINUE = 2
    STOP = 3
    NOREPLY_WAIT = 4
    SERVER_INFO = 5


def cut_frames(buffer: bytearray) -> tuple[list[tuple[int, bytes]], ClientError | None, int]:
    """Complete frames taken off the buffer; an oversized one gives the error and its token."""
    frames: list[tuple[int, bytes]] = []
    start, size = 0, len(buffer)
    while size - start >= 12:
        token, length = _HEADER.unpack_from(buffer, start)
        if length > LARGEST_QUERY:
            error = ClientError(
                f"Query size ({length}) greater than maximum ({LARGEST_QUERY}).", ()
            )
            return frames, error, token
        end = start + 12 + length
        if end > size:
            break
        frames.append((token, bytes(buffer[start + 12 : end])))
        start = end
    if start:
        del buffer[:start]
    return frames, None, 0


def frame(token: int, body: bytes) -> bytes:
    return _HEADER.pack(token, len(body)) + body


def answer(token: int, kind: ResponseType, rows: bytes, extra: bytes = b"") -> bytes:
    """A response whose rows are already JSON (without the brackets around them)."""
    return frame(token, b'{"t":%d,"r":[%s]%s}' % (kind, rows, extra))


def failure(token: int, error: ReqlError) -> bytes:
    body: dict[str, Any] = {
        "t": int(error.response),
        "r": [error.message.encode("utf-8", "replace").decode()],
        "b": list(error.backtrace or ()),
    }
    if error.error is not None:
        body["e"] = int(error.error)
    return frame(token, orjson.dumps(body))
