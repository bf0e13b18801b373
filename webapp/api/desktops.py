"""Desktops over REST: thin, see `webapp.services.desktops`."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from db.states import Desired
from webapp.api.answers import Desktop, Desktops, Viewer
from webapp.api.operations import Reply, operation
from webapp.api.requests import ChangeDesktop, NewDesktop, OpenViewer
from webapp.auth.permissions import Person
from webapp.errors import not_found
from webapp.services import desktops, installs, placements, thumbnails
from webapp.viewers import browser, origins


@operation("GET", "/desktops", tag="Desktops", summary="List desktops", answer=Desktops)
def list_desktops(user: Person) -> dict[str, Any]:
    """My own; everybody's for administrators."""
    return {"items": desktops.list_desktops(user)}


@operation(
    "POST",
    "/desktops",
    tag="Desktops",
    summary="Make a desktop from a template or a medium",
    body=NewDesktop,
    answer=Desktop,
    status=201,
    refusals=(403, 409),
)
def create_desktop(user: Person, body: NewDesktop) -> Reply:
    """It is stopped at first. Its disks are made while it is `creating`; it may be wished started
    meanwhile.
    """
    if body.origin.template is not None:
        made = desktops.create_desktop(
            user, body.name, body.origin.template, body.description, body.icon
        )
    else:
        fields = body.model_dump(exclude_none=True, exclude={"origin"})
        origin = body.origin.model_dump(exclude_none=True)
        made = installs.create_from_media(user, {**fields, **origin})
    return Reply(made, {"Location": url_for("api.get_desktop", desktop_id=made["id"])})


@operation(
    "GET", "/desktops/<desktop_id>", tag="Desktops", summary="Read a desktop", answer=Desktop
)
def get_desktop(user: Person, desktop_id: str) -> dict[str, Any]:
    return desktops.get_desktop(user, desktop_id)


@operation(
    "PATCH",
    "/desktops/<desktop_id>",
    tag="Desktops",
    summary="Wish a state, or change the desktop",
    body=ChangeDesktop,
    answer=Desktop,
    status=202,
    refusals=(403, 409),
)
def change_desktop(user: Person, desktop_id: str, body: ChangeDesktop) -> dict[str, Any]:
    """`{"desired": {"state": "started"}}` starts it: the answer says what is wished, `observed`
    follows. Repeating a wish that is under way changes nothing; a failed one is tried again.
    """
    if body.desired is not None:
        state = Desired(body.desired.state)
        return desktops.wish_state(user, desktop_id, state, force=body.desired.force)
    if body.spec is not None:
        drives = [drive.model_dump() for drive in body.spec.media]
        return installs.change_drives(user, desktop_id, drives)
    if body.placement is not None:
        return placements.place(user, desktop_id, body.placement.model_dump(exclude_unset=True))
    if body.networks is not None:
        return placements.connect(user, desktop_id, body.networks)
    return desktops.edit(user, desktop_id, body.model_dump(exclude_unset=True))


@operation(
    "DELETE",
    "/desktops/<desktop_id>",
    tag="Desktops",
    summary="Delete a desktop",
    answer=Desktop,
    status=202,
    refusals=(409,),
)
def delete_desktop(user: Person, desktop_id: str) -> dict[str, Any]:
    """Final: it is powered off, its disks are deleted, then its row."""
    return desktops.delete(user, desktop_id)


@operation(
    "POST",
    "/desktops/<desktop_id>/viewer",
    tag="Desktops",
    summary="Open its screen",
    body=OpenViewer,
    answer=Viewer,
    refusals=(409,),
)
def open_viewer(user: Person, desktop_id: str, body: OpenViewer) -> dict[str, Any]:
    """Connect a VNC client in the browser to `url` within half a minute."""
    return browser.open_viewer(
        user, desktop_id, host=origins.address_of_request(), is_secure=request.is_secure
    )


@operation(
    "GET",
    "/desktops/<desktop_id>/thumbnail",
    tag="Desktops",
    summary="Picture of its screen",
    media_type="image/png",
)
def get_thumbnail(user: Person, desktop_id: str) -> Response:
    """As last taken while somebody looked. 404 where there is none."""
    row = desktops.find(user, desktop_id)
    at = thumbnails.times_of([row["id"]]).get(row["id"])
    if at is None:
        raise not_found("thumbnail")
    response = Response(mimetype="image/png")
    response.set_etag(f"{at.timestamp():.3f}")
    response.headers["Cache-Control"] = "private, no-cache"
    if request.if_none_match.contains(response.get_etag()[0] or ""):
        response.status_code = 304
        return response
    png = thumbnails.read_png(row["id"])
    if png is None:
        raise not_found("thumbnail")
    response.set_data(png)
    return response
