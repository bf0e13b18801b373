"""On a desktop's page: where it runs, and its networks; on a hypervisor's: its limits and pools."""

from __future__ import annotations

from playwright.sync_api import expect

from db.connection import r
from db.defaults import EVERYBODY, NOBODY
from db.states import Condition
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site, wait_live


def test_a_desktop_is_placed_and_connected_from_its_page(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor("hyper-1"), rows.hypervisor("hyper-2"))
    lab = {"id": "lab", "name": "Laboratory", "kind": "isolated", "allowed": EVERYBODY}
    staff = {"id": "staff", "name": "Staff", "kind": "isolated", "allowed": NOBODY}
    site.insert("interfaces", lab, staff)
    desktop = rows.desktop("Maths", Condition.STOPPED)
    site.insert("domains", desktop)
    page = site.log_in("root")
    site.open(page, f"/desktops/{desktop['id']}")
    wait_live(page)
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Where it runs").click()
    dialog = page.get_by_role("dialog", name="Where it runs")
    dialog.get_by_label("Only on").select_option("hyper-2")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".desktop-what .facts")).to_contain_text("hyper-2")
    page.get_by_role("button", name="Change its networks").click()
    dialog = page.get_by_role("dialog", name="Networks")
    expect(dialog.get_by_role("switch", name="Staff")).to_have_count(0)
    dialog.get_by_role("switch", name="Laboratory").check()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    row = site.run(r.table("domains").get(desktop["id"]))
    assert row["placement"]["forced_hypervisor"] == "hyper-2"
    assert row["spec"]["interfaces"] == [{"id": "lab"}]


def test_a_hypervisors_limits_and_pools_are_edited(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor("hyper-1") | {"limits": {"vcpus": 8}})
    site.insert("hypervisors_pools", rows.pool("lab"))
    page = site.log_in("root")
    site.open(page, "/admin/hypervisors/hyper-1")
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit hyper-1")
    expect(dialog.get_by_label("Virtual processors")).to_have_value("8")
    dialog.get_by_label("Virtual processors").fill("")
    dialog.get_by_label("Desktops", exact=True).fill("12")
    dialog.get_by_label("Memory ratio").fill("15")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_label("Memory ratio")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Memory ratio").fill("1.5")
    dialog.get_by_role("switch", name="Laboratory").check()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    row = site.run(r.table("hypervisors").get("hyper-1"))
    assert set(row["pools"]) == {"default", "lab"}
    assert row["limits"] == {"domains": 12, "memory_ratio": 1.5}
