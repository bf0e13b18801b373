"""A new administrator's first day, in Chromium alone, over real hosts: one of each kind is added,
one breaks and is mended, a system is installed from an ISO image, a host is emptied, all removed.

Made of templates and deleted as a tree: test_template_path.py. Adding with a password:
tests/enrol/test_browser.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.engine.world import World
from tests.lab import LabHost, tiny_guest
from tests.lab.iso import make_iso
from tests.servers import ManagedProcess, free_port
from tests.webapp.conftest import put_user
from tests.webapp.pages.conftest import Site, wait_live

WORK_MS = 60_000
DEAF_S = 8.0
"""How long a system that does not listen is asked to shut down."""
KINDS = {"mixed": (), "pure": ("Makes and keeps disks",), "nas": ("Runs desktops",)}
"""The name of each host, and what is switched off in the form."""


@dataclass
class Tour:
    """One administrator's browser before an empty installation with three hosts in reach."""

    world: World
    site: Site
    page: Page
    hosts: dict[str, LabHost] = field(default_factory=dict)

    def open(self, path: str) -> None:
        self.site.open(self.page, path)
        wait_live(self.page)

    def host_card(self, name: str) -> Locator:
        return self.page.locator(f'.host[data-id="{name}"]')

    def desktop_card(self, name: str) -> Locator:
        return self.page.locator(f'.desktop:has(.desktop-name:text-is("{name}"))')

    def add(self, name: str, without: tuple[str, ...]) -> None:
        """By the form, without a password: the hosts let the engine's key in already."""
        host = self.hosts[name]
        self.open("/admin/hypervisors")
        self.page.get_by_role("button", name="Add a hypervisor").first.click()
        dialog = self.page.get_by_role("dialog", name="Add a hypervisor")
        dialog.get_by_label("Name", exact=True).fill(name)
        dialog.get_by_label("Address", exact=True).fill("127.0.0.1")
        dialog.get_by_label("SSH port").fill(str(host.ssh_port))
        dialog.get_by_label("Viewer port").fill(str(host.viewer_port))
        for label in without:
            dialog.get_by_role("switch", name=label).uncheck()
        dialog.get_by_role("button", name="Add it").click()
        self.page.wait_for_url(f"**/admin/hypervisors/{name}")
        # Nothing is sent to a machine whose key nobody has looked at.
        accept = self.page.get_by_role("button", name="Accept this key")
        expect(accept).to_be_visible(timeout=WORK_MS)
        accept.click()
        badge = self.page.locator(".title-row .badge:visible")
        expect(badge).to_have_text("Online", timeout=WORK_MS)
        expect(self.page.locator('.check[data-level="ok"]').first).to_be_visible()

    def wish(self, name: str, item: str, question: str, answer: str) -> None:
        """From the menu of a hypervisor's page, through the question it asks."""
        self.open(f"/admin/hypervisors/{name}")
        self.page.get_by_role("button", name="More").click()
        self.page.get_by_role("menuitem", name=item).click()
        dialog = self.page.get_by_role("alertdialog", name=question)
        dialog.get_by_role("button", name=answer).click()
        expect(dialog).to_be_hidden()

    def enable(self, name: str) -> None:
        self.open(f"/admin/hypervisors/{name}")
        button = self.page.get_by_role("button", name="Enable")
        button.click()
        expect(button).to_be_hidden()  # with it goes the badge of the former wish
        badge = self.page.locator(".title-row .badge:visible")
        expect(badge).to_have_text("Online", timeout=WORK_MS)

    def upload(self, file: Path, content: bytes, name: str) -> None:
        file.write_bytes(content)
        self.open("/media")
        self.page.get_by_role("button", name="Add a medium").first.click()
        self.page.get_by_role("radio", name="From this computer").check()
        self.page.get_by_label("File", exact=True).set_input_files(file)
        self.page.locator("#add-name").fill(name)
        self.page.get_by_role("button", name="Add it").click()
        heading = self.page.get_by_role("heading", name=name, exact=True)
        card = self.page.locator(".medium").filter(has=heading)
        expect(card).to_have_attribute("data-state", "available", timeout=WORK_MS)

    def install(self, medium: str) -> Locator:
        """A desktop of the medium's name, with an empty disk."""
        self.open("/desktops")
        self.page.get_by_role("button", name="New desktop").click()
        self.page.get_by_role("radio", name="From a medium").check()
        self.page.locator("#create-medium").select_option(label=medium)
        self.page.locator("#create-os").select_option(label="Something else")
        self.page.get_by_label("Processors").fill("1")
        self.page.get_by_label("Memory, GiB").fill("0.1")
        self.page.get_by_label("Disk, GiB").fill("0.1")
        self.page.get_by_role("button", name="Make it").click()
        card = self.desktop_card(medium)
        expect(card).to_have_attribute("data-state", "stopped", timeout=WORK_MS)
        return card

    def start(self, name: str) -> None:
        self.page.get_by_role("button", name=f"Start {name}", exact=True).click()


