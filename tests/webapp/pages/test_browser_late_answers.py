"""An answer that is late does not undo what the live connection has told meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import APIResponse, Page, Route, expect

from db.connection import r
from db.states import Condition
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site, wait_live

# Answered after it, and shown after it.
ANOTHER_REQUEST = "async () => { await (await fetch('/api/v1/me')).json(); }"


def hold_answer(page: Page, path: str, method: str) -> Callable[[], None]:
    """The next such request reaches the server at once; its answer reaches the page when what is
    returned here is called.
    """
    held: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        if route.request.method == method and not held:
            held.append((route, route.fetch()))
        else:
            route.continue_()

    def let_go() -> None:
        route, answer = held[0]
        with page.expect_response(re.compile(re.escape(path) + "$")):
            route.fulfill(response=answer)

    page.route(re.compile(re.escape(path) + "$"), hold)
    return let_go


def test_an_order_that_was_carried_out_before_its_answer_came_is_not_shown_as_open(
    site: Site,
) -> None:
    host = rows.hypervisor("hyper-1")
    site.insert("hypervisors", host)
    page = site.log_in("root")
    site.open(page, "/admin/hypervisors/hyper-1")
    wait_live(page)
    let_go = hold_answer(page, "/api/v1/hypervisors/hyper-1/measure", "POST")
    button = page.locator("[data-measure]")
    button.click()
    expect(page.get_by_text("Measuring", exact=True)).to_be_visible()
    expect(button).to_have_attribute("aria-busy", "true")
    asked_at = site.run(r.table("hypervisors").get("hyper-1")["measure"]["at"])
    path = {"path": "/nas/groups", "write_bytes_s": 3 * 1024**2, "read_bytes_s": 1024**3}
    speeds = {"for": asked_at, "at": asked_at, "paths": [path]}
    change = {"observed": {"speeds": speeds}}
    site.run(r.table("hypervisors").get("hyper-1").update(change))
    line = page.get_by_role("row", name="/nas/groups")
    expect(line).to_contain_text("3 MiB/s")
    let_go()
    expect(button).not_to_have_attribute("aria-busy", "true")
    expect(line).to_contain_text("3 MiB/s")


def test_a_desktop_that_is_gone_before_the_answer_to_its_deletion_stays_gone(site: Site) -> None:
    desktop = rows.desktop("Maths", Condition.STOPPED)
    site.insert("domains", desktop)
    page = site.log_in("ana")
    let_go = hold_answer(page, f"/api/v1/desktops/{desktop['id']}", "DELETE")
    card = page.locator(f'[data-id="{desktop["id"]}"]')
    card.get_by_role("button", name="More").click()
    card.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(card).to_contain_text("Being deleted")
    site.run(r.table("domains").get(desktop["id"]).delete())
    expect(card).to_have_count(0)
    let_go()
    page.evaluate(ANOTHER_REQUEST)
    expect(card).to_have_count(0)


def test_a_history_that_comes_late_brings_no_old_name_with_it(site: Site) -> None:
    desktop = rows.desktop("Maths", Condition.STOPPED)
    site.insert("domains", desktop)
    page = site.log_in("ana")
    let_go = hold_answer(page, f"/api/v1/desktops/{desktop['id']}/events", "GET")
    with page.expect_request("**/events"):
        site.open(page, f"/desktops/{desktop['id']}")
    wait_live(page)
    site.run(r.table("domains").get(desktop["id"]).update({"name": "Physics"}))
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("Physics")
    let_go()
    page.evaluate(ANOTHER_REQUEST)
    expect(heading).to_have_text("Physics")
