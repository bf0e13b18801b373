"""A guest's screen as PNG. Pure.

QEMU before 7.1 gives a portable pixmap (PPM) instead; both formats are simple enough that the
change needs nothing but the standard library. Called by engine.hypervisor.connection.
"""

from __future__ import annotations

import re
import struct
import zlib

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PPM_HEADER = re.compile(rb"P6\s+(\d{1,5})\s+(\d{1,5})\s+255\s")


def to_png(picture: bytes) -> bytes:
    """Raises ValueError for what is neither PNG nor a plain PPM."""
    if picture.startswith(PNG_SIGNATURE):
        return picture
    header = PPM_HEADER.match(picture)
    if header is None:
        raise ValueError("the screen came in a format that is neither PNG nor PPM")
    width, height = int(header[1]), int(header[2])
    pixels = picture[header.end() :]
    row = width * 3
    if len(pixels) < row * height:
        raise ValueError("the picture of the screen is cut short")
    # Every PNG row begins with its filter's number; 0 is none.
    lines = b"".join(b"\0" + pixels[at : at + row] for at in range(0, row * height, row))
    return (
        PNG_SIGNATURE
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + _chunk(b"IDAT", zlib.compress(lines, 6))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
