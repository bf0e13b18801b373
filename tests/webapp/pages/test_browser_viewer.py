"""The viewer page against a real console: QEMU's VNC server behind a real websockify.

What a ticket opens is the viewer proxy's own tests' subject; here the page is: it shows the guest's
pixels, sends keys, comes back with a new ticket and password when the desktop was started again,
and says why there is nothing to see.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from db.connection import r
from db.states import Condition
from tests.servers import ManagedProcess, answers, free_port, wait_until
from tests.webapp.pages import rows
from tests.webapp.pages.conftest import Site

PIXELS = """() => {
  const canvas = document.querySelector("#screen canvas");
  if (!canvas || !canvas.width) return [0, 0, 0];
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let lit = 0;
  for (let i = 0; i < data.length; i += 4) lit += data[i] + data[i + 1] + data[i + 2] > 150 ? 1 : 0;
  return [canvas.width, canvas.height, lit];
}"""


class Console:
    """A QEMU without a disk, whose firmware writes on its screen, behind a websocket proxy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vnc_port, self.web_port = free_port(), free_port()
        while self.vnc_port < 5900:
            self.vnc_port = free_port()
        target = f"127.0.0.1:{self.vnc_port}"
        self.proxy = ManagedProcess(
            [sys.executable, "-m", "websockify", f"127.0.0.1:{self.web_port}", target],
            folder / "proxy.log",
        )
        self.guest: ManagedProcess | None = None

    def boot(self, password: str) -> None:
        secret = self.folder / "console-password"
        secret.write_text(password)
        self.control = self.folder / "control"
        self.control.unlink(missing_ok=True)
        vnc = f"127.0.0.1:{self.vnc_port - 5900},password-secret=console"
        arguments = ["-object", f"secret,id=console,file={secret}", "-vnc", vnc]
        arguments += [
            "-m",
            "16",
            "-display",
            "none",
            "-nodefaults",
            "-vga",
            "std",
            "-boot",
            "menu=on",
        ]
        arguments += ["-qmp", f"unix:{self.control},server=on,wait=off", "-accel", "tcg"]
        arguments += ["-trace", "enable=input_event_key_qcode"]
        self.guest = ManagedProcess(["qemu-system-x86_64", *arguments], self.folder / "guest.log")
        self.guest.start()
        wait_until(lambda: answers(self.vnc_port), 20, "the console listens")

    def halt(self) -> None:
        if self.guest:
            self.guest.stop()

    def keys_pressed(self) -> list[str]:
        """What QEMU saw of the keyboard, from its own trace."""
        assert self.guest is not None
        seen = re.findall(r"key qcode ([a-z0-9_]+), down 1", self.guest.log_text())
        return [str(key) for key in seen]

    def wait_for_reset(self, act: Callable[[], None]) -> None:
        """Does `act` and waits until the machine was reset by what came of it."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(20)
            control.connect(str(self.control))
            lines = control.makefile("rw")
            lines.readline()
            lines.write(json.dumps({"execute": "qmp_capabilities"}) + "\n")
            lines.flush()
            act()
            while json.loads(lines.readline()).get("event") != "RESET":
                """Other events may come before."""


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    made.proxy.start()
    wait_until(lambda: answers(made.web_port), 20, "the proxy listens")
    yield made
    made.halt()
    made.proxy.stop()


def put_running(site: Site, console: Console, row: dict[str, Any], password: str) -> None:
    """As the engine leaves a desktop it has started."""
    ports = {"vnc": console.vnc_port}
    host = {**rows.hypervisor("hyper-1"), "viewer": {"hostname": None, "port": console.web_port}}
    site.insert("hypervisors", host)
    wait_until(
        lambda: f":{console.web_port}" in site.policy(), 20, "pages may connect to the proxy"
    )
    site.insert(
        "consoles", {"id": row["id"], "password": password, "hypervisor": "hyper-1", "ports": ports}
    )
    site.insert("domains", row)


def wait_for_pixels(page: Page) -> None:
    expect(page.locator("#viewer")).to_have_attribute("data-screen", "on", timeout=20_000)
    wait_until(lambda: page.evaluate(PIXELS)[2] > 100, 20, "the guest's screen has light on it")


def test_the_screen_follows_the_desktop_through_a_restart(site: Site, console: Console) -> None:
    row = rows.desktop("Maths", Condition.STARTED)
    console.boot("first")
    put_running(site, console, row, "first")
    page = site.log_in("ana")
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.on("websocket", lambda socket: addresses.append(socket.url))
    site.open(page, f"/desktops/{row['id']}/viewer")
    wait_for_pixels(page)
    assert page.locator("#screen canvas").is_visible()

    # It stops: the page says so and offers to start it.
    console.halt()
    site.insert("domains", {**rows.desktop("Maths", Condition.STOPPED), "id": row["id"]})
    expect(page.get_by_role("heading", name="This desktop is stopped")).to_be_visible()
    expect(page.get_by_text("It shut down by itself.")).to_be_visible()
    page.locator("#wait").get_by_role("button", name="Start").click()
    expect(page.locator(".viewer-title .badge")).to_have_text("Starting")

    # It runs again with another password: the screen comes back without a click.
    console.boot("second")
    put_running(site, console, row, "second")
    wait_for_pixels(page)
    assert any("websockify?token=" in address for address in addresses)
    assert not [address for address in addresses if "first" in address or "second" in address]


def test_a_broken_connection_is_made_again(site: Site, console: Console) -> None:
    row = rows.desktop("Maths", Condition.STARTED)
    console.boot("secret")
    put_running(site, console, row, "secret")
    page = site.log_in("ana")
    site.open(page, f"/desktops/{row['id']}/viewer")
    wait_for_pixels(page)
    os.killpg(console.proxy.pid, signal.SIGKILL)  # the proxy and its process for this viewer
    expect(page.locator("#viewer")).to_have_attribute("data-screen", "off")
    expect(page.get_by_role("heading", name="The screen cannot be opened")).to_be_visible(
        timeout=20_000
    )
    console.proxy.start()
    wait_for_pixels(page)


def test_a_screen_that_is_not_ready_says_why(site: Site) -> None:
    row = rows.desktop("Maths", Condition.STARTED)
    site.insert("domains", row)
    page = site.log_in("ana")
    site.open(page, f"/desktops/{row['id']}/viewer")
    expect(page.get_by_text("Its screen is not ready yet.")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("button", name="Connect again")).to_be_visible()


def test_it_says_why_it_waits_and_what_failed(site: Site) -> None:
    row = rows.desktop("Maths", Condition.WAITING)
    site.insert("domains", row)
    page = site.log_in("ana")
    site.open(page, f"/desktops/{row['id']}/viewer")
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    expect(page.get_by_text("hyper-1 lacks 4 GiB of memory.")).to_be_visible()
    site.insert("domains", {**rows.desktop("Maths", Condition.FAILED), "id": row["id"]})
    expect(page.get_by_role("heading", name="It could not be started")).to_be_visible()
    site.run(r.table("domains").get(row["id"]).delete())
    expect(page.get_by_role("heading", name="This desktop was deleted")).to_be_visible()
    expect(page.locator("#wait").get_by_role("button")).to_have_count(0)


def test_keys_reach_the_guest_and_can_be_taken_back(site: Site, console: Console) -> None:
    """Ctrl+Alt+Del makes the firmware start anew; Ctrl+Alt+Shift gives the keyboard back."""
    row = rows.desktop("Maths", Condition.STARTED)
    console.boot("secret")
    put_running(site, console, row, "secret")
    page = site.log_in("ana")
    site.open(page, f"/desktops/{row['id']}/viewer")
    wait_for_pixels(page)
    console.wait_for_reset(page.get_by_role("button", name="Ctrl+Alt+Del").click)
    expect(page.locator("#screen canvas")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#screen canvas")).to_be_focused()
    for key in ("Control", "Alt", "Shift"):
        page.keyboard.down(key)
    for key in ("Control", "Alt", "Shift"):
        page.keyboard.up(key)
    expect(page.get_by_role("link", name="Desktops")).to_be_focused()


def test_a_pasted_text_is_typed_key_by_key(site: Site, console: Console) -> None:
    row = rows.desktop("Maths", Condition.STARTED)
    console.boot("secret")
    put_running(site, console, row, "secret")
    page = site.log_in("ana")
    site.open(page, f"/desktops/{row['id']}/viewer")
    wait_for_pixels(page)
    page.get_by_role("button", name="Paste text").click()
    dialog = page.get_by_role("dialog", name="Paste text")
    dialog.get_by_label("Text").fill("aB!\n")
    dialog.get_by_role("button", name="Type it").click()
    expect(dialog).to_be_hidden()
    expected = ["a", "shift", "b", "shift", "1", "ret"]
    wait_until(lambda: console.keys_pressed() == expected, 30, f"the guest saw {expected}")


def test_a_phone_types_with_its_own_keyboard(site: Site, console: Console) -> None:
    row = rows.desktop("Maths", Condition.STARTED)
    console.boot("secret")
    put_running(site, console, row, "secret")
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    page = site.log_in("ana", **phone)
    site.open(page, f"/desktops/{row['id']}/viewer")
    wait_for_pixels(page)
    page.get_by_role("button", name="Keyboard").tap()
    expect(page.get_by_label("Type into the desktop")).to_be_focused()
    page.keyboard.type("ok")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    expected = ["o", "k", "backspace", "ret"]
    wait_until(lambda: console.keys_pressed() == expected, 30, f"the guest saw {expected}")


def test_fit_and_actual_size(site: Site, console: Console) -> None:
    row = rows.desktop("Maths", Condition.STARTED)
    console.boot("secret")
    put_running(site, console, row, "secret")
    page = site.log_in("ana", viewport={"width": 500, "height": 400})
    site.open(page, f"/desktops/{row['id']}/viewer")
    wait_for_pixels(page)
    canvas = page.locator("#screen canvas")
    width = page.evaluate(PIXELS)[0]
    assert canvas.evaluate("c => c.getBoundingClientRect().width") <= 500
    page.get_by_role("button", name="Fit to the window").click()
    wait_until(lambda: canvas.evaluate("c => c.getBoundingClientRect().width") == width, 30, "1:1")
