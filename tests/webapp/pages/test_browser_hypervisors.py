"""The administrators' pages in a real browser: live checks, wishes, keys, the forms."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

from db.connection import r
from db.states import Condition
from tests.servers import wait_until
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site, wait_live


def visit(site: Site, path: str) -> Page:
    page = site.log_in("root")
    site.open(page, path)
    wait_live(page)
    return page


def observe(site: Site, host: str, **observed: Any) -> None:
    change = {"observed": r.literal(observed)}
    site.run(r.table("hypervisors").get(host).update(change))


def row_of(site: Site, host: str) -> dict[str, Any]:
    found: dict[str, Any] = site.run(r.table("hypervisors").get(host))
    return found


def test_the_list_follows_hosts_and_what_runs_on_them(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor("hyper-2"))
    page = visit(site, "/admin/hypervisors")
    site.insert("hypervisors", rows.hypervisor("hyper-1", "connecting"))
    expect(page.locator(".host-name")).to_have_text(["hyper-1", "hyper-2"])
    first = page.locator('[data-id="hyper-1"]')
    expect(first.locator(".head-tools .badge:visible")).to_have_text("Connecting")
    observe(site, "hyper-1", **rows.hypervisor("hyper-1")["observed"])
    expect(first.locator(".head-tools .badge:visible")).to_have_text("Online")
    expect(page.locator("#announce")).to_have_text("hyper-1: Online")
    site.insert("domains", rows.desktop("Maths", Condition.STARTED))
    expect(first).to_contain_text("1 running")
    site.run(r.table("hypervisors").delete())
    expect(page.get_by_role("heading", name="No hypervisor yet")).to_be_visible()


def test_checks_appear_as_they_are_made(site: Site) -> None:
    bare = rows.hypervisor("hyper-1", "connecting", checks=[])
    site.insert("hypervisors", bare)
    page = visit(site, "/admin/hypervisors/hyper-1")
    expect(page.get_by_text("No check was made yet.")).to_be_visible()
    seen = bare["observed"]
    observe(site, "hyper-1", **{**seen, "checks": [rows.check("tcp", True)]})
    expect(page.locator(".check")).to_have_count(1)
    checks = [
        rows.check("tcp", True),
        rows.check("libvirt", False),
        rows.check("curl", False, "warning"),
    ]
    observe(site, "hyper-1", **{**seen, "state": "error", "checks": checks})
    expect(page.locator(".check-title")).to_have_text(
        ["The check tcp", "The check libvirt", "The check curl"]
    )
    expect(page.locator(".check").nth(2).get_by_text("Warning")).to_be_visible()
    expect(page.locator(".check").nth(2).get_by_text("Failed")).to_be_hidden()
    failed = page.locator(".check").nth(1)
    expect(failed.get_by_text("Failed")).to_be_attached()
    expect(failed.locator(".remedy")).to_contain_text("Start the service and check again.")
    expect(page.locator(".check").nth(0).locator(".remedy")).to_be_hidden()


def test_checking_again_repeats_the_wish(site: Site) -> None:
    before = rows.hypervisor("hyper-1", "error")
    site.insert("hypervisors", before)
    page = visit(site, "/admin/hypervisors/hyper-1")
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("The checks are being made again.")).to_be_visible()
    desired = row_of(site, "hyper-1")["desired"]
    assert desired["state"] == "enabled"
    assert desired["at"] != before["desired"]["at"]


def test_a_host_is_disabled_and_enabled(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor("hyper-1"))
    page = visit(site, "/admin/hypervisors/hyper-1")
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Disable").click()
    question = page.get_by_role("alertdialog", name="Disable it?")
    expect(question).to_contain_text("Those that run on it go on")
    question.get_by_role("button", name="Disable it").click()
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_role("button", name="Check again")).to_be_visible()
    assert row_of(site, "hyper-1")["desired"]["state"] == "enabled"


def test_an_offered_key_is_accepted(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor_with_new_key("hyper-2"))
    page = visit(site, "/admin/hypervisors/hyper-2")
    expect(page.locator("[data-fingerprint]")).to_have_text(rows.NEW_KEY_FINGERPRINT)
    page.get_by_role("button", name="Accept this key").click()
    expect(page.get_by_text("The key is accepted.")).to_be_visible()
    assert row_of(site, "hyper-2")["host_key"] == rows.NEW_KEY
    observe(site, "hyper-2", **rows.hypervisor("hyper-2")["observed"])
    expect(page.get_by_role("button", name="Accept this key")).to_be_hidden()


def test_a_host_is_added_and_its_fields_judged(site: Site) -> None:
    page = visit(site, "/admin/hypervisors")
    page.get_by_role("button", name="Add a hypervisor").first.click()
    dialog = page.get_by_role("dialog", name="Add a hypervisor")
    dialog.get_by_role("button", name="Add it").click()
    name = dialog.get_by_label("Name", exact=True)
    expect(name).to_have_attribute("aria-invalid", "true")
    name.fill("Not A Slug")
    dialog.get_by_label("Address", exact=True).fill("10.0.0.7")
    dialog.get_by_role("button", name="Add it").click()
    expect(dialog.locator("#host-id-error")).to_contain_text("plain letters, digits")
    name.fill("hyper-7")
    dialog.get_by_role("switch", name="default").uncheck()
    dialog.get_by_role("button", name="Add it").click()
    expect(dialog.locator("#host-pools-error")).to_have_text("Choose at least one pool.")
    dialog.get_by_role("switch", name="default").check()
    dialog.get_by_label("Viewer port").fill("6090")
    dialog.get_by_role("switch", name="Makes and keeps disks").uncheck()
    dialog.get_by_role("button", name="Add it").click()
    page.wait_for_url("**/admin/hypervisors/hyper-7")
    made = row_of(site, "hyper-7")
    assert made["hostname"] == "10.0.0.7"
    assert made["viewer"]["port"] == 6090
    assert made["capabilities"] == {"hypervisor": True, "disk_operations": False}


def test_a_machine_that_is_there_already_is_said_at_its_address(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor("hyper-1"))
    page = visit(site, "/admin/hypervisors")
    page.get_by_role("button", name="Add a hypervisor").first.click()
    dialog = page.get_by_role("dialog", name="Add a hypervisor")
    dialog.get_by_label("Name", exact=True).fill("again")
    dialog.get_by_label("Address", exact=True).fill("hyper-1.example")
    dialog.get_by_role("button", name="Add it").click()
    expect(dialog.locator("#host-hostname-error")).to_contain_text("as 'hyper-1'")


def test_access_is_shown_as_it_is_set_up(site: Site) -> None:
    bare = rows.hypervisor("hyper-1", "connecting", checks=[])
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 isardvdi engine"
    site.insert("hypervisors", bare)
    site.insert("engine", {"id": "enrolment_key", "public": "x", "ssh_key": line})
    page = visit(site, "/admin/hypervisors/hyper-1")
    page.get_by_text("add the engine's key by hand").click()
    expect(page.locator(".code")).to_have_text(line)
    seen = bare["observed"]

    def show(state: str, **more: Any) -> None:
        enrolment = {"state": state, "message": f"Said when {state}.", "at": rows.NOW, **more}
        observe(site, "hyper-1", **{**seen, "enrolment": enrolment})

    show("working")
    expect(page.locator("#announce")).to_have_text("hyper-1: Setting up access")
    expect(page.get_by_role("progressbar", name="Setting up access")).to_be_visible()
    show("waiting", host_key=rows.NEW_KEY)
    expect(page.get_by_text("Accept the host's key to go on", exact=True)).to_be_visible()
    expect(page.locator("[data-fingerprint]")).to_have_text(rows.NEW_KEY_FINGERPRINT)
    expect(page.get_by_role("button", name="Accept this key")).to_be_visible()
    show("failed", reason="PasswordRefused")
    access = page.locator("[data-access]")
    expect(access).to_contain_text("The hypervisor refuses the password")
    expect(page.get_by_role("button", name="Accept this key")).to_be_hidden()
    show("done", trusted="fingerprint")
    expect(access).to_contain_text("Its key has the fingerprint that was given.")
    expect(access).not_to_contain_text("refuses")
    access.get_by_role("button", name="Set up access").click()
    dialog = page.get_by_role("dialog", name="Set up access to hyper-1")
    dialog.get_by_label("Password, used once").fill("secret")
    dialog.get_by_label("Fingerprint of the host's key").fill("none")
    dialog.get_by_role("button", name="Set it up").click()
    expect(dialog.locator("#enrol-fingerprint-error")).to_contain_text("ssh-keygen -lf")
    dialog.get_by_label("Fingerprint of the host's key").fill("")
    dialog.get_by_role("button", name="Set it up").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The engine is not running")


def test_a_host_is_edited_and_keeps_what_the_form_does_not_show(site: Site) -> None:
    before = rows.hypervisor("hyper-1")
    site.insert("hypervisors", before)
    page = visit(site, "/admin/hypervisors/hyper-1")
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit hyper-1")
    dialog.get_by_label("Description").fill("Moved to room 7")
    dialog.get_by_label("Address for browsers").fill("view.example")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".page-lead")).to_contain_text("Moved to room 7")
    after = row_of(site, "hyper-1")
    assert after["viewer"]["hostname"] == "view.example"
    assert after["viewer"]["port"] == before["viewer"]["port"]
    assert after["host_key"] == before["host_key"]


def test_maintenance_asks_and_shows_how_far_it_is(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor("hyper-1"))
    page = visit(site, "/admin/hypervisors/hyper-1")
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Maintenance").click()
    question = page.get_by_role("alertdialog", name="Put it into maintenance?")
    question.get_by_role("button", name="Empty it").click()
    wait_until(
        lambda: row_of(site, "hyper-1")["desired"]["state"] == "maintenance", 30, "it is wished"
    )
    seen = rows.hypervisor("hyper-1")["observed"]
    observe(site, "hyper-1", **seen, drain={"left": 3, "of": 5})
    expect(page.get_by_text("3 of 5 desktops left")).to_be_visible()
    bar = page.get_by_role("progressbar", name="Desktops left")
    expect(bar).to_have_attribute("value", "3")
    observe(site, "hyper-1", **seen, drain={"left": 0, "of": 5})
    expect(page.get_by_text("It is empty")).to_be_visible()
    expect(bar).to_be_hidden()


def test_the_speed_of_the_storage_is_measured_and_shown(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor("hyper-1"))
    page = visit(site, "/admin/hypervisors/hyper-1")
    page.get_by_role("button", name="Measure").click()
    expect(page.get_by_text("Measuring", exact=True)).to_be_visible()
    row = row_of(site, "hyper-1")
    speeds = {
        "for": row["measure"]["at"],
        "at": row["measure"]["at"],
        "paths": [{"path": "/nas/groups", "write_bytes_s": 3 * 1024**2, "read_bytes_s": 1024**3}],
    }
    observe(site, "hyper-1", **rows.hypervisor("hyper-1")["observed"], speeds=speeds)
    line = page.get_by_role("row", name="/nas/groups")
    expect(line).to_contain_text("3 MiB/s")
    expect(line).to_contain_text("1 GiB/s")
    expect(page.get_by_role("button", name="Measure")).to_be_visible()


def test_removing_asks_and_says_what_it_touches(site: Site) -> None:
    site.insert("hypervisors", rows.hypervisor("hyper-1"))
    bound = rows.desktop("Physics", Condition.STOPPED, placement={"forced_hypervisor": "hyper-1"})
    site.insert("domains", rows.desktop("Maths", Condition.STARTED), bound)
    site.run(
        r.table("hypervisors_pools").insert(
            {"id": "nas", "paths": {"groups": [{"path": "/nas", "disk_operations": ["hyper-1"]}]}},
            conflict="replace",
        )
    )
    page = visit(site, "/admin/hypervisors/hyper-1")
    question = ask_to_remove(page)
    expect(question).to_contain_text("On it now")
    expect(question).to_contain_text("Maths")
    expect(question).to_contain_text("Must run on it")
    expect(question).to_contain_text("Physics")
    expect(question).to_contain_text("/nas")
    expect(question.get_by_text("no other owner", exact=True)).to_be_visible()
    question.get_by_role("button", name="Keep it").click()
    assert row_of(site, "hyper-1")["desired"]["state"] == "enabled"
    question = ask_to_remove(page)
    question.get_by_role("switch", name="By force").check()
    question.get_by_role("button", name="Remove it").click()
    wait_until(
        lambda: row_of(site, "hyper-1")["desired"]["state"] == "deleted", 30, "it is wished away"
    )
    desired = row_of(site, "hyper-1")["desired"]
    assert desired["force"] == desired["at"]
    site.run(r.table("hypervisors").get("hyper-1").delete())
    page.wait_for_url("**/admin/hypervisors")


def ask_to_remove(page: Page) -> Locator:
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Remove").click()
    return page.get_by_role("alertdialog", name="Remove this hypervisor?")
