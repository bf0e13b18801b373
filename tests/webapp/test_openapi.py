"""The OpenAPI document and the API are the same thing: walked by reflection."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from db import backup
from db.connection import r
from tests.webapp.conftest import Api, Rows
from tests.webapp.test_pools_api import pool_row
from tests.webapp.test_viewer_api import make_key
from webapp.api import answers
from webapp.api.operations import OPERATIONS, PREFIX
from webapp.settings import WebSettings


def test_every_route_of_the_api_is_described_and_nothing_else(app: Flask) -> None:
    document = app.test_client().get("/api/v1/openapi.json").json
    assert document["openapi"].startswith("3.1")
    described = {
        (path, method.upper()) for path, item in document["paths"].items() for method in item
    }
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == described


def test_every_reference_of_the_document_has_its_schema(app: Flask) -> None:
    document = app.test_client().get("/api/v1/openapi.json").json
    references = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert references <= set(document["components"]["schemas"])
    ids = [item["operationId"] for path in document["paths"].values() for item in path.values()]
    assert len(ids) == len(set(ids))
    for path, item in document["paths"].items():
        for described in item.values():
            named = {
                parameter["name"]
                for parameter in described.get("parameters", [])
                if parameter["in"] == "path"
            }
            assert named == set(re.findall(r"{(\w+)}", path))
            assert described["summary"]
            assert any(status.startswith("2") for status in described["responses"])


def test_every_declared_model_has_a_schema() -> None:
    models = {model for item in OPERATIONS for model in (item.body, item.answer) if model}
    assert models
    wanted: Any = [(model, "validation") for model in models]
    assert models_json_schema(wanted)


@pytest.mark.parametrize("odd", ["x" * 128, "a%00b", "%F0%9F%98%80" * 40])
def test_what_can_be_no_id_is_no_fault_of_ours(root: Api, odd: str) -> None:
    """The database refuses a whole query for such a key."""
    for described in OPERATIONS:
        if "<" not in described.path:
            continue
        path = re.sub(r"<\w+>", odd, described.path)
        answer = root(described.method, path, {} if described.body else None)
        assert 400 <= answer.status_code < 500, f"{described.method} {described.path}"


@pytest.mark.parametrize("odd", ["x" * 128, "a\x00b"])
def test_what_can_be_no_id_in_a_body_is_not_there(root: Api, odd: str) -> None:
    assert root("POST", "/orphans/removals", {"id": odd}).status_code == 404


OF_ADVANCED = frozenset(
    {
        "add_medium",
        "make_template",
        "change_template",
        "delete_template",
        "get_template_tree",
        "delete_template_tree",
        "import_medium",
        "order_of_template",
    }
)
"""What the role `user` may not do."""


@pytest.mark.parametrize("who", ["ana", "root"])
def test_every_answer_is_of_its_declared_shape(
    who: str, ana: Api, root: Api, rows: Rows, web_settings: WebSettings
) -> None:
    """Each operation is called; each answer validated against its model, where more is an error."""
    make_key(web_settings.ticket_keys_dir, "k1")
    api = ana if who == "ana" else root
    template, desktop = rows.template(user=who), rows.running(who)
    rows.hypervisor()
    check = {"name": "ssh", "title": "SSH", "ok": True, "message": "ok", "duration_ms": 3.5}
    rows.observe(
        "host-a",
        "hypervisors",
        state="online",
        checks=[check],
        info={"cpus": 4, "kvm": False, "nested": {"not": "plain"}},
        host_key_offered="ssh-ed25519 AAAAB",
        enrolment={"state": "failed", "message": "x", "reason": "PasswordRefused", "at": r.now()},
    )
    rows.put(
        "thumbnails", {"id": desktop["id"], "png": r.binary(b"\x89PNG\r\n\x1a\nx"), "at": r.now()}
    )
    failure = {"reason": "StartFailed", "message": "x", "terminal": False, "attempts": 2}
    failed = rows.desktop(who, name="failed")
    activity = {"name": "starting", "step": "define", "progress": 12.5}
    rows.observe(failed["id"], state="stopped", failure=failure, activity=activity)
    rows.put("hypervisors_pools", pool_row("spare"))
    rows.put("orphans", {"id": "host-a/x", "kind": "domain", "hypervisor": "host-a", "ours": True})
    values = {"template_id": template["id"], "desktop_id": desktop["id"], "hypervisor_id": "host-a"}
    task = {"id": str(uuid.uuid4()), "kind": "verify", "target": desktop["id"], "user": who}
    progress = {"percent": 3.5, "eta_s": 60}
    rows.put("tasks", {**task, "args": {}, "desired": {"state": "done"}})
    rows.observe(task["id"], "tasks", state="running", progress=progress, result={"ok": True})
    values |= {"task_id": task["id"]}
    alone = {"template_id": rows.template(user=who)["id"]}
    tree = api("GET", f"/templates/{alone['template_id']}/tree").json
    alone["version"] = tree.get("version", "none")
    image = {"id": str(uuid.uuid4()), "kind": "disk", "name": "image", "user": who}
    rows.put("media", image)
    there = rows.available(rows.medium(who)["id"], size=1)
    web_settings.deliveries.mkdir(parents=True)
    (web_settings.deliveries / there["id"]).write_bytes(b"x")
    web_settings.backups.mkdir()
    backup.backup(rows.database, web_settings.backups / "b1.jsonl", report=lambda _: None)
    for name in ("b1", "b2"):
        wish = {"state": "available", "at": None}
        made = {"state": "verified", "size": 7, "schema": 1, "rows": 2, "tables": 3, "for": wish}
        rows.put("backups", {"id": name, "desired": {"state": "available"}, "observed": made})
    values["backup_id"] = "b1"
    values_of = {
        "delete_backup": {"backup_id": "b2"},
        "try_backup": {"backup_id": "b2"},
        "delete_template": alone,
        "delete_template_tree": alone,
        "import_medium": {"media_id": image["id"]},
        "bring_medium_file": {"media_id": there["id"]},
        "get_medium_file": {"media_id": there["id"]},
    }
    entry = {"id": "haiku", "kind": "os_profile", "name": "Haiku", "version": "1"}
    offered = [{**entry, "profile": {"spec": {}}}]
    rows.put("config", {"id": "updates", "url": "https://127.0.0.1:1/c", "entries": offered})
    values["entry_id"] = "haiku"
    values["media_id"] = rows.medium(who, source={"upload": True, "size": 4})["id"]
    rows.put("interfaces", {"id": "spare"})
    values |= {"pool_id": "spare", "network_id": "spare"}
    bodies: dict[str, Any] = {
        "create_token": {"username": "ben", "password": "ben's long password"},
        "change_password": {"current_password": "wrong", "new_password": "long enough"},
        "create_desktop": {"name": "x", "origin": {"template": template["id"]}},
        "change_desktop": {"name": "y"},
        "make_template": {"name": "t", "origin": {"desktop": failed["id"]}},
        "change_template": {"name": "u", "spec": {"vcpus": 2}},
        "make_desktops": {"name": "z {n}", "count": 2, "origin": {"template": template["id"]}},
        "open_viewer": {"kind": "browser"},
        "order_of_desktop": {"kind": "flatten"},
        "order_of_template": {"kind": "flatten"},
        "import_medium": {"kind": "import", "args": {"name": "taken over"}},
        "add_hypervisor": {"id": "host-b", "hostname": "10.0.0.6"},
        "change_hypervisor": {"description": "z"},
        "enrol_hypervisor": {"password": "x"},
        "stop_desktops": {"which": "all"},
        "add_network": {"id": "new", "kind": "isolated"},
        "change_network": {"model": "e1000"},
        "add_pool": {"id": "new"},
        "change_pool": {"balancer": "weighted"},
        "remove_orphan": {"id": "host-a/x"},
        "set_catalogue": {"url": ""},
        "create_backup": {},
        "change_backup_schedule": {"every_hours": 6},
        "set_allowed_sources": {"allow": ["10.0.0.0/8"]},
        "add_medium": {"name": "x", "source": {"url": "http://h.example/x.iso"}},
        "change_medium": {"description": "z"},
    }
    late = (
        "try_backup",
        "delete_backup",
        "set_catalogue",
        "delete_desktop",
        "delete_hypervisor",
        "delete_medium",
        "delete_pool",
        "delete_network",
        "revoke_token",
    )
    ordered = sorted(
        OPERATIONS, key=lambda item: late.index(item.name) + 1 if item.name in late else 0
    )
    for item in ordered:
        named = values | values_of.get(item.name, {})
        path = re.sub(r"<(\w+)>", lambda found, named=named: named[found[1]], item.path)
        piece = {"data": b"1234", "headers": {"Upload-Offset": "0"}} if item.takes else {}
        answer = api(item.method, path, bodies.get(item.name), **piece)
        is_refused = (who != "root" and (item.who == "admin" or item.name in OF_ADVANCED)) or (
            item.name
            in (
                "change_password",  # a wrong password on purpose: the token is still needed
                "enrol_hypervisor",  # no engine is at work
            )
        )
        if is_refused:
            assert answer.status_code in item.refusals, item.name
            answers.ProblemDetails.model_validate(answer.json)
            continue
        assert answer.status_code == item.status, (item.name, answer.get_data(as_text=True))
        assert answer.mimetype == item.media_type or item.status == 204
        if item.answer is not None:
            validate(item.answer, answer.json)


def validate(model: type[BaseModel], value: Any) -> None:
    model.model_validate(value, strict=False)


def test_the_prefix_is_the_documented_one() -> None:
    assert PREFIX == "/api/v1"
