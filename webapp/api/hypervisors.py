"""Hypervisors over REST, for administrators: thin, see `webapp.services.hypervisors`."""

from __future__ import annotations

from typing import Any

from flask import url_for

from db.states import HypervisorDesired
from webapp.api.answers import Hypervisor, Hypervisors, Removal, StopCounts, Stopped
from webapp.api.operations import Reply, operation
from webapp.api.requests import ChangeHypervisor, EnrolHypervisor, NewHypervisor, StopDesktops
from webapp.auth.permissions import Person
from webapp.services import hypervisors, removal, stopping

TAG = "Hypervisors"


@operation(
    "GET", "/hypervisors", tag=TAG, summary="List hypervisors", who="admin", answer=Hypervisors
)
def list_hypervisors(user: Person) -> dict[str, Any]:
    return {"items": hypervisors.list_hypervisors(user)}


@operation(
    "POST",
    "/hypervisors",
    tag=TAG,
    summary="Add a hypervisor",
    who="admin",
    body=NewHypervisor,
    answer=Hypervisor,
    status=201,
    refusals=(409,),
)
def add_hypervisor(user: Person, body: NewHypervisor) -> Reply:
    """The engine connects at once and reports each check it makes in `observed.checks`. With a
    `password` it first puts its key on the host, as `observed.enrolment` tells; a host key that is
    neither given nor named is then shown there, to be accepted by PATCH.
    """
    made = hypervisors.add_hypervisor(user, body.model_dump())
    return Reply(made, {"Location": url_for("api.get_hypervisor", hypervisor_id=made["id"])})


@operation(
    "GET",
    "/hypervisors/<hypervisor_id>",
    tag=TAG,
    summary="Read a hypervisor",
    who="admin",
    answer=Hypervisor,
)
def get_hypervisor(user: Person, hypervisor_id: str) -> dict[str, Any]:
    return hypervisors.get_hypervisor(user, hypervisor_id)


@operation(
    "PATCH",
    "/hypervisors/<hypervisor_id>",
    tag=TAG,
    summary="Wish a state, accept its key, or edit it",
    who="admin",
    body=ChangeHypervisor,
    answer=Hypervisor,
    status=202,
    refusals=(409,),
)
def change_hypervisor(user: Person, hypervisor_id: str, body: ChangeHypervisor) -> dict[str, Any]:
    """Wishing `enabled` again has the checks made again at once."""
    if body.desired is not None:
        state = HypervisorDesired(body.desired.state)
        return hypervisors.wish(user, hypervisor_id, state, force=body.desired.force)
    if body.host_key is not None:
        return hypervisors.accept_host_key(user, hypervisor_id, body.host_key)
    return hypervisors.edit_hypervisor(user, hypervisor_id, body.model_dump(exclude_unset=True))


@operation(
    "POST",
    "/hypervisors/<hypervisor_id>/enrol",
    tag=TAG,
    summary="Get the engine access with a one-time password",
    who="admin",
    body=EnrolHypervisor,
    answer=Hypervisor,
    status=202,
    refusals=(409,),
)
def enrol_hypervisor(user: Person, hypervisor_id: str, body: EnrolHypervisor) -> dict[str, Any]:
    """What comes of it is told in `observed.enrolment`."""
    return hypervisors.enrol_hypervisor(user, hypervisor_id, body.model_dump())


@operation(
    "DELETE",
    "/hypervisors/<hypervisor_id>",
    tag=TAG,
    summary="Delete a hypervisor",
    who="admin",
    answer=Hypervisor,
    status=202,
)
def delete_hypervisor(user: Person, hypervisor_id: str) -> dict[str, Any]:
    """It is emptied first, as by `maintenance`, and then its row goes. By force (wish `deleted`
    with `force`) its desktops are powered off, or given up where the host is dead.
    """
    return hypervisors.wish(user, hypervisor_id, HypervisorDesired.DELETED)


@operation(
    "POST",
    "/hypervisors/<hypervisor_id>/measure",
    tag=TAG,
    summary="Measure the speed of its storage",
    who="admin",
    answer=Hypervisor,
    status=202,
    refusals=(409,),
)
def measure_hypervisor(user: Person, hypervisor_id: str) -> dict[str, Any]:
    """A small file is written and read in each storage path, as soon as the host is connected. What
    comes of it is in `observed.speeds`.
    """
    return hypervisors.measure(user, hypervisor_id)


@operation(
    "GET",
    "/hypervisors/<hypervisor_id>/removal",
    tag=TAG,
    summary="What removing it touches",
    who="admin",
    answer=Removal,
)
def read_removal(user: Person, hypervisor_id: str) -> dict[str, Any]:
    """Nothing of it is changed by removing the hypervisor: it is told so that a person can."""
    return removal.describe_removal(user, hypervisor_id)


@operation(
    "GET",
    "/hypervisors/<hypervisor_id>/stop",
    tag=TAG,
    summary="How many desktops stopping would ask",
    who="admin",
    answer=StopCounts,
)
def count_stopping(user: Person, hypervisor_id: str) -> dict[str, Any]:
    """Of those on it now, also such as are being started there."""
    return stopping.count(user, hypervisor_id)


@operation(
    "POST",
    "/hypervisors/<hypervisor_id>/stop",
    tag=TAG,
    summary="Stop the desktops on it, all or those nobody watches",
    who="admin",
    body=StopDesktops,
    answer=Stopped,
    status=202,
)
def stop_desktops(user: Person, hypervisor_id: str, body: StopDesktops) -> dict[str, Any]:
    """Each is wished `stopped`: asked to shut down, powered off if it does not obey in time, and
    left so. With `unwatched` a desktop stays where somebody has its screen open, or where that is
    not known.
    """
    unwatched_only = body.which == "unwatched"
    return stopping.stop(user, hypervisor_id, unwatched_only=unwatched_only)
