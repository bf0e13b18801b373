"""Viewer tickets: JWTs (ES256) that live half a minute, verified on the hypervisor by public key.

The private keys lie in `$ISARD_DATA/secrets/tickets/<kid>.key.pem`; the newest signs, older ones
are kept by hypervisors until no ticket of theirs can be alive. A ticket names one port of one
host's loopback and carries no password. It is given to the browser and logged nowhere.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT

from webapp.errors import Problem

SUFFIX = ".key.pem"


@dataclass(frozen=True)
class Ticket:
    token: str
    expires_at_s: int


def sign(
    keys_dir: Path,
    *,
    hypervisor: str,
    domain: str,
    port: int,
    life_s: int,
    now_s: float | None = None,
) -> Ticket:
    """Permission to connect to 127.0.0.1:`port` of `hypervisor` for `life_s` seconds (30 at most).

    Raises Problem 503 where this installation has no key.
    """
    path = newest_key(keys_dir)
    issued_at_s = int(time.time() if now_s is None else now_s)
    expires_at_s = issued_at_s + min(life_s, 30)
    token = JWT(
        header={"alg": "ES256", "typ": "JWT", "kid": path.name.removesuffix(SUFFIX)},
        claims={
            "aud": "viewer",
            "hyp": hypervisor,
            "dom": domain,
            "host": "127.0.0.1",
            "port": port,
            "iat": issued_at_s,
            "nbf": issued_at_s,
            "exp": expires_at_s,
            "jti": secrets.token_urlsafe(16),
        },
    )
    token.make_signed_token(_load(path, path.stat().st_mtime_ns))
    return Ticket(token.serialize(), expires_at_s)


def newest_key(keys_dir: Path) -> Path:
    found = sorted(
        keys_dir.glob("*" + SUFFIX), key=lambda path: (path.stat().st_mtime_ns, path.name)
    )
    if not found:
        raise Problem(
            503,
            "NoTicketKey",
            "This installation has no key to sign viewer tickets with: "
            "an administrator must run its set-up again.",
        )
    return found[-1]


def public_keys(keys_dir: Path) -> dict[str, str]:
    """Key id -> PEM: what hypervisors check tickets with."""
    return {
        path.name.removesuffix(SUFFIX): _load(path, path.stat().st_mtime_ns)
        .export_to_pem()
        .decode("ascii")
        for path in sorted(keys_dir.glob("*" + SUFFIX))
    }


@lru_cache(maxsize=8)
def _load(path: Path, _changed_at_ns: int) -> JWK:
    return JWK.from_pem(path.read_bytes())
