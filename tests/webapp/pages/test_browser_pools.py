"""The administrators' pages of pools in a real browser: live storage, and forms that save."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from db.connection import r
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site, wait_live


def visit(site: Site, path: str) -> Page:
    page = site.log_in("root")
    site.open(page, path)
    wait_live(page)
    return page


def pool_row(site: Site, pool_id: str) -> dict[str, Any]:
    found: dict[str, Any] = site.run(r.table("hypervisors_pools").get(pool_id))
    return found


def test_the_list_shows_each_pool_live(site: Site) -> None:
    page = visit(site, "/admin/pools")
    site.insert("hypervisors_pools", rows.pool("lab"))
    card = page.locator('[data-id="lab"]')
    expect(card).to_contain_text("Laboratory")
    expect(card).to_contain_text("Degraded")
    expect(card).to_contain_text("30 GiB free")
    expect(card).to_contain_text("2 waiting")
    expect(card.get_by_role("progressbar", name="Space used in /isard/groups")).to_be_visible()
    site.insert("hypervisors", rows.hypervisor("hyper-1") | {"pools": ["lab"]})
    expect(card).to_contain_text("1 of 1 hypervisor online")
    healthy = rows.pool("lab")["observed"] | {"state": "ok", "message": None}
    site.run(r.table("hypervisors_pools").get("lab").update({"observed": r.literal(healthy)}))
    expect(card).to_contain_text("Healthy")
    expect(page.locator("#announce")).to_have_text("Laboratory: Healthy")


def test_the_page_says_of_each_path_who_sees_it_and_what_to_do(site: Site) -> None:
    site.insert("hypervisors_pools", rows.pool("lab"))
    host = rows.hypervisor("hyper-1") | {"pools": ["lab"], "limits": {"domains": 12}}
    site.insert("hypervisors", host)
    page = visit(site, "/admin/pools/lab")
    bad = page.locator(".store", has_text="/isard/templates")
    expect(bad).to_contain_text("See the hypervisor's own page.")
    expect(bad).to_contain_text("Not the same storage on every host")
    expect(bad.locator(".seen-by")).to_have_count(2)
    expect(page.locator(".store", has_text="/mnt/nvme/groups")).to_contain_text("Not looked at yet")
    expect(page.get_by_text("3 disks lie in")).to_be_visible()
    good = page.locator(".store", has_text="/isard/groups")
    expect(good).to_contain_text("41 disks")
    expect(page.get_by_text("2 wait for room")).to_be_visible()
    seen = rows.pool("lab")["observed"]
    paths = [{**one, "disks": 1} for one in seen["paths"]]
    fewer = {**seen, "paths": paths, "removed": [{"path": "/old/groups", "disks": 1}], "waiting": 1}
    site.run(r.table("hypervisors_pools").get("lab").update({"observed": r.literal(fewer)}))
    expect(good).to_contain_text("1 disk weight")
    expect(page.get_by_text("1 disk lies in")).to_be_visible()
    expect(page.get_by_text("1 waits for room")).to_be_visible()
    expect(page.get_by_role("row", name="hyper-1")).to_contain_text("12")


def test_a_pool_is_added_with_paths_and_refusals_are_shown_where_they_belong(site: Site) -> None:
    page = visit(site, "/admin/pools")
    page.get_by_role("button", name="Add a pool").first.click()
    dialog = page.get_by_role("dialog", name="Add a pool")
    dialog.get_by_label("Short name").fill("lab")
    dialog.get_by_label("Name", exact=True).fill("Laboratory")
    dialog.get_by_label("New desktops go to").select_option("weighted")
    groups = dialog.locator('[data-use="groups"]')
    groups.get_by_label("Path").fill("/opt/isard/bases/deep")
    dialog.get_by_role("button", name="Add it").click()
    expect(groups.locator(".field-error").first).to_contain_text("lie in each other")
    groups.get_by_label("Path").fill("/mnt/nvme0")
    groups.get_by_role("button", name="Add a path").click()
    groups.get_by_label("Path").nth(1).fill("/mnt/nvme1")
    groups.get_by_label("Disk hosts").nth(1).fill("nowhere")
    dialog.get_by_role("button", name="Add it").click()
    expect(groups.locator(".path-row").nth(1)).to_contain_text("There is no hypervisor 'nowhere'.")
    groups.get_by_label("Disk hosts").nth(1).fill("")
    groups.get_by_label("Weight").nth(1).fill("30")
    dialog.get_by_role("button", name="Add it").click()
    expect(dialog).to_be_hidden()
    expect(page.locator('[data-id="lab"]')).to_contain_text("/mnt/nvme1")
    made = pool_row(site, "lab")
    assert made["balancer"] == "weighted"
    assert [(one["path"], one["weight"]) for one in made["paths"]["groups"]] == [
        ("/mnt/nvme0", 100),
        ("/mnt/nvme1", 30),
    ]


def test_a_pool_is_edited_and_removed(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor("hyper-1"))
    site.insert("hypervisors_pools", rows.pool("lab"))
    page = visit(site, "/admin/pools/lab")
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit Laboratory")
    groups = dialog.locator('[data-use="groups"]')
    expect(groups.get_by_label("Disk hosts").first).to_have_value("hyper-1")
    groups.get_by_role("button", name="Remove this path").nth(1).click()
    dialog.get_by_label("Description").fill("In the attic")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".page-lead")).to_contain_text("In the attic")
    expect(page.get_by_text("/mnt/nvme/groups")).to_have_count(0)
    after = pool_row(site, "lab")
    assert [one["path"] for one in after["paths"]["groups"]] == ["/isard/groups"]
    assert after["observed"]["state"] == "degraded", "what is seen is the engine's"
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="Remove it").click()
    page.wait_for_url("**/admin/pools")
    assert pool_row(site, "lab") is None


def test_a_pool_is_shared_with_some_and_then_with_everybody(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor("hyper-1"))
    site.insert("hypervisors_pools", rows.pool("lab"))
    site.insert("groups", *rows.classes("1A", "1B"))
    page = visit(site, "/admin/pools/lab")
    expect(page.locator(".page-head")).to_contain_text("Shared with: Everybody")
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit Laboratory")
    shared = dialog.locator('[data-share="groups"]')
    expect(shared).to_be_hidden()
    dialog.get_by_role("radio", name="Some").check()
    shared.get_by_label("Class 1A").check()
    shared.get_by_label("Class 1B").check()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".page-head")).to_contain_text("group class-1A, group class-1B")
    assert pool_row(site, "lab")["allowed"]["groups"] == ["class-1A", "class-1B"]
    page.get_by_role("button", name="Edit").click()
    expect(shared.get_by_role("checkbox", checked=True)).to_have_count(2)
    dialog.get_by_role("radio", name="Everybody").check()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    allowed = pool_row(site, "lab")["allowed"]
    assert (allowed["roles"], allowed["groups"]) == ([], False)
