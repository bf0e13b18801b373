"""Updates over REST, for administrators: thin, see `webapp.services.updates`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from db.urls import URL_MAX
from webapp.api.answers import Answer
from webapp.api.operations import operation
from webapp.api.requests import Body
from webapp.auth.permissions import Person
from webapp.services import updates


class SetCatalogue(Body):
    """An empty address: no catalogue."""

    url: Annotated[str, StringConstraints(max_length=URL_MAX)]


class CatalogueEntry(Answer):
    id: str
    name: str
    version: str
    description: str
    kind: Literal["iso", "floppy", "disk", "os_profile"]
    size: int | None
    published: str | None
    state: Literal["new", "available", "downloading", "downloaded", "failed"]
    media: str | None
    """The medium made of it."""


class Updates(Answer):
    url: str
    checked_at: str | None
    problem: str | None
    entries: list[CatalogueEntry]


@operation(
    "GET", "/updates", tag="Updates", who="admin", summary="Read what is offered", answer=Updates
)
def get_updates(user: Person) -> dict[str, Any]:
    """As last read of the catalogue. Without an address nothing is ever asked anywhere."""
    return updates.read_updates(user)


@operation(
    "PUT",
    "/updates",
    tag="Updates",
    who="admin",
    summary="Set the catalogue's address",
    body=SetCatalogue,
    answer=Updates,
)
def set_catalogue(user: Person, body: SetCatalogue) -> dict[str, Any]:
    return updates.set_catalogue(user, body.url.strip())


@operation(
    "POST",
    "/updates/check",
    tag="Updates",
    who="admin",
    summary="Read the catalogue now",
    answer=Updates,
    refusals=(409,),
)
def check_updates(user: Person) -> dict[str, Any]:
    """A catalogue that cannot be read leaves the entries as they were; `problem` says why."""
    return updates.check(user)


@operation(
    "POST",
    "/updates/entries/<entry_id>",
    tag="Updates",
    who="admin",
    summary="Download an entry",
    answer=CatalogueEntry,
    status=202,
    refusals=(409,),
)
def download_entry(user: Person, entry_id: str) -> dict[str, Any]:
    """An image becomes a medium shared with everybody, a profile a row of table `os_profiles`."""
    return updates.download(user, entry_id)
