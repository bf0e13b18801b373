"""Who may see what: pure, no database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from db.states import Action, TaskKind
from webapp.auth.permissions import (
    Person,
    actions_for,
    can_order,
    can_see_desktop,
    can_use_template,
    is_shared,
)

ANA = Person("ana", "Ana", "user", "class-1A", "school")
ROOT = Person("root", "Root", "admin", "default", "default")
NOBODY = {"roles": False, "categories": False, "groups": False, "users": False}


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (NOBODY, False),
        ({**NOBODY, "roles": []}, True),
        ({**NOBODY, "roles": ["advanced"]}, False),
        ({**NOBODY, "roles": ["advanced", "user"]}, True),
        ({**NOBODY, "categories": ["school"]}, True),
        ({**NOBODY, "groups": ["class-1B"]}, False),
        ({**NOBODY, "groups": ["class-1A"]}, True),
        ({**NOBODY, "users": ["ana"]}, True),
        ({**NOBODY, "users": "ana"}, False),
        ({}, False),
        (None, False),
        ("everybody", False),
        ([], False),
        ({"roles": True}, False),
    ],
)
def test_sharing(allowed: object, expected: bool) -> None:
    assert is_shared(ANA, allowed) is expected
    assert can_use_template(ANA, {"kind": "template", "user": "x", "allowed": allowed}) is expected
    assert can_use_template(ROOT, {"kind": "template", "user": "x", "allowed": allowed})
    assert can_use_template(ANA, {"kind": "template", "user": "ana", "allowed": allowed})
    assert can_use_template(ANA, {"kind": "base", "user": "x", "allowed": allowed}) is expected
    assert not can_use_template(ANA, {"kind": "desktop", "user": "ana", "allowed": allowed})


@pytest.mark.parametrize(
    ("row", "hers"),
    [
        ({"kind": "desktop", "user": "ana"}, True),
        ({"kind": "desktop", "user": "ben"}, False),
        ({"kind": "desktop"}, False),
        ({"kind": "desktop", "user": ["ana"]}, False),
    ],
)
def test_desktops_are_seen_by_their_owner_and_administrators(
    row: dict[str, object], hers: bool
) -> None:
    assert can_see_desktop(ANA, row) is hers
    assert can_see_desktop(ROOT, row)
    assert not can_see_desktop(Person("", "", "user", "", ""), {"kind": "desktop", "user": ""})
    assert not can_see_desktop(ANA, {**row, "kind": "template", "user": "ana"})


def test_actions_are_those_of_the_condition_for_who_may_see_it() -> None:
    row = {
        "kind": "desktop",
        "user": "ana",
        "desired": {"state": "stopped"},
        "observed": {"state": "stopped", "for": {"state": "stopped", "at": None}},
    }
    assert Action.START in actions_for(ANA, row)
    assert Action.START in actions_for(ROOT, row)
    assert actions_for(Person("ben", "", "user", "", ""), row) == frozenset()


def test_an_owner_orders_what_the_role_makes_use_of() -> None:
    desktop, template = ({"kind": kind, "user": "ana"} for kind in ("desktop", "template"))
    advanced = replace(ANA, role="advanced")
    assert can_order(ANA, desktop, TaskKind.DUPLICATE)
    assert not can_order(ANA, desktop, TaskKind.EXPORT), "she could do nothing with the medium"
    assert can_order(advanced, desktop, TaskKind.EXPORT)
    assert can_order(advanced, template, TaskKind.DUPLICATE)
    assert not can_order(ANA, template, TaskKind.DUPLICATE), "of the days when she made templates"
    assert not can_order(advanced, desktop, TaskKind.MOVE)
    assert not can_order(advanced, {**desktop, "user": "ben"}, TaskKind.VERIFY)
    assert can_order(ROOT, template, TaskKind.MOVE)
