"""The administrators' page of networks in a real browser."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from db.connection import r
from db.defaults import EVERYBODY, NOBODY
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site, wait_live


def network_row(site: Site, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = site.run(r.table("interfaces").get(name))
    return found


def visit(site: Site) -> Page:
    page = site.log_in("root")
    site.open(page, "/admin/networks")
    wait_live(page)
    return page


def test_a_network_is_added_edited_shared_and_removed(site: Site) -> None:
    site.insert("groups", *rows.classes("10A", "1A", "1B"))
    page = visit(site)
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
    expect(dialog.get_by_role("radio", name="Administrators only")).to_be_checked()
    expect(dialog.get_by_label("Users")).to_be_hidden()
    dialog.get_by_role("radio", name="Some").check()
    groups = dialog.locator('[data-share="groups"]')
    expect(groups.locator(".share")).to_have_text(["Class 1A", "Class 1B", "Class 10A", "Default"])
    groups.get_by_label("Class 1A").check()
    groups.get_by_label("Class 1B").check()
    dialog.get_by_label("Users").fill("ana, bne")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator("#net-users-error")).to_have_text("There is no user 'bne'.")
    expect(dialog.get_by_label("Users")).to_be_focused()
    dialog.get_by_label("Users").fill("ana")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    card = page.locator('[data-id="house"]')
    expect(card).to_contain_text("group class-1A, group class-1B, user ana")
    made = network_row(site, "house")
    assert made is not None
    assert (made["kind"], made["bridge"]) == ("bridge", "br0")
    assert made["allowed"] == {**NOBODY, "groups": ["class-1A", "class-1B"], "users": ["ana"]}

    page.get_by_role("button", name="Edit The house").click()
    dialog = page.get_by_role("dialog", name="Edit The house")
    groups = dialog.locator('[data-share="groups"]')
    expect(dialog.get_by_role("radio", name="Some")).to_be_checked()
    expect(groups.get_by_role("checkbox", checked=True)).to_have_count(2)
    expect(dialog.get_by_label("Users")).to_have_value("ana")
    dialog.get_by_label("A guest may use").select_option("any")
    dialog.get_by_role("radio", name="Everybody").check()
    expect(groups).to_be_hidden()
    dialog.get_by_role("button", name="Save").click()
    expect(card).to_contain_text("Any address")
    edited = network_row(site, "house")
    assert edited is not None
    assert (edited["addresses"], edited["allowed"]) == ("any", EVERYBODY)

    page.get_by_role("button", name="Remove The house").click()
    page.get_by_role("button", name="Remove it").click()
    expect(card).to_have_count(0)
    assert network_row(site, "house") is None
    site.insert("interfaces", {"id": "lab", "name": "Laboratory", "kind": "isolated"})
    expect(page.locator('[data-id="lab"]')).to_contain_text("isard-lab")


def test_with_whom_it_is_shared_is_shown_live_and_kept_where_nothing_of_it_is_chosen(
    site: Site,
) -> None:
    lab = {"id": "lab", "name": "Laboratory", "kind": "isolated"}
    site.insert("interfaces", {**lab, "allowed": {"users": ["ana"], "groups": ["gone"]}})
    page = visit(site)
    card = page.locator('[data-id="lab"]')
    expect(card).to_contain_text("Some group gone, user ana")
    page.get_by_role("button", name="Edit Laboratory").click()
    dialog = page.get_by_role("dialog", name="Edit Laboratory")
    dialog.get_by_label("Description").fill("In the cellar")
    crowd = {**NOBODY, "users": ["a", "b", "c", "d"], "roles": ["manager"]}
    site.run(r.table("interfaces").get("lab").update({"allowed": crowd}))
    expect(card).to_contain_text("Some role manager, 4 users")
    dialog.get_by_role("button", name="Save").click()
    expect(card).to_contain_text("In the cellar")
    after = network_row(site, "lab")
    assert after is not None
    assert after["allowed"] == crowd
    page.get_by_role("button", name="Edit Laboratory").click()
    dialog.locator('[data-share="roles"]').get_by_label("Administrator").check()
    dialog.get_by_role("button", name="Save").click()
    expect(card).to_contain_text("Some role manager, role admin, 4 users")
