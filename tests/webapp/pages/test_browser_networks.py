"""The administrators' page of networks in a real browser."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import expect

from db.connection import r
from tests.webapp.pages.conftest import Site, wait_live


def network_row(site: Site, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = site.run(r.table("interfaces").get(name))
    return found


def test_a_network_is_added_edited_shared_and_removed(site: Site) -> None:
    page = site.log_in("root")
    site.open(page, "/admin/networks")
    wait_live(page)
    expect(page.locator('[data-id="default"]')).to_contain_text("Everybody")
    page.get_by_role("button", name="Add a network").first.click()
    dialog = page.get_by_role("dialog", name="Add a network")
    dialog.get_by_label("Short name").fill("house")
    dialog.get_by_label("Name", exact=True).fill("The house")
    dialog.get_by_label("Kind").select_option("bridge")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_label("Bridge", exact=True)).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Bridge", exact=True).fill("br 0")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator("#net-bridge-error")).not_to_be_empty()
    dialog.get_by_label("Bridge", exact=True).fill("br0")
    dialog.get_by_label("Shared with").select_option("some")
    dialog.get_by_label("Groups").fill("class-1A, class-1B")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    card = page.locator('[data-id="house"]')
    expect(card).to_contain_text("group class-1A, group class-1B")
    made = network_row(site, "house")
    assert made is not None
    assert (made["kind"], made["bridge"]) == ("bridge", "br0")
    assert made["allowed"]["groups"] == ["class-1A", "class-1B"]

    page.get_by_role("button", name="Edit The house").click()
    dialog = page.get_by_role("dialog", name="Edit The house")
    expect(dialog.get_by_label("Groups")).to_have_value("class-1A, class-1B")
    dialog.get_by_label("A guest may use").select_option("any")
    dialog.get_by_label("Shared with").select_option("everybody")
    dialog.get_by_role("button", name="Save").click()
    expect(card).to_contain_text("Any address")
    edited = network_row(site, "house")
    assert edited is not None
    assert (edited["addresses"], edited["allowed"]["roles"]) == ("any", [])
    assert edited["allowed"]["groups"] is False

    page.get_by_role("button", name="Remove The house").click()
    page.get_by_role("button", name="Remove it").click()
    expect(card).to_have_count(0)
    assert network_row(site, "house") is None
    site.insert("interfaces", {"id": "lab", "name": "Laboratory", "kind": "isolated"})
    expect(page.locator('[data-id="lab"]')).to_contain_text("isard-lab")
