"""The page Desktops in a real browser, against the real site and database."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from db.connection import r
from db.states import Condition
from tests.servers import wait_until
from tests.webapp.conftest import PASSWORDS
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site, wait_live

SAME_CARDS = """async () => {
  const { makeFromTemplate } = await import("/static/js/bind.js");
  const { items } = await (await fetch("/api/v1/desktops")).json();
  const text = await (await fetch("/desktops")).text();
  const page = new DOMParser().parseFromString(text, "text/html");
  const shape = (node) => {
    if (node.nodeType === 3) return node.data.replace(/\\s+/g, " ").trim();
    if (node.nodeType !== 1) return "";
    const own = [...node.attributes].map((a) => `${a.name}=${a.value}`).sort().join(" ");
    const inside = node.matches("time") ? [] : [...node.childNodes].map(shape).filter(Boolean);
    return `<${node.localName} ${own}>${inside.join("")}</>`;
  };
  return items.map((item) => [
    item.condition,
    shape(page.querySelector(`#desktops [data-id="${item.id}"]`)),
    shape(makeFromTemplate("desktop-card", item)),
  ]);
}"""


def card(page: Page, row: dict[str, Any]) -> Locator:
    return page.locator(f'#desktops [data-id="{row["id"]}"]')


def badge(page: Page, row: dict[str, Any]) -> Locator:
    return card(page, row).locator(".desktop-head .badge")


@pytest.mark.parametrize("user", ["ana", "root"])
def test_server_and_browser_draw_the_same_card(site: Site, user: str) -> None:
    site.insert("domains", *rows.every_condition())
    page = site.log_in(user)
    drawn = page.evaluate(SAME_CARDS)
    assert {condition for condition, _, _ in drawn} == {item.value for item in Condition}
    for condition, by_server, by_browser in drawn:
        assert by_server == by_browser, condition


def test_what_the_engine_sees_is_shown_live_and_said(site: Site) -> None:
    row = rows.desktop("Maths", Condition.STARTING)
    site.insert("domains", row)
    owner, admin = site.log_in("ana"), site.log_in("root")
    expect(badge(owner, row)).to_have_text("Starting")
    site.observe(row["id"], **rows.desktop("", Condition.STARTED)["observed"])
    for page in (owner, admin):
        expect(badge(page, row)).to_have_text("Running")
        expect(page.locator("#announce")).to_have_text("Maths: Running")
        expect(card(page, row).get_by_role("link", name="Open Maths")).to_be_visible()
        expect(card(page, row).locator("div.desktop-work")).to_be_hidden()


def test_one_line_of_reql_is_seen_at_once(site: Site) -> None:
    """The example of the documentation: start a class's desktops, no other call."""
    site.insert("domains", *(rows.desktop(f"PC {n}", Condition.STOPPED, group="1A") for n in "abc"))
    page = site.log_in("ana")
    wish = {"desired": {"state": "started", "at": r.now()}}
    site.run(r.table("domains").get_all("1A", index="group").update(wish))
    expect(page.locator('#desktops .badge[data-state="starting"]')).to_have_count(3)


def test_desktops_come_and_go_in_their_place(site: Site) -> None:
    site.insert("domains", *(rows.desktop(name, Condition.STOPPED) for name in ("Art", "Chess")))
    page = site.log_in("ana")
    row = rows.desktop("biology", Condition.STOPPED)
    site.insert("domains", row)
    expect(page.locator(".desktop-name")).to_have_text(["Art", "biology", "Chess"])
    site.run(r.table("domains").get(row["id"]).delete())
    expect(page.locator(".desktop-name")).to_have_text(["Art", "Chess"])
    expect(page.locator("#announce")).to_have_text("biology was deleted")
    site.run(r.table("domains").delete())
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#filter")).to_be_hidden()


def test_a_desktop_is_made_in_the_dialog(site: Site) -> None:
    site.insert("domains", rows.template("Office"), rows.template("Programming"))
    page = site.log_in("ana")
    page.get_by_role("button", name="Make a desktop").click()
    dialog = page.get_by_role("dialog", name="New desktop")
    name = dialog.get_by_label("Name", exact=True)
    expect(name).to_have_value("Office")
    dialog.get_by_role("radio", name="Programming").check()
    expect(name).to_have_value("Programming")

    name.fill("   ")
    dialog.get_by_role("button", name="Make it").click()
    expect(name).to_have_accessible_description("Please fill this in.")
    expect(name).to_be_focused()
    name.fill("<b>")
    dialog.get_by_role("button", name="Make it").click()
    expect(name).to_have_accessible_description("The signs < and > cannot be used here.")
    assert site.run(r.table("domains").filter({"kind": "desktop"}).count()) == 0

    name.fill("Robots")
    dialog.get_by_role("button", name="Make it").click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".desktop-name")).to_have_text("Robots")
    expect(page.locator("#desktops .badge")).to_have_text("Being created")
    (made,) = site.run(r.table("domains").filter({"kind": "desktop"}).coerce_to("array"))
    assert made["name"] == "Robots"


