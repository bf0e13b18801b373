"""A template's whole life in the whole product: made of a stopped desktop in the browser, derived
from in bulk, started, and deleted as the tree that was shown.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.e2e.conftest import log_in
from tests.e2e.product import Api, Product

WAIT_MS = 90_000


@pytest.mark.timeout(600)
def test_a_template_is_made_derived_from_and_deleted_with_its_tree(
    product: Product,
    api: Api,
    chromium: Browser,
    contexts: list[BrowserContext],
    shots: Path,
) -> None:
    desktops_before = set(product.storage_files())
    model = api.create("Model")
    api.wait_for(model["id"], "stopped")
    templates_before = set(product.storage_files("templates"))
    page = log_in(chromium, contexts, product)

    # From the desktop's menu to a template that is ready, without a reload.
    page.get_by_role("button", name="More for Model").click()
    page.get_by_role("menuitem", name="Make a template").click()
    dialog = page.locator("#make")
    dialog.get_by_label("Name").fill("Class model")
    dialog.get_by_role("button", name="Make it").click()
    card = page.locator('#templates .desktop:has-text("Class model")')
    expect(card).to_have_attribute("data-state", "stopped", timeout=WAIT_MS)
    made = set(product.storage_files("templates")) - templates_before
    assert [path.suffix for path in made if ".isard-locks" not in path.parts] == [".qcow2"]

    # Two desktops at once, drawn into the tree beside the one it was made of.
    card.get_by_role("link", name="Open Class model").click()
    page.wait_for_url("**/templates/*")
    page.wait_for_selector("html[data-live=on]", state="attached")
    page.get_by_role("button", name="Make desktops").click()
    bulk = page.locator("#bulk")
    bulk.get_by_label("How many").fill("2")
    bulk.get_by_label("Name").fill("Pupil {n}")
    bulk.get_by_role("button", name="Make them").click()
    leaves = page.locator("#tree .tree-children .tree-name")
    expect(leaves).to_have_text(["Model", "Pupil 1", "Pupil 2"], timeout=WAIT_MS)
    items = {item["name"]: item["id"] for item in api.get("/desktops")["items"]}
    for name in ("Pupil 1", "Pupil 2", "Model"):
        api.wait_for(items[name], "stopped")
    for name in ("Pupil 1", "Model"):
        api.wish(items[name], "started")
    for name in ("Pupil 1", "Model"):
        api.wait_for(items[name], "started")
    page.screenshot(path=shots / "template.png", full_page=True)

    # Deleted as it is shown; running ones are powered off first, and nothing is left.
    page.get_by_role("button", name="Delete").click()
    removal = page.locator("#remove")
    expect(removal).to_contain_text("3 built upon it will be gone for good")
    removal.get_by_role("button", name="Delete it all").click()
    page.wait_for_url("**/templates", timeout=WAIT_MS)
    expect(card).to_have_count(0)
    for row_id in items.values():
        api.wait_gone(row_id)
    assert set(product.storage_files("templates")) == templates_before
    assert set(product.storage_files()) == desktops_before
