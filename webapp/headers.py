"""What every answer carries, and the line the log gets about it.

The content security policy allows our own scripts and styles alone (nothing inline) and websockets
to ourselves and to the hypervisors' viewer proxies. The log line names method, path, status and
duration, never a query string, header or body.
"""

from __future__ import annotations

import secrets
import time

from flask import Flask, Response, g, request

from db.logs import get_logger
from webapp.metrics import metrics
from webapp.viewers import origins

log = get_logger(__name__)

FIXED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""Those the metrics have series of; whatever else somebody invents is counted as `other`."""

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; connect-src {connect}"
)


def install(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_secure)
    app.after_request(_log)


def _begin() -> None:
    g.request_id = secrets.token_hex(6)
    g.begun_s = time.monotonic()


def _secure(response: Response) -> Response:
    for name, value in FIXED.items():
        response.headers.setdefault(name, value)
    is_page = response.mimetype == "text/html"
    connect = origins.for_page() if is_page and response.status_code < 400 else ["'self'"]
    response.headers.setdefault("Content-Security-Policy", POLICY.format(connect=" ".join(connect)))
    if request.endpoint != "static" and "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response


def _log(response: Response) -> Response:
    if request.endpoint == "static" or request.path in ("/healthz", "/metrics"):
        return response
    person = g.get("person")
    took_s = time.monotonic() - g.get("begun_s", time.monotonic())
    route = str(request.url_rule) if request.url_rule else "none"
    method = request.method if request.method in METHODS else "other"
    metrics().requests.labels(method, route, str(response.status_code)).observe(took_s)
    log.info(
        "request",
        request_id=g.get("request_id"),
        method=request.method,
        path=request.path[:200],
        status=response.status_code,
        user=person.id if person else None,
        duration_ms=round(took_s * 1000, 1),
    )
    return response
