"""Operations of the API: each declares who may call it, what it takes and what it answers.

`@operation` makes a Flask route that finds the person, reads and judges the body, calls the
function and answers JSON; the same declaration is what `openapi` writes down. So no route is
undescribed, and no body reaches a service unjudged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ValidationError

from webapp.auth.guards import require_admin, require_user
from webapp.errors import Problem, invalid

PREFIX = "/api/v1"

blueprint = Blueprint("api", __name__, url_prefix=PREFIX)

Who = Literal["anyone", "user", "admin"]


@dataclass(frozen=True)
class Operation:
    name: str
    method: str
    path: str
    """As Flask writes it, below PREFIX."""
    summary: str
    description: str
    tag: str
    who: Who
    query: type[BaseModel] | None
    """The parameters after `?`, each optional or with a default."""
    body: type[BaseModel] | None
    takes: str | None
    """The media type of a body that is no JSON: the function reads it as it comes."""
    answer: type[BaseModel] | None
    status: int
    media_type: str
    refusals: tuple[int, ...]


OPERATIONS: list[Operation] = []


@dataclass(frozen=True)
class Reply:
    """An answer with headers of its own."""

    payload: dict[str, Any]
    headers: dict[str, str]


def operation(
    method: str,
    path: str,
    *,
    tag: str,
    summary: str,
    who: Who = "user",
    query: type[BaseModel] | None = None,
    body: type[BaseModel] | None = None,
    takes: str | None = None,
    answer: type[BaseModel] | None = None,
    status: int = 200,
    media_type: str = "application/json",
    refusals: tuple[int, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The function is called with `user` (unless anyone may call), `query` and `body` (if declared)
    and the path's parameters.
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        described = Operation(
            name=function.__name__,
            method=method,
            path=path,
            summary=summary,
            description=" ".join((function.__doc__ or "").split()),
            tag=tag,
            who=who,
            query=query,
            body=body,
            takes=takes,
            answer=answer,
            status=status,
            media_type=media_type,
            refusals=_refusals(who, path, (query, body), refusals),
        )
        OPERATIONS.append(described)
        blueprint.add_url_rule(
            path, function.__name__, _view(described, function), methods=[method]
        )
        return function

    return declare


def read_body(model: type[BaseModel]) -> BaseModel:
    """The request's JSON as `model`. Raises 415, 400 for what is no JSON, 422 naming the field."""
    if not request.is_json:
        raise Problem(
            415, "UnsupportedMediaType", "Send JSON, with Content-Type: application/json."
        )
    try:
        value = orjson.loads(request.get_data(cache=False))
    except orjson.JSONDecodeError as error:
        raise Problem(400, "MalformedJson", f"The body is not valid JSON: {error}.") from error
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error) from error


def read_query(model: type[BaseModel]) -> BaseModel:
    """What stands after `?` as `model`. Raises 422 naming the parameter."""
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise invalid(error) from error


def _view(described: Operation, function: Callable[..., Any]) -> Callable[..., Response]:
    def view(**parameters: Any) -> Response:
        if described.who == "admin":
            parameters["user"] = require_admin()
        elif described.who == "user":
            parameters["user"] = require_user()
        if described.query is not None:
            parameters["query"] = read_query(described.query)
        if described.body is not None:
            parameters["body"] = read_body(described.body)
        result = function(**parameters)
        if isinstance(result, Response):
            return result
        if result is None:
            return Response(status=described.status)
        reply = result if isinstance(result, Reply) else Reply(result, {})
        response = jsonify(reply.payload)
        response.status_code = described.status
        response.headers.extend(reply.headers)
        return response

    view.__doc__ = function.__doc__
    return view


def _refusals(
    who: Who,
    path: str,
    judged: tuple[type[BaseModel] | None, type[BaseModel] | None],
    more: tuple[int, ...],
) -> tuple[int, ...]:
    query, body = judged
    found = set(more) | {503}
    if who != "anyone":
        found |= {401} | ({403} if who == "admin" else set())
    if query is not None:
        found |= {422}
    if body is not None:
        found |= {400, 413, 415, 422}
    if "<" in path:
        found |= {404}
    return tuple(sorted(found))
