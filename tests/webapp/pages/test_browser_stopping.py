"""Stopping what runs on a hypervisor, from its page in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from playwright.sync_api import expect

from db.connection import r
from db.states import Condition
from tests.servers import wait_until
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site, wait_live


def seen(site: Site, name: str, viewers: int) -> dict[str, Any]:
    """A running desktop of hyper-1 with so many viewers."""
    row = rows.desktop(name, Condition.STARTED)
    stats = {"id": row["id"], "hypervisor": "hyper-1", "viewers": viewers, "at": datetime.now(UTC)}
    site.insert("domains", row)
    site.insert("domain_stats", stats)
    return row


def wish_of(site: Site, row: dict[str, Any]) -> str:
    return str(site.run(r.table("domains").get(row["id"])["desired"]["state"]))


def test_what_nobody_watches_is_stopped_and_then_all(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor("hyper-1"))
    page = site.log_in("root")
    site.open(page, "/admin/hypervisors/hyper-1")
    wait_live(page)
    stop_all = page.get_by_role("button", name="Stop all desktops")
    stop_some = page.get_by_role("button", name="Stop those nobody watches")
    expect(stop_all).to_be_hidden()
    alone, watched, other = (seen(site, name, at) for at, name in enumerate(("A", "B", "C")))
    expect(page.get_by_role("link", name="C", exact=True)).to_be_visible()
    stop_some.click()
    question = page.get_by_role("alertdialog", name="Stop those nobody watches?")
    expect(question).to_contain_text("1 desktop on hyper-1, whose screen nobody has open")
    question.get_by_role("button", name="Leave them").click()
    assert wish_of(site, alone) == "started"
    stop_some.click()
    question.get_by_role("button", name="Stop them").click()
    expect(page.get_by_text("Asked to stop: 1. Still to be up: 2.")).to_be_visible()
    assert [wish_of(site, row) for row in (alone, watched, other)] == [
        "stopped",
        "started",
        "started",
    ]
    stop_some.click()
    expect(page.get_by_text("somebody watches each of them")).to_be_visible()
    stop_all.click()
    question = page.get_by_role("alertdialog", name="Stop all desktops?")
    expect(question).to_contain_text("2 desktops on hyper-1: each is asked to shut down")
    question.get_by_role("button", name="Stop them").click()
    wait_until(lambda: wish_of(site, other) == "stopped", 20, "all are wished stopped")
    for row in (alone, watched, other):
        site.run(r.table("domains").get(row["id"]).update({"observed": {"state": "stopped"}}))
    expect(stop_all).to_be_hidden()
