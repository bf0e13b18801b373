"""What the database takes as the key of a row: up to 127 bytes of text, without NUL. It refuses a
whole query for another one, so whoever has a key from outside (an address, a script's row, a path)
asks here first. Pure; called by `db.queries` and by the engine.
"""

from __future__ import annotations

import hashlib
from typing import Any

LONGEST_KEY_BYTES = 127


def is_key(value: Any) -> bool:
    """Whether a row of this id can be there at all."""
    if isinstance(value, str):
        return "\x00" not in value and len(value.encode(errors="replace")) <= LONGEST_KEY_BYTES
    return value is not None and not isinstance(value, dict)


def fit_key(text: str) -> str:
    """A text as a key: as it is, or, where it can be none, its beginning and its SHA-256."""
    if is_key(text):
        return text
    content = text.encode(errors="replace")
    digest = hashlib.sha256(content).hexdigest()
    beginning = content.replace(b"\x00", b"")[: LONGEST_KEY_BYTES - len(digest) - 1]
    return f"{beginning.decode(errors='ignore')}#{digest}"
