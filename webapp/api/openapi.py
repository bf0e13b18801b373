"""The OpenAPI 3.1 document, written from the declared operations and their models.

Served at /api/v1/openapi.json to anyone: it says nothing about this installation. A test walks
every route of the application below /api and finds it here.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from flask import Response, jsonify
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.http import HTTP_STATUS_CODES

from webapp.api.answers import ProblemDetails
from webapp.api.operations import OPERATIONS, PREFIX, Operation, operation
from webapp.errors import PROBLEM_JSON

REF = "#/components/schemas/{model}"


@operation("GET", "/openapi.json", tag="About", summary="This document", who="anyone")
def get_openapi() -> Response:
    return jsonify(document())


@cache
def document() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for described in OPERATIONS:
        path = PREFIX + re.sub(r"<(\w+)>", r"{\1}", described.path)
        paths.setdefault(path, {})[described.method.lower()] = _operation(described)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "IsardVDI",
            "version": "1",
            "description": "Virtual desktops: the same actions the pages offer. "
            f"Refusals are {PROBLEM_JSON} with a `reason`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "isard_session",
                    "description": "Our own pages' session (the name ends in the port); unsafe "
                    "methods also need the header X-CSRF-Token.",
                },
            },
        },
    }


def _schemas() -> dict[str, Any]:
    models: set[type[BaseModel]] = {ProblemDetails}
    for described in OPERATIONS:
        models |= {model for model in (described.body, described.answer) if model}
    wanted = [(model, "validation") for model in sorted(models, key=lambda item: item.__name__)]
    _, schemas = models_json_schema(wanted, ref_template=REF)  # type: ignore[arg-type]
    return dict(schemas["$defs"])


def _operation(described: Operation) -> dict[str, Any]:
    written: dict[str, Any] = {
        "operationId": described.name,
        "summary": described.summary,
        "tags": [described.tag],
        "security": [] if described.who == "anyone" else [{"token": []}, {"session": []}],
        "responses": _responses(described),
    }
    if described.description:
        written["description"] = described.description
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"<(\w+)>", described.path)
    ]
    if described.query is not None:
        parameters += [
            {"name": name, "in": "query", "schema": schema}
            for name, schema in described.query.model_json_schema()["properties"].items()
        ]
    if parameters:
        written["parameters"] = parameters
    if described.takes is not None:
        written["requestBody"] = {"required": True, "content": {described.takes: {}}}
    if described.body is not None:
        schema = {"$ref": REF.format(model=described.body.__name__)}
        written["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return written


def _responses(described: Operation) -> dict[str, Any]:
    good: dict[str, Any] = {"description": HTTP_STATUS_CODES[described.status]}
    if described.answer is not None:
        schema: dict[str, Any] = {"$ref": REF.format(model=described.answer.__name__)}
        good["content"] = {described.media_type: {"schema": schema}}
    elif described.status != 204:
        binary = described.media_type != "application/json"
        good["content"] = {described.media_type: {"schema": {} if binary else {"type": "object"}}}
    problem = {PROBLEM_JSON: {"schema": {"$ref": REF.format(model="ProblemDetails")}}}
    return {str(described.status): good} | {
        str(status): {"description": HTTP_STATUS_CODES[status], "content": problem}
        for status in described.refusals
    }
