"""Saving a medium's file from the page Media in a real browser."""

from __future__ import annotations

import time
from pathlib import Path

import requests
from playwright.sync_api import Page, expect

from db import upload_tickets
from db.connection import r
from db.media_states import MediaCondition
from tests.servers import wait_until
from tests.webapp.pages import media_rows
from tests.webapp.pages.conftest import Site, wait_live
from tests.webapp.pages.test_browser_media import card, visit

SOURCE = {"task": "6c0e7a44-5a0a-4a5c-9a0e-0d1f6a1c2b3d"}
CONTENT = bytes(range(256)) * 4096


def exported(site: Site, name: str, **more: object) -> str:
    """An export that is there, of root's."""
    row = media_rows.medium(name, MediaCondition.AVAILABLE, kind="disk", source=SOURCE)
    path = f"/m/{row['id']}/{row['id']}.ova"
    row["observed"] = {**row["observed"], "size": len(CONTENT), "path": path, **more}
    site.insert("media", row)
    return str(row["id"])


def click_save(page: Page, name: str) -> None:
    card(page, name).get_by_role("button", name=f"More for {name}").click()
    page.get_by_role("menuitem", name="Save to this computer").click()


def find_task(site: Site, media_id: str) -> str:
    tasks = r.table("tasks").get_all(media_id, index="target")["id"].coerce_to("array")
    wait_until(lambda: len(site.run(tasks)) == 1, 20, "one order is made")
    return str(site.run(tasks)[0])


def observe(site: Site, task: str, **observed: object) -> None:
    site.run(r.table("tasks").get(task).update({"observed": r.literal(observed)}))


def test_a_file_is_brought_and_saved_by_itself(site: Site) -> None:
    media_id = exported(site, "Office export")
    page = visit(site)
    click_save(page, "Office export")
    expect(page.get_by_text("Saving begins by itself")).to_be_visible()
    task = find_task(site, media_id)
    progress = {"percent": 41.5, "speed_bytes_s": 2 * 1024**2, "eta_s": 96}
    observe(site, task, state="running", step="send", progress=progress)
    found = card(page, "Office export")
    expect(found).to_contain_text("41.5 %")
    expect(found).to_contain_text("2 MiB/s")
    expect(found.get_by_role("progressbar")).to_have_attribute("value", "41.5")
    # Another page shows it too, and saves nothing.
    other = page.context.new_page()
    site.open(other, "/media")
    wait_live(other)
    expect(card(other, "Office export")).to_contain_text("41.5 %")
    click_save(page, "Office export")
    record = site.run(r.table("uploads").get(task))
    ticket = upload_tickets.sign(record["key"], task, time.time())
    headers = {"Authorization": f"Delivery {ticket}"}
    answer = requests.put(record["url"], data=CONTENT, headers=headers, timeout=20)
    assert answer.status_code == 204, answer.text
    with page.expect_download() as saved:
        observe(site, task, state="done")
    assert saved.value.suggested_filename == "Office export.ova"
    assert Path(saved.value.path()).read_bytes() == CONTENT
    expect(found.get_by_text("From the storage")).to_be_hidden()
    with page.expect_download() as again:
        click_save(page, "Office export")
    assert Path(again.value.path()).read_bytes() == CONTENT
    assert ticket not in site.process.log_text()


def test_a_failure_is_said_and_what_is_not_there_has_no_button(site: Site) -> None:
    media_id = exported(site, "Lost export")
    site.insert("media", media_rows.medium("Coming", MediaCondition.DOWNLOADING))
    page = visit(site)
    card(page, "Coming").get_by_role("button", name="More for Coming").click()
    expect(page.get_by_role("menuitem", name="Delete")).to_be_visible()
    expect(page.get_by_role("menuitem", name="Save to this computer")).to_be_hidden()
    page.keyboard.press("Escape")
    click_save(page, "Lost export")
    task = find_task(site, media_id)
    observe(site, task, state="failed", reason="DownloadFailed", message="It does not answer.")
    expect(page.get_by_role("alert")).to_contain_text("It does not answer.")
