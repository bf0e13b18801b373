"""The web form: a host is added with its password, its key accepted, its checks seen."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.enrol.conftest import PASSWORD, Enrolling
from tests.servers import ManagedProcess, free_port
from tests.webapp.pages.conftest import CHROMIUM, Site, wait_live

WORK_MS = 60_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Closed before other tests open theirs: one process can drive only one at a time."""
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def site(enrolling: Enrolling, chromium: Browser) -> Iterator[Site]:
    world = enrolling.world
    port = str(free_port())
    environment = {**world.environment, "ISARD_WEB_PORT": port}
    log = world.folder / "webapp.log"
    process = ManagedProcess([sys.executable, "-m", "webapp"], log, environment)
    site = Site(world.database, f"http://127.0.0.1:{port}", process, chromium)
    site.start()
    yield site
    process.stop()


def test_a_host_is_added_from_the_form(enrolling: Enrolling, site: Site) -> None:
    e = enrolling
    page = site.log_in("root")
    site.open(page, "/admin/hypervisors")
    wait_live(page)
    page.get_by_role("button", name="Add a hypervisor").first.click()
    dialog = page.get_by_role("dialog", name="Add a hypervisor")
    dialog.get_by_label("Name", exact=True).fill("room-204")
    dialog.get_by_label("Address", exact=True).fill("127.0.0.1")
    dialog.get_by_label("SSH port").fill(str(e.fresh.ssh_port))
    password = dialog.get_by_label("Password, used once")
    assert password.get_attribute("autocomplete") == "off"
    assert password.get_attribute("type") == "password"
    password.fill(PASSWORD)
    dialog.get_by_label("Viewer port").fill(str(e.fresh.viewer_port))
    dialog.get_by_role("button", name="Add it").click()
    page.wait_for_url("**/admin/hypervisors/room-204")
    expect(page.get_by_text("Accept the host's key to go on", exact=True)).to_be_visible(
        timeout=WORK_MS
    )
    expect(page.locator("[data-fingerprint]")).to_have_text(e.fingerprint)
    assert e.authorized_keys() == []
    page.get_by_role("button", name="Accept this key").click()
    expect(page.locator("[data-access]")).to_contain_text("Access is set up", timeout=WORK_MS)
    expect(page.locator(".check-title").filter(has_text="Login")).to_be_visible(timeout=WORK_MS)
    expect(page.locator(".title-row .badge:visible")).to_have_text("Online", timeout=WORK_MS)
    assert e.orders() == []
    assert e.row("room-204")["host_key"] == e.fresh.host_key
