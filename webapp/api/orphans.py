"""What belongs to no row, over REST, for administrators: thin, see `webapp.services.orphans`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import StringConstraints

from webapp.api.answers import Answer
from webapp.api.operations import operation
from webapp.api.requests import Body
from webapp.auth.permissions import Person
from webapp.services import orphans

TAG = "Orphans"


class RemoveOrphan(Body):
    id: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Orphan(Answer):
    id: str
    kind: str
    hypervisor: str
    path: str | None
    domain: str | None
    name: str
    macs: list[str]
    disks: list[str]
    size: int | float | None
    modified_at: str | None
    backing: str | None
    ours: bool
    message: str
    at: str | None
    is_wanted_gone: bool
    refusal: str | None


class Orphans(Answer):
    items: list[Orphan]


@operation(
    "GET",
    "/orphans",
    tag=TAG,
    summary="List domains and files that belong to no row",
    who="admin",
    answer=Orphans,
)
def list_orphans(user: Person) -> dict[str, Any]:
    return {"items": orphans.list_orphans(user)}


@operation(
    "POST",
    "/orphans/removals",
    tag=TAG,
    summary="Have one removed",
    who="admin",
    body=RemoveOrphan,
    answer=Orphan,
    status=202,
    refusals=(404, 409),
)
def remove_orphan(user: Person, body: RemoveOrphan) -> dict[str, Any]:
    """The engine looks at everything again first: no row, this installation's mark, nobody's
    backing file, not in use. It then is gone from the list, or `refusal` says why not. What is
    another installation's is refused.
    """
    return orphans.remove(user, body.id)
