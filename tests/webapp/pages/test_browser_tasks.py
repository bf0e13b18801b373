"""Work on disks in a real browser: ordered in dialogs, followed live, cancelled."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from db.connection import r
from db.states import Condition
from tests.servers import wait_until
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site, wait_live


def visit(site: Site, path: str, who: str = "ana") -> Page:
    page = site.log_in(who)
    site.open(page, path)
    wait_live(page)
    return page


def tasks_of(site: Site, domain: dict[str, Any]) -> list[dict[str, Any]]:
    return list(site.run(r.table("tasks").get_all(domain["id"], index="target")))


def observe(site: Site, task_id: str, **observed: Any) -> None:
    site.run(r.table("tasks").get(task_id).update({"observed": r.literal(observed)}))


def test_work_is_ordered_followed_and_cancelled(site: Site) -> None:
    desktop = rows.desktop("Maths", Condition.STOPPED)
    site.insert("domains", desktop)
    page = visit(site, f"/desktops/{desktop['id']}/disks")
    page.get_by_role("button", name="Make larger").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make it larger").click()
    expect(dialog.locator(".field-error")).to_contain_text("size_gib")
    dialog.get_by_label("New size in GiB").fill("40")
    dialog.get_by_role("button", name="Make it larger").click()
    expect(dialog).to_be_hidden()
    task = tasks_of(site, desktop)[0]
    assert (task["kind"], task["args"], task["user"]) == ("resize", {"size_gib": 40}, "ana")
    item = page.locator(f'.task[data-id="{task["id"]}"]')
    expect(item.locator(".badge")).to_have_text("Waiting")
    seen = rows.task("resize", desktop, "running")["observed"]
    observe(site, task["id"], **seen)
    expect(item.locator(".badge")).to_have_text("Running")
    expect(item.locator(".task-numbers")).to_contain_text("41.5 %")
    expect(item.locator(".task-numbers")).to_contain_text("174 MiB/s")
    expect(item.locator(".task-numbers")).to_contain_text("2 min left")
    item.get_by_role("button", name="Cancel the work on Maths").click()
    expect(item.locator("[data-cancel]")).to_be_hidden()
    wait_until(
        lambda: tasks_of(site, desktop)[0]["desired"]["state"] == "cancelled", 20, "cancelled"
    )
    observe(site, task["id"], state="cancelled", reason="CalledOff", message="It was cancelled.")
    expect(page.locator("#ended-tasks .badge")).to_have_text("Cancelled")
    expect(page.locator("#open-group")).to_be_hidden()


def test_the_sizes_of_disks_are_what_they_are_now(site: Site) -> None:
    """Not what the row once asked for; and they follow the work without a reload."""
    desktop = rows.desktop("Maths", Condition.STOPPED)
    desktop["spec"] = {**desktop["spec"], "disks": [{"id": "system", "size_gib": 20}]}
    site.insert("domains", desktop)
    page = visit(site, f"/desktops/{desktop['id']}/disks", "root")
    panel = page.locator("#domain-disks")
    unmade = panel.get_by_text("They are not made yet.")
    expect(unmade).to_be_visible()
    disk = {"id": "system", "path": f"/opt/isard/groups/{desktop['id']}/system.qcow2"}
    for gib in (20, 40):
        seen = {"observed": {"disks": [{**disk, "backing": None, "size": gib * 1024**3}]}}
        site.run(r.table("domains").get(desktop["id"]).update(seen))
        expect(panel.locator("dd")).to_contain_text(f"{gib} GiB")
    expect(panel.locator("dt")).to_have_text("system")
    expect(unmade).to_be_hidden()
    page.reload()
    expect(panel.locator("dd")).to_contain_text("40 GiB")
    expect(panel.locator(".own-line").nth(1)).to_be_hidden()


def test_a_user_sees_what_is_hers_to_order_and_an_administrator_more(site: Site) -> None:
    desktop = rows.desktop("Maths", Condition.STOPPED)
    site.insert("domains", desktop)
    path = f"/desktops/{desktop['id']}/disks"
    works = visit(site, path).locator(".work h3")
    expect(works).to_have_text(
        ["Make larger", "Check", "Free space", "Make independent", "Duplicate"]
    )
    page = visit(site, path, "root")
    expect(page.locator(".work h3")).to_have_text(
        [
            "Make larger",
            "Check",
            "Free space",
            "Make independent",
            "Duplicate",
            "Export",
            "Rewrite",
            "Move",
        ]
    )
    page.get_by_role("button", name="Rewrite").click()
    page.get_by_role("dialog").get_by_role("button", name="Rewrite").click()
    wait_until(lambda: bool(tasks_of(site, desktop)), 20, "ordered")
    assert tasks_of(site, desktop)[0]["args"] == {"compress": True, "preallocation": "off"}


def test_the_disks_of_a_base_are_worked_on_too(site: Site) -> None:
    base = {**rows.template("Plain"), "kind": "base"}
    site.insert("domains", base)
    page = visit(site, f"/templates/{base['id']}/disks", "root")
    page.get_by_role("button", name="Check").click()
    page.get_by_role("dialog").get_by_role("button", name="Check").click()
    wait_until(lambda: bool(tasks_of(site, base)), 20, "ordered")
    assert tasks_of(site, base)[0]["kind"] == "verify"


def test_the_card_and_the_page_of_a_desktop_show_the_work(site: Site) -> None:
    desktop = rows.desktop("Maths", Condition.STOPPED)
    site.insert("domains", desktop)
    page = visit(site, "/desktops")
    work = page.locator(f'.desktop[data-id="{desktop["id"]}"] a.desktop-work')
    expect(work).to_be_hidden()
    task = rows.task("flatten", desktop, "running")
    site.insert("tasks", task)
    expect(work).to_contain_text("Make independent – 41.5 %, 2 min left")
    page.goto(f"{site.url}/desktops/{desktop['id']}")
    expect(page.locator("a.desktop-work")).to_contain_text("Make independent – 41.5 %")
    observe(site, task["id"], state="done", message="x")
    expect(page.locator("a.desktop-work")).to_be_hidden()


def test_the_list_of_tasks_follows_and_tells_only_what_is_ones_own(site: Site) -> None:
    mine, other = rows.desktop("Maths", Condition.STOPPED), rows.desktop("Ben's", Condition.STOPPED)
    other["user"] = "ben"
    site.insert("domains", mine, other)
    page = visit(site, "/tasks")
    expect(page.get_by_role("heading", name="Nothing is being worked on")).to_be_visible()
    site.insert("tasks", *rows.every_task(mine), rows.task("flatten", other, "running"))
    expect(page.locator("#open-tasks .task")).to_have_count(2)
    expect(page.locator("#ended-tasks .task")).to_have_count(3)
    failed = page.locator('.task[data-state="failed"]')
    expect(failed).to_contain_text("There is no room for it")
    assert "/isard" not in failed.inner_text()
    all_of_them = visit(site, "/tasks", "root").locator("#open-tasks .task")
    expect(all_of_them).to_have_count(3)
    site.run(r.table("tasks").delete())
    expect(page.get_by_role("heading", name="Nothing is being worked on")).to_be_visible()
