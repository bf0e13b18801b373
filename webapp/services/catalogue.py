"""Fetches and judges a catalogue of images, media and system profiles: a JSON document over HTTPS.

Nothing of it is believed unseen: the certificate is verified, redirects stay encrypted, size and
time are bounded, and every entry is judged before it is kept. What is fetched by it later is
fetched by a disk host, which judges the address, and compares the checksum that each entry must
have. docs/media.md describes the format. Called by `webapp.services.updates`.
"""

from __future__ import annotations

import http.client
import ipaddress
import ssl
import time
import urllib.error
import urllib.request
from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from db.rowcheck import SHA256, Description, Name, Slug, SpecModel
from db.urls import URL_MAX, Address, read_url
from webapp.settings import WebSettings

MAX_BYTES = 2 * 1024 * 1024
TIMEOUT_S = 20.0
REDIRECTS_MAX = 5
ENTRIES_MAX = 1000
PIECE_BYTES = 64 * 1024

Version = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[\w.+~ -]+$")]


class CatalogueRefused(Exception):
    """It cannot be had or is not to be trusted. The text is a sentence for an administrator."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Entry(_Model):
    id: Slug
    name: Name
    version: Version
    description: Description = ""
    published: datetime | None = None


class MediaEntry(_Entry):
    """An image: `disk` is one that desktops are made of, the others go into a drive."""

    kind: Literal["iso", "floppy", "disk"]
    url: Annotated[str, StringConstraints(min_length=1, max_length=URL_MAX)]
    sha256: Annotated[str, StringConstraints(pattern=SHA256, to_lower=True)]
    size: int = Field(gt=0, le=2**50)


class Profile(_Model):
    family: Literal["windows", "linux", "other"] = "other"
    rank: int = Field(default=50, ge=0, le=1000)
    size_gib: float = Field(default=20, gt=0, le=65536)
    drivers: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{0,40}$")] = ""
    spec: SpecModel


class ProfileEntry(_Entry):
    kind: Literal["os_profile"]
    profile: Profile


class Catalogue(_Model):
    format: Literal[1]
    entries: list[Annotated[MediaEntry | ProfileEntry, Field(discriminator="kind")]] = Field(
        max_length=ENTRIES_MAX
    )

    @model_validator(mode="after")
    def each_once(self) -> Catalogue:
        twice = [id for id, count in Counter(one.id for one in self.entries).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is there twice")
        return self


def check_address(url: str, settings: WebSettings) -> Address:
    """Raises CatalogueRefused for an address that a catalogue is not fetched from."""
    try:
        address = read_url(url)
    except ValueError as error:
        raise CatalogueRefused(f"The address cannot be used: {error}.") from error
    if address.scheme == "https" or (settings.catalogue_http and _is_loopback(address)):
        return address
    raise CatalogueRefused("A catalogue is fetched by https only.")


def fetch(url: str, settings: WebSettings) -> Catalogue:
    """Raises CatalogueRefused."""
    address = check_address(url, settings)
    try:
        return Catalogue.model_validate_json(_read(address, settings))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise CatalogueRefused(f"It is not a catalogue: {where}: {first['msg']}.") from error


def _read(address: Address, settings: WebSettings) -> bytes:
    deadline = time.monotonic() + TIMEOUT_S
    context = ssl.create_default_context(cafile=settings.catalogue_ca)
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context), _Redirects(settings)
    )
    request = urllib.request.Request(  # noqa: S310 (judged above, and at each redirect)
        address.url, headers={"Accept": "application/json", "User-Agent": "IsardVDI"}
    )
    content = b""
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            while piece := answer.read1(PIECE_BYTES):
                content += piece
                if len(content) > MAX_BYTES:
                    raise CatalogueRefused("It is larger than a catalogue is.")
                if time.monotonic() > deadline:
                    raise CatalogueRefused("It did not come in time.")
    except urllib.error.HTTPError as error:
        raise CatalogueRefused(f"{address.shown} answers {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CatalogueRefused(f"{address.shown} cannot be read: {reason}.") from error
    return content


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Every address on the way is judged like the first."""

    max_redirections = REDIRECTS_MAX

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        # Its body is of no use, and may have no end.
        fp.close()
        check_address(newurl, self._settings)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_loopback(address: Address) -> bool:
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False
