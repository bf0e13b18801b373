"""Media shared with groups, categories, roles and users, from the page in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from db.connection import r
from db.media_states import MediaCondition
from tests.servers import wait_until
from tests.webapp.pages import media_rows
from tests.webapp.pages.conftest import Site
from tests.webapp.pages.test_browser_media import card, visit

NOBODY: dict[str, Any] = {"roles": False, "categories": False, "groups": False, "users": False}


def put(site: Site, **allowed: Any) -> str:
    row = media_rows.medium("Debian", MediaCondition.AVAILABLE, allowed={**NOBODY, **allowed})
    site.insert("media", row)
    return str(row["id"])


def allowed_of(site: Site, media_id: str) -> Any:
    return site.run(r.table("media").get(media_id))["allowed"]


def open_edit(page: Page) -> Any:
    card(page, "Debian").get_by_role("button", name="More for Debian").click()
    page.get_by_role("menuitem", name="Edit").click()
    return page.get_by_role("dialog", name="Edit the medium")


def test_a_medium_is_shared_with_some_and_with_nobody_again(site: Site) -> None:
    media_id = put(site)
    page = visit(site)
    dialog = open_edit(page)
    expect(dialog.get_by_role("radio", name="Only me")).to_be_checked()
    expect(dialog.get_by_label("Users")).to_be_hidden()
    dialog.get_by_role("radio", name="Some").check()
    dialog.locator('[data-share="groups"]').get_by_label("Default").check()
    dialog.locator('[data-share="roles"]').get_by_label("Manager").check()
    dialog.get_by_label("Users").fill("ana, root")
    dialog.get_by_role("button", name="Save").click()
    some = {**NOBODY, "groups": ["default"], "roles": ["manager"], "users": ["ana", "root"]}
    wait_until(lambda: allowed_of(site, media_id) == some, 20, "it is shared with some")
    expect(card(page, "Debian")).to_contain_text("shared")
    dialog = open_edit(page)
    expect(dialog.get_by_role("radio", name="Some")).to_be_checked()
    expect(dialog.locator('[data-share="roles"]').get_by_label("Manager")).to_be_checked()
    expect(dialog.get_by_label("Users")).to_have_value("ana, root")
    dialog.get_by_role("radio", name="Only me").check()
    dialog.get_by_role("button", name="Save").click()
    wait_until(lambda: allowed_of(site, media_id) == NOBODY, 20, "it is shared with nobody")


@pytest.mark.parametrize("roles", [[], ["manager"]], ids=["everybody", "some"])
def test_what_a_script_has_shared_stays_where_it_is_not_changed(
    site: Site, roles: list[str]
) -> None:
    media_id = put(site, roles=roles, groups=["gone-group"])
    page = visit(site)
    dialog = open_edit(page)
    name = "Everybody" if not roles else "Some"
    expect(dialog.get_by_role("radio", name=name)).to_be_checked()
    dialog.get_by_label("Description").fill("12.11")
    dialog.get_by_role("button", name="Save").click()
    expect(card(page, "Debian")).to_contain_text("12.11")
    assert allowed_of(site, media_id) == {**NOBODY, "roles": roles, "groups": ["gone-group"]}
    if roles:
        dialog = open_edit(page)
        dialog.get_by_label("Users").fill("ana")
        dialog.get_by_role("button", name="Save").click()
        after = {**NOBODY, "roles": roles, "groups": ["gone-group"], "users": ["ana"]}
        wait_until(lambda: allowed_of(site, media_id) == after, 20, "one more, and no group less")


def test_a_new_medium_is_shared_as_it_is_added(site: Site) -> None:
    page = visit(site)
    page.get_by_role("button", name="Add a medium").first.click()
    dialog = page.get_by_role("dialog", name="Add a medium")
    dialog.get_by_label("Address", exact=True).fill("https://h.example/a.iso")
    dialog.get_by_role("radio", name="Some").check()
    dialog.locator('[data-share="categories"]').get_by_label("Default").check()
    dialog.get_by_role("button", name="Add it").click()
    expect(dialog).to_be_hidden()
    (row,) = site.run(r.table("media").coerce_to("array"))
    assert row["allowed"] == {**NOBODY, "categories": ["default"]}
    page.get_by_role("button", name="Add a medium").first.click()
    expect(dialog.get_by_role("radio", name="Only me")).to_be_checked()
    expect(dialog.get_by_label("Users")).to_be_hidden()


def test_whom_a_medium_is_shared_with_finds_it(site: Site) -> None:
    site.run(r.table("users").get("ana").update({"role": "advanced"}))
    try:
        put(site, users=["ben"])
        page = visit(site, "ana")
        expect(page.get_by_role("heading", name="No medium yet")).to_be_visible()
        put(site, users=["ana"])
        expect(card(page, "Debian")).to_contain_text("shared")
        expect(page.get_by_role("button", name="More for Debian")).to_be_hidden()
    finally:
        site.run(r.table("users").get("ana").update({"role": "user"}))
