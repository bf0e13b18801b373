"""What the tests of the API's desktops ask for, and the problem they expect."""

from __future__ import annotations

from typing import Any

from tests.webapp.conftest import Api


def create(api: Api, template_id: str, name: str = "Mine", **more: Any) -> Any:
    return api("POST", "/desktops", {"name": name, "origin": {"template": template_id}, **more})


def patch_state(api: Api, desktop_id: str, state: str, **more: Any) -> Any:
    return api("PATCH", f"/desktops/{desktop_id}", {"desired": {"state": state, **more}})


def assert_problem(answer: Any, status: int, reason: str, field: str | None = None) -> None:
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.content_type == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["reason"] == reason
    assert answer.json["detail"]
    assert answer.json.get("field") == field
