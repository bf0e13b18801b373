"""Viewer tickets: may whoever holds this token see that console, here, now, once?

A ticket is a JWT signed by webapp (ES256). A hypervisor holds public keys only, one file
`<kid>.pem` each, so a stolen host can open no console elsewhere. A ticket names this host, one
desktop and one console port on the loopback, lives 30 seconds at most and is good for one
connection. `TicketOffice.accept` raises `TicketRefused` with a sentence for the person; the token
itself is in no message. Used by `viewer_proxy.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jwcrypto.common import JWException
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

AUDIENCE = "viewer"
ALGORITHM = "ES256"
LONGEST_LIFE_S = 30
LONGEST_TOKEN = 4096
CONSOLE_PORTS = range(5900, 65536)
LOOPBACK = "127.0.0.1"
KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
TICKET_ID = re.compile(r"[\x21-\x7e]{8,200}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class TicketRefused(Exception):
    """The message says why, for whoever holds the ticket."""


@dataclass(frozen=True)
class Ticket:
    """What was signed, all of it checked."""

    id: str
    domain: str
    port: int
    expires_at: int


class TicketOffice:
    """Checks tickets for one host. Many processes may share the folder of spent ones.

    `name`: a file with this host's id in the product, where that is not (yet) `hypervisor`: the
    engine writes it when the host is added, under whatever name that was.
    """

    def __init__(
        self,
        hypervisor: str,
        keys: Path,
        spent: Path,
        clock: Callable[[], float] = time.time,
        name: Path | None = None,
    ) -> None:
        self._hypervisor = hypervisor
        self._name = name
        self._keys = keys
        self._spent = spent
        self._clock = clock

    def accept(self, token: str) -> Ticket:
        """The ticket, now spent. Raises TicketRefused."""
        if not token or len(token) > LONGEST_TOKEN:
            raise TicketRefused("There is no viewer ticket in the request.")
        ticket = read_claims(self._verified(token), self._own_id(), self._clock())
        self._spend(ticket)
        return ticket

    def forget_expired(self) -> None:
        """Remove the traces of tickets that time refuses by itself."""
        now = self._clock()
        for trace in self._spent.iterdir():
            if trace.stat().st_mtime < now:
                trace.unlink(missing_ok=True)

    def _own_id(self) -> str:
        """Read each time, as keys are."""
        try:
            text = self._name.read_text(encoding="ascii").strip() if self._name else ""
        except (OSError, UnicodeDecodeError):
            text = ""
        return text or self._hypervisor

    def _verified(self, token: str) -> Mapping[str, object]:
        signed = JWS()
        signed.allowed_algs = [ALGORITHM]
        try:
            signed.deserialize(token)
            header = signed.jose_header
            signed.verify(self._key(header.get("kid") if isinstance(header, dict) else None))
            claims = json.loads(signed.payload)
        except (JWException, ValueError, TypeError, AttributeError) as error:
            raise TicketRefused("The viewer ticket is not genuine.") from error
        if not isinstance(claims, dict):
            raise TicketRefused("The viewer ticket is not genuine.")
        return claims

    def _key(self, key_id: object) -> JWK:
        """Read each time: a key that is added or taken away counts at once."""
        if not isinstance(key_id, str) or not KEY_ID.fullmatch(key_id):
            raise TicketRefused("The viewer ticket names no key.")
        try:
            key = JWK.from_pem((self._keys / f"{key_id}.pem").read_bytes())
        except FileNotFoundError as error:
            raise TicketRefused("The viewer ticket is signed with a key unknown here.") from error
        if key.get("kty") != "EC" or key.has_private:
            raise TicketRefused("The key of the viewer ticket cannot be used here.")
        return key

    def _spend(self, ticket: Ticket) -> None:
        """One file per ticket, made exclusively: of two connections at once only one succeeds."""
        trace = self._spent / hashlib.sha256(ticket.id.encode()).hexdigest()
        try:
            os.close(os.open(trace, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError as error:
            raise TicketRefused("The viewer ticket has been used already.") from error
        os.utime(trace, (ticket.expires_at + 1, ticket.expires_at + 1))


def read_claims(claims: Mapping[str, object], hypervisor: str, now: float) -> Ticket:
    """The ticket these claims make on this host at this time. Pure. Raises TicketRefused."""
    issued_at, not_before, expires_at = (
        whole_number(claims, name) for name in ("iat", "nbf", "exp")
    )
    if claims.get("aud") != AUDIENCE:
        raise TicketRefused("The ticket is not for a viewer.")
    if claims.get("hyp") != hypervisor:
        raise TicketRefused("The viewer ticket is for another hypervisor.")
    if expires_at - issued_at > LONGEST_LIFE_S:
        raise TicketRefused("The viewer ticket is valid for too long.")
    if now >= expires_at:
        raise TicketRefused("The viewer ticket has expired.")
    if not_before > now or issued_at > now + LONGEST_LIFE_S:
        raise TicketRefused("The viewer ticket is not valid yet.")
    port = whole_number(claims, "port")
    if claims.get("host") != LOOPBACK or port not in CONSOLE_PORTS:
        raise TicketRefused("The viewer ticket does not name a console of this host.")
    ticket_id, domain = claims.get("jti"), claims.get("dom")
    if not isinstance(ticket_id, str) or not TICKET_ID.fullmatch(ticket_id):
        raise TicketRefused("The viewer ticket has no number of its own.")
    if not isinstance(domain, str) or not UUID.fullmatch(domain):
        raise TicketRefused("The viewer ticket names no desktop.")
    return Ticket(ticket_id, domain, port, expires_at)


def whole_number(claims: Mapping[str, object], name: str) -> int:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TicketRefused(f"The viewer ticket has no proper {name!r}.")
    return value
