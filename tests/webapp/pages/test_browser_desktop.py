"""The page of one desktop in a real browser: charts, failure and history, live."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from db.connection import r
from db.states import Condition
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site, wait_live


def open_desktop(site: Site, desktop_id: str, user: str = "ana") -> Page:
    page = site.log_in(user)
    site.open(page, f"/desktops/{desktop_id}")
    wait_live(page)
    return page


def test_charts_draw_the_points_and_say_them_in_words_and_in_a_table(site: Site) -> None:
    desktop = rows.desktop("Robots", Condition.STARTED)
    site.insert("domains", desktop)
    site.insert("domain_windows", *rows.stats("domain", desktop["id"]))
    page = open_desktop(site, desktop["id"])
    chart = page.locator('[data-chart="cpu"]')
    expect(chart.locator(".chart-field path.chart-line").first).to_be_visible()
    assert chart.locator(".chart-field path.chart-line").count() == 2, "the pause is not bridged"
    expect(chart.locator(".chart-now")).to_have_text(re.compile(r"In use \d+(\.\d)? %"))
    expect(page.get_by_role("img", name="Memory")).to_be_visible()
    told = chart.locator("desc").text_content() or ""
    assert re.search(r"In use: .* now, .* on average, .* at most\.", told)
    chart.locator("summary").click()
    expect(chart.locator("tbody tr").first).to_be_visible()
    expect(chart.locator("thead th")).to_have_text(["Time", "In use"])
    box = chart.locator(".chart-field").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 30)
    expect(chart.locator(".chart-now")).to_contain_text(":")
    assert chart.locator(".chart-cursor:not([hidden])").count() == 1


def test_charts_are_live_and_follow_the_window_that_is_chosen(site: Site) -> None:
    desktop = rows.desktop("Robots", Condition.STARTED)
    site.insert("domains", desktop)
    page = open_desktop(site, desktop["id"])
    chart = page.locator('[data-chart="network"]')
    expect(chart.locator("[data-none]")).to_be_visible()
    site.insert("domain_windows", *rows.stats("domain", desktop["id"], minutes=1))
    expect(chart.locator(".chart-field path.chart-line")).to_have_count(2, timeout=30_000)
    page.get_by_role("radio", name="24 hours").check()
    expect(chart.locator("[data-none]")).to_be_visible()


def test_a_failure_tells_everything_to_an_administrator_and_what_helps_to_its_owner(
    site: Site,
) -> None:
    desktop = rows.desktop("Robots", Condition.FAILED)
    site.insert("domains", desktop)
    site.insert("events", *rows.history(desktop["id"]))
    page = open_desktop(site, desktop["id"], "root")
    failure = page.locator(".failure")
    for text in ("could not be started", "virDomainCreateXML", "Network not found: 'lab' <b>"):
        expect(failure).to_contain_text(text)
    expect(failure.locator(".remedy")).to_contain_text("Mend that, then try again.")
    events = page.locator(".event")
    expect(events).to_have_count(4)
    expect(events.first).to_contain_text("It failed")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page = open_desktop(site, desktop["id"])
    expect(page.locator(".failure .remedy")).to_contain_text("tell an administrator")
    expect(page.locator("body")).not_to_contain_text("virDomainCreateXML")


def test_the_page_follows_its_desktop_and_leaves_with_it(site: Site) -> None:
    desktop = rows.desktop("Robots", Condition.STOPPED)
    site.insert("domains", desktop)
    page = open_desktop(site, desktop["id"])
    expect(page.get_by_text("Nothing yet.")).to_be_visible()
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".title-row .badge")).to_have_text("Starting")
    expect(page.locator(".event").first).to_contain_text("A start was asked for")
    disk = {"id": "disk0", "size": 8 << 30}
    done = site.run(r.table("domains").get(desktop["id"])["desired"].pluck("state", "at"))
    site.observe(desktop["id"], state="started", disks=[disk], **{"for": done})
    expect(page.locator(".title-row .badge")).to_have_text("Running")
    expect(page.locator("table", has_text="disk0")).to_contain_text("8 GiB")
    expect(page.get_by_role("link", name="Open", exact=True)).to_be_visible()
    site.run(r.table("domains").get(desktop["id"]).delete())
    page.wait_for_url("**/desktops")
