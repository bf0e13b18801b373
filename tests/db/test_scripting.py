"""docs/scripting.md promises; here its script runs as it stands, on the product's tables."""

from __future__ import annotations

import re
import runpy
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from db import observed
from db.connection import Database, r
from tests.servers import ROOT

PAGE = (ROOT / "docs" / "scripting.md").read_text()


def take_script() -> str:
    found = re.search(r"```python whole-script\n(.*?)```", PAGE, re.DOTALL)
    assert found, "the whole script is in docs/scripting.md"
    return found[1]


@pytest.fixture
def script(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "script.py"
    path.write_text(take_script())
    return runpy.run_path(str(path))


@pytest.fixture
def a_class(database: Database) -> list[str]:
    """Three desktops of class-1A and one of another class, as the web UI makes them."""
    for user in ("ana", "ben"):
        database.run(r.table("users").insert({"id": user, "name": user.title()}))
    rows = [
        {
            "id": str(uuid.uuid4()),
            "kind": "desktop",
            "name": f"Desktop {number}",
            "user": "ana" if number % 2 else "ben",
            "group": "class-1A" if number < 3 else "class-2B",
            "category": "default",
            "desired": {"state": "stopped", "at": r.now()},
            "observed": {"state": "stopped"},
        }
        for number in range(4)
    ]
    database.run(r.table("domains").insert(rows))
    return [row["id"] for row in rows]


def carry_out(database: Database, ids: list[str], failing: str) -> None:
    """What the engine does with these wishes, as far as the script can see."""
    for domain_id in ids:
        seen: dict[str, Any] = {"state": "started"}
        if domain_id == failing:
            seen = {"state": "stopped", "failure": {"reason": "StartFailed", "terminal": True}}
        observed.write_observed(database, "domains", domain_id, seen, epoch=1)


def test_the_script_has_about_forty_lines() -> None:
    lines = [line for line in take_script().splitlines() if line.strip()]
    assert 35 <= len(lines) <= 42


def test_the_script_starts_a_class_follows_it_and_reports(
    database: Database,
    a_class: list[str],
    script: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    conn = database.connect()
    assert script["start_class"](conn, "class-1A") == 3
    engine = threading.Timer(0.3, carry_out, (database, a_class[:3], a_class[2]))
    engine.start()
    failed = script["follow_until_done"](conn, "class-1A", timeout=20)
    engine.join(10)
    assert failed == {a_class[2]}
    out = capsys.readouterr().out
    assert "Desktop 0 runs" in out
    assert "Desktop 2 failed" in out
    counts, owners = script["report"](conn)
    assert counts == {
        ("class-1A", "started"): 2,
        ("class-1A", "stopped"): 1,
        ("class-2B", "stopped"): 1,
    }
    assert owners == ["Ana: Desktop 1", "Ben: Desktop 0"]
    other = database.run(r.table("domains").get(a_class[3]))
    assert other["desired"]["state"] == "stopped"
    conn.close(noreply_wait=False)
