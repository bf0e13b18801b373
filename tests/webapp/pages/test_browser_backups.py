"""The page Backups in a real browser: made before one's eyes, downloaded, deleted, planned."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Page, expect

from db import backup, backup_schedule
from db.connection import r
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site, wait_live

MADE_MS = 60_000


def visit(site: Site) -> Page:
    page = site.log_in("root")
    site.open(page, "/admin/backups")
    wait_live(page)
    return page


def test_a_backup_is_made_downloaded_and_deleted(site: Site, tmp_path: Path) -> None:
    folder = site.database.settings.data / "backups"
    shutil.rmtree(folder, ignore_errors=True)
    page = visit(site)
    expect(page.locator("#no-backups")).to_be_visible()
    page.get_by_role("button", name="Back up now").click()
    item = page.locator(".backup")
    expect(item.locator(".badge")).to_have_text("Verified", timeout=MADE_MS)
    expect(item.locator(".task-facts")).to_contain_text("rows")
    name = item.get_attribute("data-id")
    for is_wanted in (False, True):
        item.get_by_role("button", name="Download").click()
        dialog = page.get_by_role("dialog")
        if is_wanted:
            dialog.get_by_role("checkbox").check()
        with page.expect_download() as started:
            dialog.get_by_role("button", name="Download").click()
        copy = tmp_path / f"{is_wanted}.jsonl"
        started.value.save_as(copy)
        assert backup.verify(copy).secrets is is_wanted
        assert (b"argon2" in copy.read_bytes()) is is_wanted
        expect(dialog).to_be_hidden()
    item.get_by_role("button", name="Delete").click()
    question = page.get_by_role("alertdialog")
    expect(question).to_contain_text(str(name))
    question.get_by_role("button", name="Keep it").click()
    assert (folder / f"{name}.jsonl").exists()
    item.get_by_role("button", name="Delete").click()
    question.get_by_role("button", name="Delete it").click()
    expect(item).to_have_count(0, timeout=MADE_MS)
    expect(page.locator("#no-backups")).to_be_visible()
    assert not (folder / f"{name}.jsonl").exists()


def test_the_schedule_is_changed_and_told_when_it_fails(site: Site) -> None:
    page = visit(site)
    head = page.locator("#schedule-head")
    page.get_by_role("button", name="Schedule").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Every so many hours").fill("0")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator('[data-field="every_hours"] .field-error')).to_have_text(
        "A number from 1 to 720."
    )
    dialog.get_by_label("Every so many hours").fill("6")
    dialog.get_by_label("Keep so many").fill("9")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(head).to_contain_text("Every 6 hours")
    expect(head).to_contain_text("9 are kept")
    expect(head.locator(".notice").first).to_be_hidden()
    row = site.run(r.table("config").get("backups"))
    assert (row["every_hours"], row["keep_count"], row["at"]) == (6, 9, "02:30")
    failed = next(one for one in rows.every_backup() if one["observed"]["state"] == "failed")
    site.insert("backups", {**failed, "created_at": r.now()})
    expect(head.locator(".notice").first).to_contain_text("The schedule fails")
    expect(head.locator(".notice").first).to_contain_text("It could not be restored whole.")
    expect(page.locator(".backup .badge")).to_have_text("Failed")
    system = site.log_in("root")
    site.open(system, "/admin/system")
    expect(system.locator("#system")).to_contain_text("It could not be restored whole.")
    page.get_by_role("button", name="Schedule").click()
    dialog.get_by_role("checkbox").uncheck()
    dialog.get_by_role("button", name="Save").click()
    expect(head).to_contain_text("The schedule is off")
    site.run(r.table("config").get("backups").update(backup_schedule.DEFAULTS))
