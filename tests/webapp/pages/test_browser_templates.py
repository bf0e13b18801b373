"""The pages of templates in a real browser: make, share, make many desktops, delete the tree."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from db.connection import r
from db.states import Condition
from tests.servers import wait_until
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site, wait_live


@pytest.fixture
def page(site: Site) -> Page:
    """ana, a teacher: the role `advanced`."""
    site.run(r.table("users").get("ana").update({"role": "advanced"}))
    return site.log_in("ana")


def visit(site: Site, page: Page, path: str) -> None:
    site.open(page, path)
    wait_live(page)


def put_template(site: Site, name: str, **more: Any) -> dict[str, Any]:
    row = {**rows.template(name), "user": "ana", "allowed": {}, **more}
    site.insert("domains", row)
    return row


def lay(site: Site, child: dict[str, Any], parent: dict[str, Any]) -> None:
    backing = f"/opt/isard/templates/{parent['id']}/disk0.qcow2"
    record = {"id": f"{child['id']}/disk0", "domain": child["id"], "backing": backing}
    site.insert("disks", {**record, "path": "x", "state": "made"})


def row_of(site: Site, row_id: str) -> dict[str, Any]:
    found: dict[str, Any] = site.run(r.table("domains").get(row_id))
    return found


def test_a_template_is_made_of_a_stopped_desktop_and_followed(site: Site, page: Page) -> None:
    model, running = rows.desktop("Model", Condition.STOPPED), rows.desktop("On", Condition.STARTED)
    site.insert("domains", model, running)
    visit(site, page, "/desktops")
    page.get_by_role("button", name="More for Model").click()
    page.get_by_role("menuitem", name="Make a template").click()
    wait_live(page)
    dialog = page.locator("#make")
    expect(dialog).to_be_visible()
    expect(dialog.locator("option")).to_have_text(["Model"])
    expect(dialog.get_by_label("Name")).to_have_value("Model")
    dialog.get_by_label("Name").fill("Class")
    dialog.get_by_role("button", name="Make it").click()
    card = page.locator("#templates .desktop")
    expect(card).to_have_attribute("data-state", "creating")
    made = site.run(r.table("domains").filter({"kind": "template"}))[0]
    assert made["origin"] == {"desktop": model["id"]}

    # The engine's steps, as they come.
    activity = {"name": "creating", "step": "copy", "progress": 40}
    site.observe(made["id"], state="absent", activity=activity)
    expect(card.locator("progress")).to_have_attribute("value", "40")
    wish = {key: made["desired"][key] for key in ("state", "at")}
    site.observe(made["id"], state="stopped", **{"for": wish})
    expect(card).to_have_attribute("data-state", "stopped")
    expect(card.locator(".badge")).to_be_hidden()


def test_a_failed_one_says_why_and_is_tried_again(site: Site, page: Page) -> None:
    template = put_template(site, "Office")
    failure = {"reason": "DiskFailed", "message": "The disk has errors.", "terminal": True}
    site.observe(template["id"], state="absent", failure=failure)
    visit(site, page, "/templates")
    card = page.locator("#templates .desktop")
    expect(card).to_contain_text("The disk has errors.")
    card.get_by_role("button", name="Try again Office").click()
    before = template["desired"]["at"]
    wait_until(lambda: row_of(site, template["id"])["desired"]["at"] != before, 20, "a new wish")


def test_it_is_edited_and_shared(site: Site, page: Page) -> None:
    template = put_template(site, "Office")
    visit(site, page, f"/templates/{template['id']}")
    page.get_by_role("button", name="Edit").click()
    dialog = page.locator("#edit")
    dialog.get_by_label("Name").fill("Office 2")
    dialog.get_by_label("Memory in MiB").fill("4096")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Office 2")).to_be_visible()
    assert row_of(site, template["id"])["spec"]["memory_mib"] == 4096

    page.get_by_label("Some", exact=True).check()
    page.locator('#share [data-share="groups"]').get_by_label("Default").check()
    page.get_by_label("Users").fill("root, bne")
    page.locator("#share").get_by_role("button", name="Save").click()
    expect(page.locator("#share-users-error")).to_have_text("There is no user 'bne'.")
    page.get_by_label("Users").fill("root, ana")
    page.locator("#share").get_by_role("button", name="Save").click()
    expected = {
        "roles": False,
        "categories": False,
        "groups": ["default"],
        "users": ["root", "ana"],
    }
    wait_until(lambda: row_of(site, template["id"])["allowed"] == expected, 20, "it is shared")
    page.get_by_label("Only me").check()
    page.locator("#share").get_by_role("button", name="Save").click()
    nobody = dict.fromkeys(expected, False)
    wait_until(lambda: row_of(site, template["id"])["allowed"] == nobody, 20, "and not any more")


def test_what_a_script_shares_is_shown_unless_somebody_is_choosing(site: Site, page: Page) -> None:
    template = put_template(site, "Office")
    visit(site, page, f"/templates/{template['id']}")
    share = page.locator("#share")
    expect(share.get_by_label("Only me")).to_be_checked()
    allow = r.table("domains").get(template["id"])
    site.run(allow.update({"allowed": {"users": ["ana"]}}))
    expect(share.get_by_label("Users")).to_have_value("ana")
    share.get_by_label("Users").fill("ana, ro")
    site.run(allow.update({"name": "Office 3", "allowed": {"roles": []}}))
    expect(page.get_by_role("heading", name="Office 3")).to_be_visible()
    expect(share.get_by_label("Users")).to_have_value("ana, ro")
    expect(share.get_by_label("Some", exact=True)).to_be_checked()


def test_many_desktops_are_made_and_drawn_into_the_tree(site: Site, page: Page) -> None:
    template = put_template(site, "Office")
    visit(site, page, f"/templates/{template['id']}")
    expect(page.locator("#tree")).to_contain_text("Nothing is built upon it.")
    page.get_by_role("button", name="Make desktops").click()
    dialog = page.locator("#bulk")
    dialog.get_by_label("How many").fill("3")
    dialog.get_by_label("Name").fill("Class {n}")
    dialog.get_by_role("button", name="Make them").click()
    expect(page.locator(".toast")).to_contain_text("3 desktops are being made.")
    names = page.locator("#tree .tree-children .tree-name")
    expect(names).to_have_text(["Class 1", "Class 2", "Class 3"])


def test_the_tree_is_deleted_as_it_was_shown(site: Site, page: Page) -> None:
    top, inner = put_template(site, "Top"), put_template(site, "Inner")
    below = [rows.desktop(name, Condition.STOPPED) for name in ("One", "Two")]
    site.insert("domains", *below)
    lay(site, inner, top)
    for row in below:
        lay(site, row, inner)
    visit(site, page, f"/templates/{top['id']}")
    page.get_by_role("button", name="Delete").click()
    dialog = page.locator("#remove")
    expect(dialog).to_contain_text("3 built upon it will be gone for good")
    expect(dialog.locator(".tree-name")).to_have_text(["Top", "Inner", "One", "Two"])

    # Somebody builds upon it meanwhile: what was not shown is not deleted.
    late = rows.desktop("Late", Condition.STOPPED)
    site.insert("domains", late)
    lay(site, late, top)
    dialog.get_by_role("button", name="Delete it all").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Look at the tree again.")
    assert row_of(site, top["id"])["desired"]["state"] == "stopped"
    dialog.get_by_role("button", name="Keep it").click()
    page.get_by_role("button", name="Delete").click()
    expect(dialog.locator(".tree-name")).to_have_text(["Top", "Inner", "One", "Two", "Late"])
    dialog.get_by_role("button", name="Delete it all").click()
    expect(dialog).to_be_hidden()
    for row in (top, inner, *below, late):
        assert row_of(site, row["id"])["desired"]["state"] == "deleted"

    # As the engine carries it out, the tree gets smaller; in the end the page is gone.
    site.run(r.table("domains").get(late["id"]).delete())
    expect(page.locator("#tree .tree-name")).to_have_text(["Top", "Inner", "One", "Two"])
    site.run(r.table("domains").get(top["id"]).delete())
    page.wait_for_url("**/templates")
    expect(page.get_by_role("heading", name="Templates")).to_be_visible()


def test_templates_shared_with_somebody_appear_and_go_live(site: Site, page: Page) -> None:
    visit(site, page, "/templates")
    expect(page.get_by_role("heading", name="No template yet")).to_be_visible()
    template = {**rows.template("Shared"), "id": str(uuid.uuid4()), "user": "root"}
    site.insert("domains", {**template, "allowed": {"users": ["ana"]}})
    expect(page.locator("#templates .desktop-name")).to_have_text("Shared")
    expect(page.locator("#templates .desktop button:visible")).to_have_count(0)
    site.insert("domains", {**template, "allowed": {"users": False}})
    expect(page.locator("#templates .desktop")).to_have_count(0)


def test_users_who_make_no_templates_have_no_such_page(site: Site) -> None:
    site.run(r.table("users").get("ana").update({"role": "user"}))
    page = site.log_in("ana")
    expect(page.get_by_role("link", name="Templates")).to_have_count(0)
    site.open(page, "/templates")
    expect(page.locator("body")).to_contain_text("Your role does not make templates.")
