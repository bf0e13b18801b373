"""Addresses that media and the catalogue are fetched from: taken apart, judged, put together anew.
Pure.

What a person or a script wrote is never handed on as it is. It is parsed once, here, and rebuilt
from its parts, so that curl cannot read another host out of the same text than the one whose
addresses were judged. Name and password leave the text at once and come back only where they are
used; `shown` is what logs and pages may have.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote, urljoin, urlsplit

URL_MAX = 2000
DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21}
LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
SAFE_IN_PATH = "/%:=@~+!$,;'()*&-._"
SAFE_IN_QUERY = SAFE_IN_PATH + "?[]"


@dataclass(frozen=True)
class Address:
    """An address to fetch from. `host` is a name, or an IP address without brackets."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = field(default="", repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """Whole, but without name and password."""
        return self.shown if not self.query else f"{self._front()}?{self.query}"

    @property
    def shown(self) -> str:
        """Without what may be secret: no name, no password, no query."""
        return self._front()

    @property
    def is_encrypted(self) -> bool:
        return self.scheme == "https"

    def follow(self, location: str) -> Address:
        """Where a redirect leads. The name and password stay behind unless the host is the same.
        Raises ValueError.
        """
        after = read_url(urljoin(self.url, location))
        same = (after.scheme, after.host, after.port) == (self.scheme, self.host, self.port)
        return replace(after, user=self.user, password=self.password) if same else after

    def _front(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def read_url(text: str) -> Address:
    """Raises ValueError with a sentence's end that says what is wrong."""
    if not text or len(text) > URL_MAX:
        raise ValueError(f"an address has 1 to {URL_MAX} characters")
    if re.search(r"[\x00-\x20\x7f\\\"<>^`{|}]", text):
        raise ValueError("it has a space or another character that no address has")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"it cannot be read as an address ({error})") from error
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise ValueError("only http, https and ftp are fetched from")
    if port == 0:
        raise ValueError("there is no port 0")
    return Address(
        scheme=scheme,
        host=_read_host(parts.hostname or ""),
        port=port or DEFAULT_PORTS[scheme],
        path=quote(parts.path, safe=SAFE_IN_PATH) or "/",
        query=quote(parts.query, safe=SAFE_IN_QUERY),
        user=_plain(unquote(parts.username or "")),
        password=_plain(unquote(parts.password or "")),
    )


def without_secrets(text: object) -> str:
    """An address as it may be shown, whatever it is; nothing of one that cannot be read."""
    try:
        return read_url(text).shown if isinstance(text, str) else ""
    except ValueError:
        return ""


def has_secrets(text: object) -> bool:
    try:
        found = read_url(text) if isinstance(text, str) else None
    except ValueError:
        return False
    return found is not None and bool(found.user or found.password or found.query)


def _read_host(host: str) -> str:
    """A plain name in ASCII, or an address in its usual form. Other ways to write an address
    (2130706433, 0x7f.1) are refused: programs disagree about them.
    """
    if ":" in host:
        if "%" in host:
            raise ValueError("an address with a zone is of no use on another machine")
        return str(ipaddress.IPv6Address(host))
    try:
        name = host.encode("idna").decode() if host else ""
    except UnicodeError as error:
        raise ValueError(f"{host!r} is not the name of a host") from error
    try:
        return str(ipaddress.IPv4Address(name))
    except ValueError:
        pass
    name = name.removesuffix(".").lower()
    labels = name.split(".")
    if len(name) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{host!r} is not the name of a host")
    if re.fullmatch(r"\d+|0x[0-9a-f]*", labels[-1]):
        raise ValueError(f"{host!r} is an odd way to write an address")
    return name


def _plain(text: str) -> str:
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("its name or password has characters that cannot be sent")
    return text
