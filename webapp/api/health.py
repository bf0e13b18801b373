"""/healthz: for those who watch over the installation. Needs no login and tells no secrets."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from webapp.extensions import backend
from webapp.services import health

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    found = health.check(backend().database, backend().lease_watch)
    body = {"status": "ok" if found.is_well else "unavailable", "missing": list(found.missing)}
    response = jsonify({**body, "message": found.message} if found.message else body)
    response.status_code = 200 if found.is_well else 503
    return response
