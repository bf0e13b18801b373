"""What is wrong with a field is told in our words, whatever a person or a script wrote."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from db.rowcheck import check_hypervisor
from webapp.api.requests import NewHypervisor
from webapp.errors import invalid

GOOD: dict[str, Any] = {"id": "a", "hostname": "h", "desired": {"state": "enabled"}}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("id", "a b", "letters"),
        ("hostname", "http://h/", "IP address"),
        ("hostname", None, "text"),
        ("port", 0, "at least 1"),
        ("port", 65536, "at most 65535"),
        ("user", "root; id", "Linux user"),
        ("pools", "default", "a list"),
        ("desired", {"state": "on"}, "'enabled', 'disabled'"),
    ],
)
def test_a_wrong_row_is_explained(field: str, value: Any, said: str) -> None:
    problem = check_hypervisor({**GOOD, field: value})
    assert problem is not None
    assert problem.field.split(".")[0] == field
    assert said in problem.message
    assert "pattern" not in problem.message
    assert "Input" not in problem.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": ...}, "The field 'id' is wrong: it is missing."),
        ({"port": "22"}, "The field 'port' is wrong: it must be a whole number."),
        ({"description": "<b>"}, "the signs < and >"),
        ({"description": "x" * 1001}, "at most 1000 characters"),
        ({"pools": []}, "give at least 1 item."),
        ({"observed": {}}, "there is no such field"),
        ({"capabilities": 5}, "an object with fields"),
        ({"password": "x" * 1025}, "at most 1024 characters"),
    ],
)
def test_a_wrong_request_is_explained(change: dict[str, Any], said: str) -> None:
    body = {"id": "a", "hostname": "h", **change}
    body = {key: value for key, value in body.items() if value is not ...}
    with pytest.raises(ValidationError) as caught:
        NewHypervisor.model_validate(body)
    detail = invalid(caught.value).detail
    assert said in detail
    assert "xxxx" not in detail