def test_the_suggested_name_is_one_that_is_free(site: Site) -> None:
    desktops = [rows.desktop(name, Condition.STOPPED) for name in ("Office", "Office 2")]
    site.insert("domains", rows.template("Office"), *desktops)
    page = site.log_in("ana")
    page.get_by_role("button", name="New desktop").click()
    expect(page.locator("#create-name")).to_have_value("Office 3")


def test_a_refusal_of_the_server_is_shown_in_the_dialog(site: Site) -> None:
    """The template goes away while the dialog is open."""
    template = rows.template("Office")
    site.insert("domains", template)
    page = site.log_in("ana")
    page.get_by_role("button", name="New desktop").click()
    site.run(r.table("domains").get(template["id"]).delete())
    page.get_by_role("button", name="Make it").click()
    dialog = page.get_by_role("dialog", name="New desktop")
    expect(dialog.locator("#create-template-error")).to_have_text("There is no such template.")


def test_buttons_write_wishes(site: Site) -> None:
    stopped = rows.desktop("Art", Condition.STOPPED)
    running = rows.desktop("Chess", Condition.STARTED)
    waiting = rows.desktop("Drama", Condition.WAITING)
    failed = rows.desktop("Essay", Condition.FAILED)
    site.insert("domains", stopped, running, waiting, failed)
    page = site.log_in("ana")
    page.get_by_role("button", name="Start Art").click()
    page.get_by_role("button", name="Shut down Chess").click()
    page.get_by_role("button", name="Call off Drama").click()
    page.get_by_role("button", name="Try again Essay").click()
    for row, state in ((stopped, "started"), (running, "stopped"), (waiting, "stopped")):
        wait_for_wish(site, row, state)
    tried = wait_for_wish(site, failed, "started")
    assert tried["at"] != failed["desired"]["at"]


def wait_for_wish(site: Site, row: dict[str, Any], state: str) -> dict[str, Any]:
    """The new wish in the row, once it is there."""

    def look() -> dict[str, Any] | None:
        now: dict[str, Any] = site.run(r.table("domains").get(row["id"]))["desired"]
        return now if now["state"] == state and now["at"] != row["desired"]["at"] else None

    found = wait_until(look, 30, f"{row['name']} is wished {state}")
    assert isinstance(found, dict)
    return found


def test_power_off_and_delete_ask_first(site: Site) -> None:
    row = rows.desktop("Maths", Condition.STARTED)
    site.insert("domains", row)
    page = site.log_in("ana")
    page.get_by_role("button", name="Power off Maths").click()
    question = page.get_by_role("alertdialog", name="Power it off?")
    expect(question).to_contain_text("Maths will be cut off at once")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    assert site.run(r.table("domains").get(row["id"]))["desired"] == row["desired"]

    page.get_by_role("button", name="More for Maths").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Keep it").click()
    assert site.run(r.table("domains").get(row["id"]))["desired"] == row["desired"]
    page.get_by_role("button", name="More for Maths").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    wait_for_wish(site, row, "deleted")
    expect(badge(page, row)).to_have_text("Being deleted")
    expect(card(page, row).get_by_role("button")).to_have_count(0)


def test_a_desktop_is_renamed(site: Site) -> None:
    row = rows.desktop("Maths", Condition.STOPPED)
    site.insert("domains", row)
    page = site.log_in("ana")
    page.get_by_role("button", name="More for Maths").click()
    page.get_by_role("menuitem", name="Rename").click()
    dialog = page.get_by_role("dialog", name="Rename")
    expect(dialog.get_by_label("Name")).to_have_value("Maths")
    dialog.get_by_label("Name").fill("Algebra")
    dialog.get_by_label("Description").fill("Second term")
    dialog.get_by_role("button", name="Save").click()
    expect(card(page, row).locator(".desktop-name")).to_have_text("Algebra")
    expect(card(page, row).locator(".desktop-description")).to_have_text("Second term")


def test_the_menu_is_walked_with_the_keyboard(site: Site) -> None:
    site.insert("domains", rows.desktop("Maths", Condition.STARTED))
    page = site.log_in("ana")
    more = page.get_by_role("button", name="More for Maths")
    more.focus()
    page.keyboard.press("Enter")
    items = page.get_by_role("menuitem")
    expect(items).to_have_text(["Pause", "Disks", "Delete"])
    for at in (0, 1, 2, 0):
        expect(items.nth(at)).to_be_focused()
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    expect(more).to_be_focused()


