"""Pools over REST, for administrators; the list is for everybody. Thin, see
`webapp.services.pools`.
"""

from __future__ import annotations

from typing import Any

from flask import url_for

from webapp.api.operations import Reply, operation
from webapp.api.pool_models import ChangePool, NewPool, Pool, Pools
from webapp.auth.permissions import Person
from webapp.services import pools

TAG = "Storage and pools"


@operation("GET", "/pools", tag=TAG, summary="List pools", answer=Pools)
def list_pools(user: Person) -> dict[str, Any]:
    """Those that the caller may use; who is no administrator gets `id`, `name`, `description`."""
    return {"items": pools.list_usable(user)}


@operation(
    "POST",
    "/pools",
    tag=TAG,
    summary="Add a pool",
    who="admin",
    body=NewPool,
    answer=Pool,
    status=201,
    refusals=(409,),
)
def add_pool(user: Person, body: NewPool) -> Reply:
    """Hypervisors name it in their `pools`."""
    made = pools.add_pool(user, body.model_dump())
    return Reply(made, {"Location": url_for("api.get_pool", pool_id=made["id"])})


@operation("GET", "/pools/<pool_id>", tag=TAG, summary="Read a pool", who="admin", answer=Pool)
def get_pool(user: Person, pool_id: str) -> dict[str, Any]:
    """`storage` and `observed` are what its hosts saw last."""
    return pools.get_pool(user, pool_id)


@operation(
    "PATCH",
    "/pools/<pool_id>",
    tag=TAG,
    summary="Edit a pool",
    who="admin",
    body=ChangePool,
    answer=Pool,
    refusals=(409,),
)
def change_pool(user: Person, pool_id: str, body: ChangePool) -> dict[str, Any]:
    """Works while desktops run. A path on which disks lie is not removed."""
    given = body.model_dump()
    return pools.edit_pool(user, pool_id, {key: given[key] for key in body.model_fields_set})


@operation(
    "DELETE",
    "/pools/<pool_id>",
    tag=TAG,
    summary="Delete a pool",
    who="admin",
    status=204,
    refusals=(409,),
)
def delete_pool(user: Person, pool_id: str) -> None:
    """Refused while a hypervisor, desktop, template or disk is of it."""
    pools.delete_pool(user, pool_id)
