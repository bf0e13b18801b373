"""The main job, end to end: log in, make a desktop, start it, see its screen, stop, delete."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.conftest import log_in
from tests.e2e.product import Api, Product

# The colours of the demo guest's screen, as a text console of a PC shows them.
BLUE = (0, 0, 170)
BARS = {(170, 0, 0), (170, 85, 0), (0, 170, 0), (0, 170, 170), (170, 0, 170)}
STATE_TIMEOUT_MS = 60_000

READ_CANVAS = """() => {
  const canvas = document.querySelector("#screen canvas");
  if (!canvas || !canvas.width) return {};
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const counts = {};
  for (let i = 0; i < data.length; i += 4) {
    const key = [data[i], data[i + 1], data[i + 2]].join(",");
    counts[key] = (counts[key] || 0) + 1;
  }
  return counts;
}"""


def read_colours(page: Page) -> dict[tuple[int, ...], int]:
    """How many pixels of each colour the viewer's canvas shows."""
    counts: dict[str, int] = page.evaluate(READ_CANVAS)
    return {tuple(int(part) for part in key.split(",")): n for key, n in counts.items()}


def is_near(colour: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(colour, other, strict=True))


def shows_the_demo_screen(page: Page) -> bool:
    colours = read_colours(page)
    total = sum(colours.values()) or 1
    blue = sum(n for colour, n in colours.items() if is_near(colour, BLUE))
    bars = [bar for bar in BARS if any(is_near(colour, bar) for colour in colours)]
    return blue / total > 0.1 and len(bars) == len(BARS)


def wait_for_demo_screen(page: Page) -> None:
    for _ in range(60):
        if shows_the_demo_screen(page):
            return
        page.wait_for_timeout(500)
    raise AssertionError(f"the guest's screen never came: {list(read_colours(page).items())[:8]}")


def expect_state(page: Page, name: str, state: str) -> None:
    card = page.locator(f'.desktop:has(.desktop-name:text-is("{name}"))')
    expect(card).to_have_attribute("data-state", state, timeout=STATE_TIMEOUT_MS)


@pytest.mark.timeout(600)
def test_the_whole_path_in_two_browsers(
    product: Product,
    api: Api,
    chromium: Browser,
    contexts: list[BrowserContext],
    shots: Path,
) -> None:
    template = api.demo_template()
    page = log_in(chromium, contexts, product)
    watcher = log_in(chromium, contexts, product)

    # Make it, from the dialog; the other browser sees it appear and become ready by itself.
    page.get_by_role("button", name="New desktop").click()
    dialog = page.locator("#create")
    dialog.locator(f"input[value='{template['id']}']").check()
    dialog.get_by_label("Name").fill("My first desktop")
    dialog.get_by_role("button", name="Make it").click()
    for one in (page, watcher):
        expect_state(one, "My first desktop", "stopped")

    # Start it; both see it run, and a thumbnail of its screen comes.
    page.get_by_role("button", name="Start My first desktop").click()
    for one in (page, watcher):
        expect_state(one, "My first desktop", "started")
    thumbnail = page.locator(".desktop .screen-live")
    expect(thumbnail).to_be_visible(timeout=STATE_TIMEOUT_MS)
    page.screenshot(path=shots / "desktops.png")

    # Its screen in the browser: the guest's own pixels.
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open My first desktop").click()
    viewer = opened.value
    expect(viewer.locator("#viewer")).to_have_attribute(
        "data-screen", "on", timeout=STATE_TIMEOUT_MS
    )
    wait_for_demo_screen(viewer)
    viewer.screenshot(path=shots / "viewer.png")
    assert "token" not in viewer.url
    assert "password" not in viewer.url

    # Its own page: what it uses is drawn, the viewer is counted, and its history is told.
    watcher.get_by_role("link", name="My first desktop", exact=True).click()
    line = watcher.locator('[data-chart="cpu"] .chart-field path.chart-line').first
    expect(line).to_be_visible(timeout=STATE_TIMEOUT_MS)
    viewers = watcher.locator('[data-chart="viewers"] .chart-now')
    expect(viewers).to_contain_text("Viewers 1", timeout=STATE_TIMEOUT_MS)
    expect(watcher.locator(".event", has_text="It started")).to_be_visible()
    watcher.screenshot(path=shots / "desktop.png", full_page=True)
    watcher.go_back()
    expect_state(watcher, "My first desktop", "started")

    # What is typed reaches the guest: its own shell switches it off, and everybody sees that.
    viewer.locator("#screen canvas").click()
    viewer.keyboard.type("poweroff\n", delay=30)
    for one in (page, watcher):
        expect_state(one, "My first desktop", "stopped")
    expect(viewer.locator("#viewer")).to_have_attribute("data-screen", "off")
    viewer.close()

    # Again, and shut down from the page (ACPI), then delete it: nothing is left.
    page.get_by_role("button", name="Start My first desktop").click()
    expect_state(watcher, "My first desktop", "started")
    api.wait_for(api.get("/desktops")["items"][0]["id"], "started")
    page.get_by_role("button", name="Shut down My first desktop").click()
    for one in (page, watcher):
        expect_state(one, "My first desktop", "stopped")
    page.get_by_role("button", name="More for My first desktop").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.locator("#confirm-delete").get_by_role("button", name="Delete it").click()
    for one in (page, watcher):
        expect(one.locator("#desktops .desktop")).to_have_count(0, timeout=STATE_TIMEOUT_MS)
    assert product.storage_files() == []


def test_no_log_shows_a_ticket_or_a_password(product: Product, api: Api) -> None:
    row = api.create("Secretive")
    try:
        api.wait_for(row["id"], "stopped")
        api.wish(row["id"], "started")
        api.wait_for(row["id"], "started")
        answer = api.call("POST", f"/desktops/{row['id']}/viewer", {"kind": "browser"}).json()
        ticket = answer["url"].split("token=")[1]
        text = "".join(
            path.read_text(errors="replace") for path in (product.data / "logs").glob("*.log")
        )
        assert ticket not in text
        assert ticket.split(".")[2] not in text
        assert answer["password"] not in answer["url"]
        assert f"password={answer['password']}" not in text
        assert answer["password"] not in str(api.get(f"/desktops/{row['id']}"))
    finally:
        api.call("DELETE", f"/desktops/{row['id']}")
        api.wait_gone(row["id"])
