"""What a refused request looks like: problem+json for programs, a page for people.

Services raise `Problem` (or the kernel's NotFound and Conflict) with a one-word reason and a
sentence; the handlers here give it its form. An error nobody foresaw becomes a 500 whose text says
nothing but the request's number, under which the log has the rest.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, g, jsonify, render_template, request
from pydantic import ValidationError
from rethinkdb.errors import ReqlError
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from db.errors import (
    Conflict,
    DatabaseCannotWrite,
    DatabaseUnavailable,
    IsardError,
    NotFound,
    SchemaError,
)
from db.logs import get_logger
from db.sentences import explain

log = get_logger(__name__)

PROBLEM_JSON = "application/problem+json"

REASONS = {
    400: "BadRequest",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "TooLarge",
    415: "UnsupportedMediaType",
}


class Problem(IsardError):
    """A request that is refused. `reason` is one word for programs, `detail` a sentence for a
    person.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        field: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail = status, reason, detail
        self.field, self.headers = field, headers or {}


def not_found(what: str) -> Problem:
    return Problem(404, "NotFound", f"There is no such {what}.")


def invalid(error: ValidationError, below: str = "") -> Problem:
    """422 for the first thing that is wrong, naming its field as the client wrote it. `below`: the
    field in which what was judged lies.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    parts = [*([below] if below else []), *(str(part) for part in first["loc"])]
    field = ".".join(parts) or "body"
    text = f"The field {field!r} is wrong: {explain(first)}."
    return Problem(422, "InvalidField", text, field=field)


def install_handlers(app: Flask) -> None:
    app.register_error_handler(Problem, _answer)
    app.register_error_handler(
        NotFound, lambda error: _answer(Problem(404, "NotFound", str(error)))
    )
    app.register_error_handler(Conflict, _from_conflict)
    app.register_error_handler(DatabaseUnavailable, _from_database)
    app.register_error_handler(SchemaError, _from_database)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(Exception, _from_bug)


def wants_json() -> bool:
    return request.path.startswith("/api/") or request.path == "/healthz"


def _from_conflict(error: Conflict) -> Response:
    return _answer(Problem(409, error.reason, str(error)))


def _from_database(error: IsardError) -> Response:
    log.warning("database_unavailable", error=str(error))
    if isinstance(error, DatabaseCannotWrite):
        return _answer(
            Problem(503, "DatabaseCannotWrite", str(error), headers={"Retry-After": "10"})
        )
    text = "The database does not answer just now. Try again in a moment."
    return _answer(Problem(503, "DatabaseUnavailable", text, headers={"Retry-After": "2"}))


def _from_http(error: HTTPException) -> Response:
    if error.response is not None or (error.code or 500) < 400:
        return error.get_response()  # type: ignore[return-value]
    status = error.code or 500
    allow = dict(error.get_headers()).get("Allow")
    return _answer(
        Problem(
            status,
            REASONS.get(status, HTTP_STATUS_CODES.get(status, "Error").replace(" ", "")),
            error.description or HTTP_STATUS_CODES.get(status, "Error"),
            headers={"Allow": allow} if allow else None,
        )
    )


def _from_bug(error: Exception) -> Response:
    kind = "database_error" if isinstance(error, ReqlError) else "request_failed"
    log.error(kind, exc_info=error, request_id=g.get("request_id"))
    text = f"Something went wrong here. The log has it under {g.get('request_id', '-')}."
    return _answer(Problem(500, "InternalError", text))


def _answer(problem: Problem) -> Response:
    title = HTTP_STATUS_CODES.get(problem.status, "Error")
    if wants_json():
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": title,
            "status": problem.status,
            "detail": problem.detail,
            "reason": problem.reason,
        }
        if problem.field:
            body["field"] = problem.field
        response = jsonify(body)
        response.content_type = PROBLEM_JSON
    else:
        response = Response(_page(problem, title), content_type="text/html; charset=utf-8")
    response.status_code = problem.status
    response.headers.extend(problem.headers)
    return response


def _page(problem: Problem, title: str) -> str:
    """`error.html`, which asks nothing of the database: that may be what failed."""
    return render_template(
        "error.html",
        status=problem.status,
        title=title,
        reason=problem.reason,
        message=problem.detail,
    )
