"""Networks over REST, for administrators: thin, see `webapp.services.networks`."""

from __future__ import annotations

from typing import Any

from flask import url_for

from webapp.api.operations import Reply, operation
from webapp.api.pool_models import ChangeNetwork, Network, Networks, NewNetwork
from webapp.auth.permissions import Person
from webapp.services import networks

TAG = "Networks"


@operation("GET", "/networks", tag=TAG, summary="List networks", who="admin", answer=Networks)
def list_networks(user: Person) -> dict[str, Any]:
    return {"items": networks.list_networks(user)}


@operation(
    "POST",
    "/networks",
    tag=TAG,
    summary="Add a network",
    who="admin",
    body=NewNetwork,
    answer=Network,
    status=201,
    refusals=(409,),
)
def add_network(user: Person, body: NewNetwork) -> Reply:
    """An isolated one is made on a hypervisor at the first start that needs it."""
    made = networks.add_network(user, body.model_dump())
    return Reply(made, {"Location": url_for("api.get_network", network_id=made["id"])})


@operation(
    "GET",
    "/networks/<network_id>",
    tag=TAG,
    summary="Read a network",
    who="admin",
    answer=Network,
)
def get_network(user: Person, network_id: str) -> dict[str, Any]:
    return networks.get_network(user, network_id)


@operation(
    "PATCH",
    "/networks/<network_id>",
    tag=TAG,
    summary="Edit a network",
    who="admin",
    body=ChangeNetwork,
    answer=Network,
    refusals=(409,),
)
def change_network(user: Person, network_id: str, body: ChangeNetwork) -> dict[str, Any]:
    """Desktops that run keep what they were started with."""
    given = body.model_dump()
    changes = {key: given[key] for key in body.model_fields_set}
    return networks.edit_network(user, network_id, changes)


@operation(
    "DELETE",
    "/networks/<network_id>",
    tag=TAG,
    summary="Delete a network",
    who="admin",
    status=204,
    refusals=(409,),
)
def delete_network(user: Person, network_id: str) -> None:
    """Refused while a desktop or template has a card on it."""
    networks.delete_network(user, network_id)
