"""Media over REST: thin, see `webapp.services.media` and `uploads`."""

from __future__ import annotations

from typing import Any

from flask import Response, request, send_file, url_for

from db.states import MediaDesired
from webapp.api.media_shapes import (
    AllowedNetworks,
    AllowedSources,
    ChangeMedium,
    Media,
    Medium,
    MediumFile,
    NewMedium,
    OsProfiles,
    UploadProgress,
)
from webapp.api.operations import Reply, operation
from webapp.auth.permissions import Person
from webapp.errors import Problem
from webapp.services import deliveries, installs, media, sources, uploads

OFFSET = "Upload-Offset"


@operation("GET", "/media", tag="Media", summary="List media", answer=Media)
def list_media(user: Person) -> dict[str, Any]:
    """Mine and those shared with me; everybody's for administrators."""
    return {"items": media.list_media(user)}


@operation(
    "POST",
    "/media",
    tag="Media",
    summary="Add a medium by its address, or one to be uploaded",
    body=NewMedium,
    answer=Medium,
    status=201,
    refusals=(403,),
)
def add_medium(user: Person, body: NewMedium) -> Reply:
    """For advanced users. With an address the download begins at once; an upload is sent in pieces
    with PUT /media/{media_id}/upload.
    """
    made = media.add_medium(user, body.as_fields())
    return Reply(made, {"Location": url_for("api.get_medium", media_id=made["id"])})


@operation("GET", "/os-profiles", tag="Media", summary="List system profiles", answer=OsProfiles)
def list_os_profiles(user: Person) -> dict[str, Any]:
    """Which hardware suits which system: for `os` of a desktop made from a medium."""
    return {"items": installs.list_profiles()}


@operation("GET", "/media/<media_id>", tag="Media", summary="Read a medium", answer=Medium)
def get_medium(user: Person, media_id: str) -> dict[str, Any]:
    return media.get_medium(user, media_id)


@operation(
    "PATCH",
    "/media/<media_id>",
    tag="Media",
    summary="Wish a state, or change name, description and sharing",
    body=ChangeMedium,
    answer=Medium,
    status=202,
    refusals=(403, 409),
)
def change_medium(user: Person, media_id: str, body: ChangeMedium) -> dict[str, Any]:
    """`available` downloads it (again), `absent` calls a download off, `deleted` removes it."""
    if body.desired is not None:
        return media.wish_state(user, media_id, MediaDesired(body.desired.state))
    changes = body.model_dump(exclude_unset=True)
    if body.allowed is not None:
        changes["allowed"] = body.allowed.model_dump()
    return media.edit(user, media_id, changes)


@operation(
    "DELETE",
    "/media/<media_id>",
    tag="Media",
    summary="Delete a medium",
    answer=Medium,
    status=202,
    refusals=(403, 409),
)
def delete_medium(user: Person, media_id: str) -> dict[str, Any]:
    """Refused while a desktop or template has it in a drive."""
    return media.wish_state(user, media_id, MediaDesired.DELETED)


@operation(
    "GET",
    "/media/<media_id>/upload",
    tag="Media",
    summary="How much of an upload is here",
    answer=UploadProgress,
    refusals=(403, 409),
)
def get_upload(user: Person, media_id: str) -> dict[str, Any]:
    return uploads.progress_of(media.find_own(user, media_id))


@operation(
    "PUT",
    "/media/<media_id>/upload",
    tag="Media",
    summary="Send the next piece of an upload",
    takes="application/octet-stream",
    answer=UploadProgress,
    refusals=(403, 409, 411, 413, 422),
)
def put_upload(user: Person, media_id: str) -> dict[str, Any]:
    """The header `Upload-Offset` says where in the file the piece begins: where the last answer's
    `offset` was. Pieces have up to 64 MiB; after the last one the medium becomes available. Where
    that went wrong, or was called off, an empty piece at the end has it done again.
    """
    row = media.find_own(user, media_id)
    text = request.headers.get(OFFSET, "")
    if not text.isdigit() or len(text) > 18:
        raise Problem(422, "InvalidField", f"Say in {OFFSET} where the piece begins.", field=OFFSET)
    if request.content_length is None:
        raise Problem(411, "LengthRequired", "Say how long the piece is (Content-Length).")
    request.max_content_length = uploads.PIECE_MAX_BYTES
    return uploads.receive(user, row, int(text), request.content_length, request.stream)


@operation(
    "GET",
    "/downloads",
    tag="Media",
    who="admin",
    summary="Read which networks inside are fetched from",
    answer=AllowedSources,
)
def get_allowed_sources(user: Person) -> dict[str, Any]:
    return sources.read_allowed(user)


@operation(
    "PUT",
    "/downloads",
    tag="Media",
    who="admin",
    summary="Say which networks inside are fetched from",
    body=AllowedNetworks,
    answer=AllowedSources,
)
def set_allowed_sources(user: Person, body: AllowedNetworks) -> dict[str, Any]:
    """Public addresses need no mention. Counts from the next download on."""
    return sources.set_allowed(user, body.allow)


@operation(
    "POST",
    "/media/<media_id>/file",
    tag="Media",
    summary="Have its file brought here, to be saved",
    answer=MediumFile,
    status=202,
    refusals=(403, 409),
)
def bring_medium_file(user: Person, media_id: str) -> dict[str, Any]:
    """For its owner and administrators. Its disk host sends the file to this server, as `task`
    tells; when `ready`, or when the task is done, it is at `url` for a day. Asking again orders
    nothing twice.
    """
    return deliveries.bring(user, media_id)


@operation(
    "GET",
    "/media/<media_id>/file",
    tag="Media",
    summary="Save its file",
    media_type="application/octet-stream",
    refusals=(403, 409, 416),
)
def get_medium_file(user: Person, media_id: str) -> Response:
    """After POST has brought it here. In part where asked (Range)."""
    path, name = deliveries.find_file(user, media_id)
    answer = send_file(
        path,
        mimetype="application/octet-stream",
        as_attachment=True,
        download_name=name,
        conditional=True,
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer
