"""Everybody can use every page: no violation axe-core knows of, in both themes, narrow and wide;
nothing runs over the edge of a phone; the browser has nothing to complain of.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from db.connection import r
from tests.webapp.pages import media_rows, rows
from tests.webapp.pages.conftest import Site

AXE = Path(__file__).resolve().parents[3] / "webapp" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SIZES = {"phone": (360, 740), "tablet": (768, 1024), "laptop": (1440, 900), "wall": (1920, 1080)}

CHECK = """async (rules) => {
  const { violations } = await axe.run(document, { runOnly: rules });
  return violations.map((v) => [v.id, v.help, v.nodes.map((n) => n.html.slice(0, 200))]);
}"""
OVER_THE_EDGE = """() => [...document.querySelectorAll("body *")]
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && e.checkVisibility())
  .filter((e) => !e.closest(".chips, .places, .table-frame, .unseen"))
  .map((e) => `${e.localName}.${e.className}`)"""


def furnish(site: Site) -> dict[str, str]:
    """Rows of every kind; page name -> its address."""
    desktops = rows.every_condition("root")
    desktops[0]["name"] = "A name as long as the rules allow without a single space" + "e" * 24
    office = rows.template("Office")
    site.insert("domains", *desktops, office, rows.template("Programming"))
    site.run(
        r.table("domains")
        .get_all(*[row["id"] for row in desktops[1:5]])
        .update({"origin": {"template": office["id"]}})
    )
    site.insert("hypervisors", rows.hypervisor("hyper-1"), rows.hypervisor_with_new_key("hyper-2"))
    shot = rows.thumbnail(desktops[4]["id"])
    site.insert("thumbnails", {**shot, "png": r.binary(shot["png"])})
    site.insert("hypervisors_pools", rows.pool("lab"))
    loops = {"watcher": {"age_s": 0.2, "restarts": 1, "healthy": True}}
    site.insert("engine", {"id": "ticks", "holder": "a", "loops": loops})
    office = rows.template("Office and more")
    path = f"/isard/groups/{desktops[1]['id']}/disk0.qcow2"
    backing = f"/isard/templates/{office['id']}/disk0.qcow2"
    desktops[1]["observed"]["disks"] = [
        {"id": "disk0", "size": 42949672960, "path": path, "backing": backing},
        {"id": "data", "size": 1073741824, "path": path.replace("disk0", "data")},
    ]
    site.insert("domains", office, desktops[1])
    site.insert("tasks", *rows.every_task(desktops[1]), rows.task("resize", office, "running"))
    failed = next(row for row in desktops if "failure" in row["observed"])
    running = next(row for row in desktops if row["observed"]["state"] == "started")
    site.insert("domain_windows", *rows.stats("domain", running["id"]))
    site.insert("hypervisor_windows", *rows.stats("hypervisor", "hyper-2"))
    site.insert("media", *media_rows.every_condition())
    site.insert("events", *rows.history(failed["id"]))
    site.insert("backups", *rows.every_backup())
    return {
        "desktops": "/desktops",
        "desktop": f"/desktops/{running['id']}",
        "failed desktop": f"/desktops/{failed['id']}",
        "viewer": f"/desktops/{failed['id']}/viewer",
        "templates": "/templates",
        "template": f"/templates/{office['id']}",
        "account": "/account",
        "media": "/media",
        "updates": "/admin/updates",
        "backups": "/admin/backups",
        "hypervisors": "/admin/hypervisors",
        "hypervisor": "/admin/hypervisors/hyper-2",
        "pools": "/admin/pools",
        "networks": "/admin/networks",
        "pool": "/admin/pools/lab",
        "system": "/admin/system",
        "tasks": "/tasks",
        "disks": f"/desktops/{desktops[1]['id']}/disks",
        "disks of a template": f"/templates/{office['id']}/disks",
        "nothing here": "/desktops/7f3b0a52-0000-4000-8000-000000000000/viewer",
    }


def options(size: str, theme: str) -> dict[str, Any]:
    width, height = SIZES[size]
    # axe's own script is no part of our pages: the policy is set aside for it alone.
    return {
        "viewport": {"width": width, "height": height},
        "color_scheme": theme,
        "reduced_motion": "reduce",
        "bypass_csp": True,
    }


def violations(page: Page) -> list[Any]:
    page.add_script_tag(path=AXE)
    found: list[Any] = page.evaluate(CHECK, RULES)
    return found


def report(found: dict[str, list[Any]]) -> str:
    return json.dumps({name: items for name, items in found.items() if items}, indent=1)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["phone", "laptop"])
def test_axe_finds_nothing(site: Site, size: str, theme: str) -> None:
    pages = furnish(site)
    page = site.log_in("root", **options(size, theme))
    found = {}
    for name, path in pages.items():
        site.open(page, path)
        found[name] = violations(page)
    site.open(page, pages["desktops"])
    page.get_by_role("button", name="New desktop").click()
    found["new desktop"] = violations(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="More for Desktop started").click()
    found["menu"] = violations(page)
    site.open(page, pages["hypervisors"])
    page.get_by_role("button", name="Add a hypervisor").click()
    found["add a hypervisor"] = violations(page)
    site.open(page, pages["pool"])
    page.get_by_role("button", name="Edit").click()
    found["edit a pool"] = violations(page)
    site.open(page, pages["disks"])
    for name in ("Make larger", "Check", "Rewrite", "Move"):
        page.get_by_role("button", name=name, exact=True).click()
        found[name] = violations(page)
        page.keyboard.press("Escape")
    site.open(page, pages["media"])
    page.get_by_role("button", name="Add a medium").click()
    found["add a medium"] = violations(page)
    site.open(page, pages["networks"])
    page.get_by_role("button", name="Edit Default").click()
    found["edit a network"] = violations(page)
    page.context.clear_cookies()
    site.open(page, "/login")
    found["login"] = violations(page)
    assert not any(found.values()), report(found)


@pytest.mark.parametrize("size", list(SIZES))
def test_nothing_runs_over_the_edge(site: Site, size: str) -> None:
    pages = furnish(site)
    page = site.log_in("root", **options(size, "light"))
    found = {}
    for name, path in pages.items():
        site.open(page, path)
        found[name] = page.evaluate(OVER_THE_EDGE)
    assert not any(found.values()), report(found)


def test_the_browser_complains_of_nothing(site: Site) -> None:
    """No violation of the content security policy, no script error, nothing missing."""
    pages = furnish(site)
    complaints: list[str] = []
    page = site.log_in("root")
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on(
        "console",
        lambda message: (
            complaints.append(f"{page.url}: {message.text}")
            if message.type in ("error", "warning")
            else None
        ),
    )
    pages.pop("nothing here")
    for path in pages.values():
        site.open(page, path)
        page.wait_for_load_state("load")
    site.open(page, pages["desktops"])
    page.get_by_role("button", name="New desktop").click()
    page.keyboard.press("Escape")
    complaints = [text for text in complaints if "NETWORK_CHANGED" not in text]
    assert complaints == []


def test_the_first_tab_leads_past_the_navigation(site: Site) -> None:
    page = site.log_in("root")
    site.open(page, "/account")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    inside = "document.getElementById('content').contains(document.activeElement)"
    assert page.evaluate(inside)
