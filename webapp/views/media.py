"""The page Media, and the way a disk host fetches what was uploaded."""

from __future__ import annotations

from flask import render_template, request, send_file
from werkzeug.wrappers import Response

from webapp.auth.guards import current_user, login_required
from webapp.services import deliveries, installs, media, sources, uploads
from webapp.views.pages import blueprint
from webapp.views.people import sharing_choices


@blueprint.get("/media", endpoint="media")
@login_required
def show_media() -> str:
    media.require_adding(current_user)
    allowed = sources.read_allowed(current_user)["allow"] if current_user.is_admin else []
    listed = media.list_media(current_user)
    return render_template(
        "media.html",
        media=listed,
        profiles=installs.list_profiles(),
        sources=allowed,
        people=sharing_choices(),
    )


@blueprint.get("/uploads/<media_id>")
def send_upload(media_id: str) -> Response:
    """For disk hosts alone, with a ticket of the engine's in the header; in part where asked."""
    path = uploads.open_for_host(media_id, request.headers.get("Authorization", ""))
    answer = send_file(path, mimetype="application/octet-stream", conditional=True, etag=False)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@blueprint.put("/deliveries/<task_id>", endpoint="take_delivery")
def take_delivery(task_id: str) -> Response:
    """From disk hosts alone, with a ticket of the engine's in the header."""
    request.max_content_length = deliveries.SIZE_MAX_BYTES
    ticket = request.headers.get("Authorization", "")
    deliveries.take(task_id, ticket, request.content_length, request.stream)
    return Response(status=204)
