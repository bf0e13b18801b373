"""The doctor names what is wrong and what to do: on real parts, and for rows of every kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from db.schema import newest_version
from engine.doctor.findings import NOTE, OK, WRONG, Finding, judge
from engine.doctor.gathered import Gathered, KeyFile
from engine.doctor.report import as_json, as_text
from tests.engine.world import World

DISABLED = {"state": "disabled"}
HOST = {
    "id": "h1",
    "hostname": "10.0.0.5",
    "port": 22,
    "user": "root",
    "capabilities": {"hypervisor": True, "disk_operations": True},
    "pools": ["default"],
    "desired": {"state": "enabled"},
}


def gathered(**more: Any) -> Gathered:
    version = newest_version()
    known: dict[str, Any] = {"version": version, "newest": version, "is_moving": True}
    return Gathered("db:28015/isard", **{**known, "hypervisors": [HOST], **more})


def of(section: str, findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.level, one.message) for one in findings if one.section == section]


def test_a_database_that_is_away_leaves_the_rest_unsaid() -> None:
    findings = judge(Gathered("db:1/isard", problem="No answer."))
    assert [(one.section, one.level) for one in findings] == [("Database", WRONG)]


def test_a_schema_of_another_program_is_named_with_the_way_out() -> None:
    (older,) = [one for one in judge(gathered(version=0)) if one.section == "Database"]
    assert older.remedy == "Run `python -m db init`."
    (newer,) = [one for one in judge(gathered(version=10**6)) if one.section == "Database"]
    assert "newer program" in newer.remedy


def test_keys_must_be_there_and_closed() -> None:
    keys = (
        KeyFile("One", "/k/one", True, False),
        KeyFile("Two", "/k/two", True, True),
        KeyFile("Three", "/k/three", False, False),
    )
    levels = [level for level, _ in of("Keys", judge(gathered(keys=keys)))]
    assert levels == [OK, WRONG, WRONG]


def test_a_stuck_loop_is_named() -> None:
    loops = {"lease": {"healthy": True, "age_s": 1}, "feed-domains": {"age_s": 99}}
    findings = judge(gathered(lease={"holder": "a"}, ticks={"loops": loops}))
    assert (WRONG, "Has not moved for 99 seconds.") in of("Engine", findings)


def test_what_failed_of_media_and_orders_is_told_with_what_was_tried() -> None:
    failure = {"reason": "DownloadFailed", "message": "404.", "step": "curl", "command": "curl x"}
    failed = {"name": "ISO", "observed": {"state": "failed", "failure": failure}}
    findings = judge(gathered(media=[{"id": "m", **failed}], tasks=[{"id": "t", **failed}]))
    media, order = (one for one in findings if one.section in ("Media", "Orders"))
    assert (media.level, order.level) == (WRONG, NOTE)
    assert media.details == order.details == {"step": "curl", "command": "curl x"}
    assert media.remedy


def test_a_disabled_host_is_no_fault_and_an_unread_one_is() -> None:
    findings = judge(gathered(hypervisors=[{**HOST, "desired": DISABLED}]))
    assert of("Hypervisors", findings) == [(NOTE, "It is disabled.")]
    assert of("Hypervisors", judge(gathered()))[0][0] == WRONG


@pytest.mark.parametrize("nonsense", [None, 7, "x", ["x"], {"state": {"a": 1}}])
@pytest.mark.parametrize("key", ["observed", "desired", "checks", "paths", "name"])
def test_nonsense_in_a_row_stops_no_report(key: str, nonsense: Any) -> None:
    row = {"id": "b", "kind": "desktop", "name": "x", "desired": {"state": "stopped"}}
    seen = {"observed": {key: nonsense}}
    findings = judge(
        gathered(
            hypervisors=[{**HOST, **seen}, {**HOST, key: nonsense}],
            domains=[{**row, **seen}, {**row, key: nonsense}],
            pools=[{"id": "p", **seen}, {"id": "p", key: nonsense}],
            media=[{"id": "m", **seen}, {"id": "m", key: nonsense}],
            tasks=[{"id": "t", **seen}, {"id": "t", key: nonsense}],
            orphans=[{"id": "o", key: nonsense}],
            ticks={"loops": nonsense},
        )
    )
    assert as_text(findings)
    assert json.loads(as_json(findings))["findings"]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as running:
        running.template = running.add_template()
        yield running


def ask(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine", "doctor", *words],
        env={**os.environ, **world.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_all_is_well_where_it_is(world: World) -> None:
    (world.data / "ssh" / "id_ed25519").chmod(0o600)

    # The pool's own report may come a moment after the host's.
    deadline = time.monotonic() + 120
    while (asked := ask(world)).returncode != 0 and time.monotonic() < deadline:
        time.sleep(0.5)
    text = asked.stdout
    assert asked.returncode == 0, text
    assert "ok     h1: Online" in text
    assert "1 are as they were wished." in text
    assert "Nothing wrong" in text


def test_a_reader_that_has_read_enough_is_shown_no_fault(world: World) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        asked = subprocess.run(
            [sys.executable, "-m", "engine", "doctor"],
            env={**os.environ, **world.environment},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writing)
    assert asked.stderr == ""


def test_a_failed_desktop_is_explained_as_on_its_page_and_goes_on_once_mended(
    world: World,
) -> None:
    desktop = world.add_desktop(world.template)
    disk = world.disk_of(desktop)
    away = disk.with_suffix(".away")
    disk.rename(away)
    world.wish(desktop, "started")
    failure = world.wait_failure(desktop, "DiskMissing")
    asked = ask(world, "--json")
    assert asked.returncode == 1
    report = json.loads(asked.stdout)
    assert report["ok"] is False
    (found,) = [one for one in report["findings"] if desktop in one["subject"]]
    assert found["message"] == failure["message"]
    assert "from a backup" in found["remedy"]
    assert found["details"]["step"] == failure["step"]
    away.rename(disk)
    world.wish(desktop, "started")  # what the button "Try again" writes
    world.wait_for(desktop, "started")
    assert desktop not in ask(world).stdout


def test_a_broken_host_is_named_with_its_check_and_remedy_also_without_an_engine(
    world: World,
) -> None:
    world.host.crash()

    def is_told() -> bool:
        return "h1: " in ask(world).stdout and "WRONG  h1" in ask(world).stdout

    world.wait_until(is_told, "the host's failed check", timeout_s=90.0)
    text = ask(world).stdout
    assert "What to do: " in text[text.index("WRONG  h1") :]
    world.engine.stop()
    asked = ask(world)
    assert asked.returncode == 1
    assert "No engine is at work" in asked.stdout
    assert "WRONG  h1" in asked.stdout
