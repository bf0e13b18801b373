"""The page Media in a real browser: live progress, wishes, adding by address and by upload."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Page, expect

from db import upload_tickets
from db.connection import r
from db.media_states import MediaCondition
from db.states import Condition
from tests.engine.file_server import FileServer
from tests.servers import wait_until
from tests.webapp.pages import media_rows, rows
from tests.webapp.pages.conftest import Site, wait_live


def visit(site: Site, user: str = "root") -> Page:
    page = site.log_in(user)
    site.open(page, "/media")
    wait_live(page)
    return page


def card(page: Page, name: str) -> Any:
    return page.locator(".medium").filter(has=page.get_by_role("heading", name=name, exact=True))


def wish_of(site: Site, media_id: str) -> str:
    return str(site.run(r.table("media").get(media_id))["desired"]["state"])


def test_every_condition_is_drawn_the_same_at_both_ends(site: Site) -> None:
    items = media_rows.every_condition()
    site.insert("media", *items)
    page = visit(site)
    expect(page.locator(".medium")).to_have_count(len(items))
    before = page.locator("#media").inner_text()
    # Filled anew by the script, from the very same payloads.
    site.open(page, "/media")
    site.run(r.table("media").delete())
    expect(page.get_by_role("heading", name="No medium yet")).to_be_visible()
    site.insert("media", *items)
    expect(page.locator(".medium")).to_have_count(len(items))
    assert page.locator("#media").inner_text() == before


def test_progress_is_live_and_a_download_is_called_off(site: Site) -> None:
    row = media_rows.medium("Debian 12", MediaCondition.DOWNLOADING)
    site.insert("media", row)
    page = visit(site)
    found = card(page, "Debian 12")
    expect(found).to_contain_text("41.3 %")
    expect(found).to_contain_text("22.3 MiB/s")
    expect(found).to_contain_text("2 min left")
    progress = {**row["observed"]["progress"], "percent": 77.0, "eta_s": 5}
    seen = {**row["observed"], "progress": progress}
    site.run(r.table("media").get(row["id"]).update({"observed": r.literal(seen)}))
    expect(found).to_contain_text("77 %")
    expect(found.get_by_role("progressbar")).to_have_attribute("value", "77")
    found.get_by_role("button", name="Call off Debian 12").click()
    wait_until(lambda: wish_of(site, row["id"]) == "absent", 20, "the wish is written")


def test_a_failure_says_why_and_is_tried_again(site: Site) -> None:
    row = media_rows.medium("Alpine", MediaCondition.FAILED)
    site.insert("media", row)
    page = visit(site)
    found = card(page, "Alpine")
    expect(found).to_contain_text("It could not be downloaded")
    expect(found).to_contain_text("is not there (404)")
    found.get_by_role("button", name="Try again Alpine").click()
    table = r.table("media").get(row["id"])["desired"]["at"]
    wait_until(lambda: site.run(table) != row["desired"]["at"], 20, "the wish is new")
    found.get_by_role("button", name="More for Alpine").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    wait_until(lambda: wish_of(site, row["id"]) == "deleted", 20, "the wish is written")


def test_one_is_added_by_its_address(site: Site) -> None:
    page = visit(site)
    page.get_by_role("button", name="Add a medium").first.click()
    page.get_by_role("button", name="Add it").click()
    expect(page.locator("#add-url-error")).to_have_text("Please fill this in.")
    page.get_by_label("Address", exact=True).fill("https://h.example/iso/debian_12-netinst.iso")
    expect(page.locator("#add-name")).to_have_value("debian 12-netinst")
    page.get_by_label("SHA-256").fill("12")
    page.get_by_role("button", name="Add it").click()
    expect(page.locator("#add-sha256-error")).not_to_be_empty()
    page.get_by_label("SHA-256").fill("a" * 64)
    page.get_by_role("radio", name="Everybody").check()
    page.get_by_role("button", name="Add it").click()
    found = card(page, "debian 12-netinst")
    expect(found).to_contain_text("Waiting")
    expect(found).to_contain_text("shared")
    (row,) = site.run(r.table("media").coerce_to("array"))
    assert row["source"] == {
        "url": "https://h.example/iso/debian_12-netinst.iso",
        "sha256": "a" * 64,
    }


def test_a_file_is_sent_from_the_browser_and_fetched_by_the_host(
    site: Site, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 40_000  # more than one piece
    file = tmp_path / "small_disk.iso"
    file.write_bytes(content)
    page = visit(site)
    page.get_by_role("button", name="Add a medium").first.click()
    page.get_by_role("radio", name="From this computer").check()
    page.get_by_label("File", exact=True).set_input_files(file)
    expect(page.locator("#add-name")).to_have_value("small disk")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_text("small disk is uploaded")).to_be_visible(timeout=30_000)
    (row,) = site.run(r.table("media").coerce_to("array"))
    assert row["desired"]["state"] == "available"
    record = site.run(r.table("uploads").get(row["id"]))
    ticket = upload_tickets.sign(record["key"], row["id"], time.time())
    headers = {"Authorization": f"Upload {ticket}"}
    answer = requests.get(record["url"], headers=headers, timeout=20)
    assert answer.content == content
    assert ticket not in site.process.log_text()


def test_an_upload_goes_on_after_a_reload(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "begun.iso"
    file.write_bytes(b"0123456789" * 100)
    row = media_rows.medium("Begun", MediaCondition.UPLOADING)
    row["source"]["size"] = 1000
    site.insert("media", row)
    spool = Path(site.process.environment["ISARD_DATA"]) / "uploads"
    spool.mkdir(parents=True, exist_ok=True)
    (spool / row["id"]).write_bytes(b"0123456789" * 60)
    page = visit(site)
    other = tmp_path / "other.iso"
    other.write_bytes(b"x")
    with page.expect_file_chooser() as chooser:
        card(page, "Begun").get_by_role("button", name="Continue the upload").click()
    chooser.value.set_files(other)
    expect(page.get_by_text("This is another file")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        card(page, "Begun").get_by_role("button", name="Continue the upload").click()
    chooser.value.set_files(file)
    expect(page.get_by_text("Begun is uploaded")).to_be_visible()
    assert (spool / row["id"]).read_bytes() == file.read_bytes()


def test_an_upload_that_is_all_here_is_finished(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "whole.iso"
    file.write_bytes(b"0123456789" * 100)
    row = media_rows.medium("Whole", MediaCondition.UPLOADING)
    row["source"]["size"] = 1000
    site.insert("media", row)
    spool = Path(site.process.environment["ISARD_DATA"]) / "uploads"
    spool.mkdir(parents=True, exist_ok=True)
    (spool / row["id"]).write_bytes(file.read_bytes())
    page = visit(site)
    with page.expect_file_chooser() as chooser:
        card(page, "Whole").get_by_role("button", name="Continue the upload").click()
    chooser.value.set_files(file)
    wait_until(lambda: wish_of(site, row["id"]) == "available", 20, "finished")


def test_those_who_may_not_add_see_no_place_for_it(site: Site) -> None:
    page = site.log_in("ana")
    expect(page.get_by_role("link", name="Media")).to_have_count(0)
    answer = page.goto(f"{site.url}/media")
    assert answer is not None
    assert answer.status == 403


def test_a_desktop_is_installed_from_an_image(site: Site) -> None:
    site.insert(
        "media",
        media_rows.medium("Windows 11 image", MediaCondition.AVAILABLE),
        media_rows.medium("virtio-win", MediaCondition.AVAILABLE),
        media_rows.medium("debian-12", MediaCondition.DOWNLOADING),
    )
    page = site.log_in("root")
    page.get_by_role("button", name="New desktop").click()
    page.get_by_role("radio", name="From a medium").check()
    page.locator("#create-medium").select_option(label="debian-12 – downloading")
    expect(page.locator("#create-os")).to_have_value("debian")
    expect(page.get_by_label("Image in the second drive")).to_be_hidden()
    page.locator("#create-medium").select_option(label="Windows 11 image")
    expect(page.locator("#create-os")).to_have_value("windows-11")
    expect(page.get_by_label("Memory, GiB")).to_have_value("4")
    expect(page.get_by_label("Image in the second drive")).to_have_js_property(
        "value", media_rows.medium("virtio-win", MediaCondition.AVAILABLE)["id"]
    )
    expect(page.locator("#create-name")).to_have_value("Windows 11 image")
    page.get_by_label("Disk, GiB").fill("80")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".desktop-name")).to_have_text("Windows 11 image")
    (row,) = site.run(r.table("domains").coerce_to("array"))
    names = ("Windows 11 image", "virtio-win")
    ids = [media_rows.medium(name, MediaCondition.AVAILABLE)["id"] for name in names]
    assert row["origin"] == {"media": ids[0], "size_gib": 80}
    assert row["spec"]["media"] == [{"id": ids[0]}, {"id": ids[1]}]
    assert (row["spec"]["firmware"], row["spec"]["tpm"], row["os"]) == ("uefi", True, "Windows 11")


def test_only_media_that_a_desktop_can_be_made_from_at_once_are_offered(site: Site) -> None:
    iso = media_rows.medium("alpine", MediaCondition.AVAILABLE)
    image = media_rows.medium("cloud", MediaCondition.AVAILABLE, kind="disk")
    image["observed"]["format"] = "qcow2"
    packed = media_rows.medium("packed", MediaCondition.AVAILABLE, kind="disk")
    packed["observed"]["format"] = "ova"
    floppy = media_rows.medium("drivers", MediaCondition.AVAILABLE, kind="floppy")
    site.insert("media", iso, image, packed, floppy)
    page = site.log_in("root")
    page.get_by_role("button", name="New desktop").click()
    page.get_by_role("radio", name="From a medium").check()
    expect(page.locator("#create-medium option")).to_have_text(["alpine", "cloud"])
    # Offered on a page that was opened before the image was there and could be looked at.
    page.locator("#create-medium option").first.evaluate(
        "(node, id) => node.value = id", packed["id"]
    )
    page.get_by_role("button", name="Make it").click()
    refusal = "An image of format ova is taken over by an order: choose Make a desktop of it"
    expect(page.locator("#create-medium-error")).to_contain_text(refusal)


def test_what_is_in_the_drives_is_changed_on_the_desktops_page(site: Site) -> None:
    first = media_rows.medium("First", MediaCondition.AVAILABLE)
    second = media_rows.medium("Second", MediaCondition.AVAILABLE)
    site.insert("media", first, second)
    desktop = rows.desktop("Maths", Condition.STARTED, "root")
    desktop["spec"]["media"] = [{"id": first["id"]}]
    desktop["observed"]["media"] = [{"id": first["id"]}]
    site.insert("domains", desktop)
    page = site.log_in("root")
    site.open(page, f"/desktops/{desktop['id']}")
    wait_live(page)

    def drives() -> list[str | None]:
        found = site.run(r.table("domains").get(desktop["id"])["spec"]["media"])
        return [drive["id"] for drive in found]

    drive = page.get_by_label("Drive 1", exact=True)
    expect(drive).to_have_value(first["id"])
    drive.select_option(label="Second")
    wait_until(lambda: drives() == [second["id"]], 20, "the other image is asked for")
    drive.select_option(label="Empty")
    wait_until(lambda: drives() == [None], 20, "nothing is asked for")
    page.get_by_role("button", name="Add a drive").click()
    wait_until(lambda: drives() == [None, None], 20, "a second drive is asked for")
    expect(page.get_by_text("A new drive is there after the next start.")).to_be_visible()
    page.get_by_role("button", name="Take drive 2 out").click()
    wait_until(lambda: drives() == [None], 20, "the drive is gone")


def test_an_entry_of_a_catalogue_is_downloaded_with_one_click(site: Site) -> None:
    page = site.log_in("root")
    site.open(page, "/admin/updates")
    wait_live(page)
    expect(page.get_by_role("heading", name="No catalogue yet")).to_be_visible()
    with FileServer() as server:
        entry = {
            **{"id": "tiny", "kind": "disk", "name": "Tiny", "version": "1.0", "size": 5 << 20},
            **{"url": "https://images.example.org/tiny.qcow2", "sha256": "a" * 64},
        }
        document = json.dumps({"format": 1, "entries": [entry]}).encode()
        url = server.url("/c.json", content=document)
        page.get_by_role("button", name="Set the address").click()
        page.locator("#catalogue-url").fill("http://h.example/c.json")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#catalogue-url-error")).to_contain_text("https only")
        page.locator("#catalogue-url").fill(url)
        page.get_by_role("button", name="Save").click()
        found = card(page, "Tiny")
        expect(found).to_contain_text("New")
        expect(found).to_contain_text("5 MiB")
        page.get_by_role("button", name="Check now").click()
        expect(page.get_by_text("The catalogue is read.")).to_be_visible()
    found.get_by_role("button", name="Download Tiny 1.0").click()
    expect(found.locator(".badge")).to_have_text("Downloading")
    (row,) = site.run(r.table("media").coerce_to("array"))
    assert row["catalogue"] == {"id": "tiny", "version": "1.0"}
    seen = {"state": "available", "size": 5 << 20, "for": row["desired"]}
    site.run(r.table("media").get(row["id"]).update({"observed": r.literal(seen)}))
    expect(found.locator(".badge")).to_have_text("Downloaded")
    # The server is gone: what was read stays, and why it cannot be read again is said.
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("The catalogue could not be read")).to_be_visible()
    expect(found.locator(".badge")).to_have_text("Downloaded")


def test_a_desktop_is_made_of_a_disk_image(site: Site) -> None:
    image = media_rows.medium("Ready-made", MediaCondition.AVAILABLE, kind="disk")
    image["observed"]["format"] = "vmdk"
    site.insert("media", image)
    page = visit(site)
    found = card(page, "Ready-made")
    found.get_by_role("button", name="More for Ready-made").click()
    page.get_by_role("menuitem", name="Make a desktop of it").click()
    page.locator("#import-memory").fill("0.5")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_text("Ready-made is being created")).to_be_visible()
    (task,) = site.run(r.table("tasks").filter({"target": image["id"]}).coerce_to("array"))
    assert task["kind"] == "import"
    (row,) = site.run(r.table("domains").coerce_to("array"))
    assert (row["name"], row["spec"]["memory_mib"]) == ("Ready-made", 512)


def test_what_an_image_describes_is_shown_and_filled_in(site: Site) -> None:
    image = media_rows.medium("Office box", MediaCondition.AVAILABLE, kind="disk")
    described = {
        "name": "Office",
        "vcpus": 4,
        "memory_mib": 6144,
        "firmware": "uefi",
        "os": "Microsoft Windows 10 (64-bit)",
        "controller": "ide",
        "disks": 2,
        "notes": ["It describes 3 disks, and the archive has 2 to take over (.vmdk)."],
    }
    image["observed"] |= {"format": "ova", "hardware": described}
    plain = media_rows.medium("Plain", MediaCondition.AVAILABLE, kind="disk")
    site.insert("media", image, plain)
    page = visit(site)
    found = card(page, "Office box")
    expect(found).to_contain_text("Machine Office")
    expect(found).to_contain_text(
        "4 processors, 6 GiB, UEFI, Microsoft Windows 10 (64-bit), 2 disks"
    )
    expect(found).to_contain_text("It describes 3 disks")

    def open_import(name: str) -> None:
        card(page, name).get_by_role("button", name=f"More for {name}").click()
        page.get_by_role("menuitem", name="Make a desktop of it").click()

    def expect_fields(os: str, *rest: str) -> None:
        names = ("os", "vcpus", "memory", "firmware", "bus")
        for field, value in zip(names, (os, *rest), strict=True):
            expect(page.locator(f"#import-{field}")).to_have_value(value)

    open_import("Office box")
    expect_fields("windows-10", "4", "6", "uefi", "sata")
    expect(page.get_by_role("dialog")).to_contain_text("Its description says: 4 processors, 6 GiB")
    page.keyboard.press("Escape")
    # What one image describes is not left for the next; there the chosen system fills the fields.
    open_import("Plain")
    expect_fields("", "2", "2", "bios", "virtio")
    expect(page.get_by_role("dialog")).not_to_contain_text("Its description says")
    page.locator("#import-os").select_option("windows-10")
    expect_fields("windows-10", "2", "4", "uefi", "sata")
    page.keyboard.press("Escape")
    open_import("Office box")
    expect_fields("windows-10", "4", "6", "uefi", "sata")
    page.locator("#import-vcpus").fill("3")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_text("Office box is being created")).to_be_visible()
    (task,) = site.run(r.table("tasks").filter({"target": image["id"]}).coerce_to("array"))
    assert task["args"]["bus"] == "sata"
    (row,) = site.run(r.table("domains").coerce_to("array"))
    spec = row["spec"]
    assert (spec["vcpus"], spec["memory_mib"], spec["firmware"]) == (3, 6144, "uefi")
    assert row["os"] == "Windows 10"


def test_an_administrator_allows_a_network_inside(site: Site) -> None:
    page = visit(site)
    page.get_by_role("button", name="Allowed networks").click()
    page.get_by_label("Networks, one a line").fill("10.20.0.0/16\nnonsense")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#sources-allow-error")).to_contain_text("'nonsense' is no network")
    page.get_by_label("Networks, one a line").fill("10.20.0.0/16")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved")).to_be_visible()
    assert site.run(r.table("config").get("downloads"))["allow"] == ["10.20.0.0/16"]