def test_search_and_chips_narrow_the_list(site: Site) -> None:
    site.insert(
        "domains",
        rows.desktop("Mathématiques", Condition.STARTED),
        rows.desktop("Physics", Condition.STOPPED),
        rows.desktop("Chemistry", Condition.FAILED),
    )
    page = site.log_in("ana")
    visible = page.locator(".desktop:visible .desktop-name")
    page.get_by_role("searchbox", name="Search by name").fill("mathe")
    expect(visible).to_have_text("Mathématiques")
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.get_by_text("No desktop matches.")).to_be_visible()
    page.get_by_role("searchbox").fill("")
    page.get_by_role("radio", name="Needs attention 1").check()
    expect(visible).to_have_text("Chemistry")
    page.get_by_role("radio", name="All 3").check()
    expect(visible).to_have_count(3)


def test_thumbnails_are_asked_for_and_shown(site: Site) -> None:
    row = rows.desktop("Maths", Condition.STARTED)
    site.insert("domains", row, rows.desktop("Off", Condition.STOPPED))
    page = site.log_in("ana")

    def asked() -> list[str]:
        return [item["id"] for item in site.run(r.table("interests").coerce_to("array"))]

    wait_until(asked, 30, "the page shows interest")
    assert asked() == [row["id"]]
    live = card(page, row).locator(".screen-live")
    expect(live).to_be_hidden()
    for colour in ("#ff0000", "#00ff00"):
        shot = rows.thumbnail(row["id"], colour)
        site.insert("thumbnails", {**shot, "png": r.binary(shot["png"])})
        at = int(shot["at"].timestamp() * 1000)
        expect(live).to_have_attribute("src", re.compile(rf"thumbnail\?at={at}"))
        expect(live).to_be_visible()
        wait_until(
            lambda: live.evaluate("image => image.complete && image.naturalWidth === 64"),
            30,
            "the picture has come",
        )


def test_a_lost_connection_is_said_and_nothing_missed(site: Site) -> None:
    kept = rows.desktop("Kept", Condition.STARTING)
    lost = rows.desktop("Lost", Condition.STOPPED)
    site.insert("domains", kept, lost)
    page = site.log_in("ana")
    site.process.kill()
    expect(page.locator("#lost")).to_be_visible()
    page.get_by_role("button", name="Start Lost").click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#toasts .toast")).to_have_count(0)

    site.observe(kept["id"], **rows.desktop("", Condition.STARTED)["observed"])
    site.run(r.table("domains").get(lost["id"]).delete())
    added = rows.desktop("Added", Condition.STOPPED)
    site.insert("domains", added)
    site.process.start()
    expect(page.locator(".desktop-name")).to_have_text(["Added", "Kept"], timeout=30_000)
    expect(badge(page, kept)).to_have_text("Running")
    expect(page.locator("#lost")).to_be_hidden()


def test_the_theme_is_chosen_and_kept(site: Site) -> None:
    page = site.log_in("ana", color_scheme="light")
    root = page.locator("html")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Theme: as the system").click()
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Theme: light").click()
    expect(root).to_have_attribute("data-theme", "dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    wait_live(page)
    assert page.evaluate(ground) == dark
    site.open(page, "/account")
    expect(page.get_by_role("radio", name="Dark")).to_be_checked()
    page.get_by_role("radio", name="As the system").check()
    assert page.evaluate(ground) == light


def test_a_long_list_is_drawn_whole_and_in_order(site: Site) -> None:
    names = [f"PC {number:03}" for number in range(130)]
    site.insert("domains", *(rows.desktop(name, Condition.STOPPED) for name in reversed(names)))
    page = site.log_in("ana")
    expect(page.locator(".desktop-name")).to_have_count(130)
    assert page.locator(".desktop-name").all_text_contents() == names
    expect(page.locator('[data-count="all"]')).to_have_text("130")


def test_a_session_that_was_ended_leads_to_the_login(site: Site) -> None:
    """As when the password was changed elsewhere."""
    page = site.log_in("ana")
    epoch = site.run(r.table("users").get("ana"))["sessions_epoch"]
    site.run(r.table("users").get("ana").update({"sessions_epoch": epoch + 1}))
    page.wait_for_url("**/login?next=/desktops")


def test_a_page_goes_on_after_a_new_login_in_another_tab(site: Site) -> None:
    row = rows.desktop("Maths", Condition.STOPPED)
    site.insert("domains", row)
    page = site.log_in("ana")
    other = page.context.new_page()
    site.open(other, "/desktops")
    other.get_by_role("button", name="Log out").click()
    other.fill("#name", "ana")
    other.fill("#password", PASSWORDS["ana"])
    other.get_by_role("button", name="Log in").click()
    other.wait_for_url("**/desktops")
    page.get_by_role("button", name="Start Maths").click()
    wait_for_wish(site, row, "started")