@pytest.fixture(scope="module")
def tour(chromium: Browser) -> Iterator[Tour]:
    with World(hosts=(), shutdown_timeout_s=DEAF_S) as world:
        put_user(world.database, "root", "root's password!")
        port = str(free_port())
        environment = {**world.environment, "ISARD_WEB_PORT": port}
        log = world.folder / "webapp.log"
        process = ManagedProcess([sys.executable, "-m", "webapp"], log, environment)
        site = Site(world.database, f"http://127.0.0.1:{port}", process, chromium)
        try:
            site.start()
            page = site.log_in("root", viewport={"width": 1280, "height": 800})
            tour = Tour(world, site, page)
            for name, without in KINDS.items():
                tour.hosts[name] = world.lab.start(name)
                tour.add(name, without)
            yield tour
            page.context.close()
        finally:
            process.stop()


def test_each_kind_shows_what_it_is_for(tour: Tour) -> None:
    tour.open("/admin/hypervisors")
    for name, healths in {
        "mixed": ["Online", "Online"],
        "pure": ["Online", "Not its task"],
        "nas": ["Not its task", "Online"],
    }.items():
        badges = tour.host_card(name).locator(".health .badge")
        expect(badges).to_have_text(healths, timeout=WORK_MS)


def test_a_host_that_breaks_explains_itself_and_comes_back_by_itself(tour: Tour) -> None:
    tour.open("/admin/hypervisors")
    card = tour.host_card("pure")
    tour.hosts["pure"].freeze()
    try:
        expect(card.locator(".head-tools .badge:visible")).not_to_have_text(
            "Online", timeout=WORK_MS
        )
        expect(card.locator(".notice-title:visible")).to_have_text(
            "Its hypervisor does not answer", timeout=WORK_MS
        )
        expect(card.get_by_text("What to do")).to_be_visible()
        expect(card.get_by_text("Next try:")).to_be_visible()
    finally:
        tour.hosts["pure"].thaw()
    expect(card.locator(".head-tools .badge:visible")).to_have_text("Online", timeout=WORK_MS)
    expect(card.locator(".notice:visible")).to_have_count(0)


def test_a_system_is_installed_and_outlives_the_emptying_of_its_host(
    tour: Tour, tmp_path: Path
) -> None:
    tour.upload(tmp_path / "tiny.iso", tiny_guest.build_installer(), "Tiny")
    tour.upload(tmp_path / "deaf.iso", make_iso(label="DEAF"), "Deaf")
    # One host is left to run them, so that both run there.
    tour.wish("mixed", "Disable", "Disable it?", "Disable it")
    tiny = tour.install("Tiny")
    deaf = tour.install("Deaf")
    # The disk is empty, so the image starts; it installs and powers off by itself.
    tour.start("Tiny")
    expect(tiny.get_by_text("Shut down from inside", exact=True)).to_be_visible(timeout=WORK_MS)
    # Now the disk starts. Nothing is on the other's image: what runs there hears nobody.
    for name, card in (("Tiny", tiny), ("Deaf", deaf)):
        tour.start(name)
        expect(card).to_have_attribute("data-state", "started", timeout=WORK_MS)
        expect(card.locator(".desktop-facts")).to_contain_text("pure")
    tour.enable("mixed")
    tour.wish("pure", "Maintenance", "Put it into maintenance?", "Empty it")
    page = tour.page
    expect(page.get_by_text("1 of 2 desktops left")).to_be_visible(timeout=WORK_MS)
    expect(page.get_by_text("It is empty")).to_be_visible(timeout=WORK_MS)
    expect(page.get_by_text("None just now.")).to_be_visible()
    assert tour.world.running(tour.hosts["pure"]) == set()
    tour.open("/desktops")
    for card in (tiny, deaf):
        expect(card).to_have_attribute("data-state", "started", timeout=WORK_MS)
        expect(card.locator(".desktop-facts")).to_contain_text("mixed")
    assert len(tour.world.running(tour.hosts["mixed"])) == 2
    tour.enable("pure")
    expect(page.get_by_text("It is empty")).to_be_hidden()


def test_each_kind_is_removed(tour: Tour) -> None:
    """The last of this file: no host is left after it."""
    for name in ("nas", "pure", "mixed"):
        tour.wish(name, "Remove", "Remove this hypervisor?", "Remove it")
        tour.page.wait_for_url("**/admin/hypervisors", timeout=WORK_MS)
        expect(tour.host_card(name)).to_have_count(0)
    expect(tour.page.get_by_role("heading", name="No hypervisor yet")).to_be_visible()
