"""Tickets with which a disk host fetches what a browser has uploaded: short-lived, good for once.

The webapp that holds the file puts a key of its own into table `uploads`, which only webapp and
engine read; the engine signs a ticket for every single transfer, and the webapp that is shown it
notes it as used. A ticket is sent in a header, so no address, list of processes or log has it.
Pure; used by engine/reconcilers/media.py and webapp/services/uploads.py.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

LIFE_S = 60
"""Within which a transfer must begin; it may then take as long as it takes."""
FORM = re.compile(r"(\d{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})")


def make_key() -> str:
    return secrets.token_hex(32)


def sign(key: str, media_id: str, now_s: float) -> str:
    expires, nonce = int(now_s) + LIFE_S, secrets.token_hex(16)
    return f"{expires}.{nonce}.{_signature(key, media_id, expires, nonce)}"


def check(ticket: str, key: str, media_id: str, now_s: float) -> str | None:
    """The ticket's nonce, to be noted as used; None where it is not a good one."""
    found = FORM.fullmatch(ticket)
    if found is None:
        return None
    expires, nonce, signature = int(found[1]), found[2], found[3]
    expected = _signature(key, media_id, expires, nonce)
    if not hmac.compare_digest(signature, expected) or not now_s <= expires <= now_s + 2 * LIFE_S:
        return None
    return nonce


def _signature(key: str, media_id: str, expires: int, nonce: str) -> str:
    text = f"{media_id}\n{expires}\n{nonce}"
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
