"""From an ISO image to a working guest, over REST, web side, engine, SSH, libvirt and QEMU."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from db.connection import r
from tests.engine.file_server import FileServer
from tests.engine.world import World
from tests.lab import tiny_guest
from tests.lab.iso import make_iso
from tests.servers import ManagedProcess, free_port, wait_until
from tests.webapp.conftest import PASSWORDS, put_user

SYSTEM = {"vcpus": 1, "memory_mib": 32}


class Site:
    """A World with its web side, and an administrator's token."""

    def __init__(self, world: World) -> None:
        self.world = world
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        more = {"ISARD_WEB_PORT": str(port), "ISARD_CATALOGUE_HTTP": "1"}
        environment = {**world.environment, **more}
        log = world.folder / "webapp.log"
        self.webapp = ManagedProcess([sys.executable, "-m", "webapp"], log, environment)
        self.session = requests.Session()

    def start(self) -> None:
        put_user(self.world.database, "root", PASSWORDS["root"])
        self.webapp.start()
        wait_until(self._is_up, 60, "the web side answers")
        login = {"username": "root", "password": PASSWORDS["root"]}
        token = self.call("POST", "/tokens", login)["token"]
        self.session.headers["Authorization"] = f"Bearer {token}"

    def _is_up(self) -> bool:
        assert self.webapp.is_running(), self.webapp.log_text()
        try:
            return requests.get(f"{self.url}/login", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = self.session.request(
            method, f"{self.url}/api/v1{path}", json=body, timeout=30, **more
        )
        assert answer.status_code < 300, (method, path, answer.text)
        return answer.json()

    def upload(self, name: str, content: bytes, kind: str = "iso") -> str:
        """Sent in two pieces, and waited for until the disk host has it."""
        source = {"upload": True, "size": len(content)}
        made = self.call("POST", "/media", {"name": name, "kind": kind, "source": source})
        half = len(content) // 2
        for offset, piece in ((0, content[:half]), (half, content[half:])):
            headers = {"Upload-Offset": str(offset)}
            self.call("PUT", f"/media/{made['id']}/upload", data=piece, headers=headers)
        self.world.wait_until(
            lambda: self.call("GET", f"/media/{made['id']}")["is_ready"], f"{name} is there", 60
        )
        media_id: str = made["id"]
        return media_id

    def condition(self, desktop_id: str) -> str:
        return str(self.call("GET", f"/desktops/{desktop_id}")["condition"])

    def wish(self, desktop_id: str, state: str, *, force: bool = False) -> None:
        desired = {"state": state, **({"force": True} if force else {})}
        self.call("PATCH", f"/desktops/{desktop_id}", {"desired": desired})

    def wait_condition(self, desktop_id: str, condition: str) -> None:
        self.world.wait_until(
            lambda: self.condition(desktop_id) == condition, f"the desktop is {condition}", 60
        )


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with World() as world:
        site = Site(world)
        try:
            site.start()
            yield site
        finally:
            site.webapp.stop()


def boots_of(disk: Path) -> int:
    """The counter in the second sector of the tiny guest's disk."""
    with tempfile.NamedTemporaryFile() as raw:
        convert = ["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw"]
        subprocess.run([*convert, str(disk), raw.name], check=True, timeout=30)
        return int.from_bytes(Path(raw.name).read_bytes()[512:514], "little")


def drives_of(site: Site, desktop_id: str) -> list[str | None]:
    """What libvirt itself says is in its drives for ISO images."""
    answer = site.world.host.exec(["virsh", "-q", "domblklist", "--details", desktop_id]).stdout
    rows = [line.split() for line in answer.splitlines()]
    return [None if row[3] == "-" else row[3] for row in rows if row[1] == "cdrom"]


def test_a_system_is_installed_from_an_uploaded_image_and_starts_from_its_disk(site: Site) -> None:
    iso = site.upload("Tiny installer", tiny_guest.build_installer())
    spool = site.world.data / "uploads"
    wait_until(lambda: not list(spool.iterdir()), 30, "the upload is swept")
    made = site.call(
        "POST",
        "/desktops",
        {
            "name": "Installed",
            "origin": {"media": iso, "size_gib": 0.01},
            "os": "other",
            "spec": SYSTEM,
        },
    )
    desktop = made["id"]
    assert made["spec"]["media"] == [{"id": iso}]
    site.wait_condition(desktop, "stopped")
    # The disk is empty, so the image starts; it installs and powers off by itself.
    site.wish(desktop, "started")
    site.world.wait_until(
        lambda: site.world.observed(desktop).get("reason") == "GuestShutdown",
        "the installer powers off",
        60,
    )
    disk = site.world.disk_of(desktop)
    assert boots_of(disk) == 0
    # Now the disk starts, with the image still in the drive.
    site.wish(desktop, "started")
    site.wait_condition(desktop, "started")
    site.world.wait_until(lambda: boots_of(disk) == 1, "it counts its first start", 60)
    assert drives_of(site, desktop) == [str(_file(site, iso))]
    site.wish(desktop, "stopped", force=True)
    site.wait_condition(desktop, "stopped")


def _file(site: Site, media_id: str) -> Path:
    return site.world.folder / "storage" / "media" / media_id / f"{media_id}.iso"


def test_what_is_in_the_drives_is_changed_while_it_runs(site: Site) -> None:
    first = site.upload("First", tiny_guest.build_installer())
    second = site.upload("Second", make_iso(label="SECOND"))
    desktop = site.world.add_desktop(
        site.world.add_template(), spec={"memory_mib": 16, "media": [{"id": first}, {"id": None}]}
    )
    site.world.wish(desktop, "started")
    site.world.wait_for(desktop, "started")
    assert drives_of(site, desktop) == [str(_file(site, first)), None]

    def change(*ids: str | None) -> None:
        spec = {"media": [{"id": one} for one in ids]}
        site.call("PATCH", f"/desktops/{desktop}", {"spec": spec})
        expected = [str(_file(site, one)) if one else None for one in ids]
        site.world.wait_until(lambda: drives_of(site, desktop) == expected, f"{expected} is in", 60)

    change(second, first)
    change(None, first)
    # By a script, the same.
    drives = {"spec": {"media": [{"id": first}, {"id": second}]}}
    site.world.database.run(r.table("domains").get(desktop).update(drives))
    site.world.wait_until(
        lambda: drives_of(site, desktop) == [str(_file(site, one)) for one in (first, second)],
        "the script's media are in",
        60,
    )
    site.world.wait_until(
        lambda: site.world.observed(desktop)["media"] == [{"id": first}, {"id": second}],
        "it is shown",
        60,
    )
    answer = site.session.delete(f"{site.url}/api/v1/media/{second}", timeout=20)
    assert (answer.status_code, answer.json()["reason"]) == (409, "InUse")
    site.world.wish(desktop, "stopped", force=True)
    site.world.wait_for(desktop, "stopped")


def test_a_desktop_is_a_copy_of_a_disk_image(site: Site, tmp_path: Path) -> None:
    image = tiny_guest.build(tmp_path / "tiny.qcow2")
    disk = site.upload("Tiny disk", image.read_bytes(), kind="disk")
    origin = {"media": disk}
    made = site.call("POST", "/desktops", {"name": "Copy", "origin": origin, "spec": SYSTEM})
    site.wait_condition(made["id"], "stopped")
    site.wish(made["id"], "started")
    site.wait_condition(made["id"], "started")
    copy = site.world.disk_of(made["id"])
    site.world.wait_until(lambda: boots_of(copy) == 1, "it starts", 60)
    site.wish(made["id"], "stopped", force=True)
    # A copy of its own: the image may go.
    site.call("DELETE", f"/media/{disk}")
    table = r.table("media").get(disk)
    site.world.wait_until(lambda: site.world.database.run(table) is None, "the image is gone", 60)


def test_a_desktop_waits_for_a_medium_that_is_not_there_yet(site: Site) -> None:
    waiting = {"id": "0b9c3c6e-8d53-4b3f-9d0e-2f3a4b5c6d7e", "kind": "iso", "name": "Coming"}
    row = {**waiting, "user": "root", "source": {"url": "http://127.0.0.1:1/x.iso"}}
    site.world.database.run(r.table("media").insert({**row, "desired": {"state": "absent"}}))
    desktop = site.world.add_domain("desktop", {"media": waiting["id"], "size_gib": 0.01})
    site.world.wish(desktop, "started")
    site.world.wait_until(
        lambda: site.world.observed(desktop).get("reason") == "MediaNotReady", "it waits", 60
    )
    assert "'Coming' is not available yet" in site.world.observed(desktop)["message"]
    site.world.wish(desktop, "stopped")


def test_windows_hardware_comes_up_with_firmware_and_tpm(site: Site) -> None:
    """Under emulation and without Windows: UEFI with secure boot, the TPM, and libvirt's blessing
    of all the rest.
    """
    info = site.world.database.run(r.table("hypervisors").get("h1"))["observed"]["info"]
    assert info["firmwares"] == ["bios", "uefi"]
    assert info["secure_boot"] is True
    assert info["tpm"] is True
    iso = site.upload("Windows 11", make_iso(label="WINDOWS"))
    drivers = site.upload("virtio-win", make_iso(label="DRIVERS"))
    spec = {"memory_mib": 512, "media": [{"id": iso}, {"id": drivers}]}
    origin = {"media": iso, "size_gib": 1}
    body = {"name": "Windows", "origin": origin, "os": "windows-11", "spec": spec}
    desktop = site.call("POST", "/desktops", body)["id"]
    site.wait_condition(desktop, "stopped")
    site.wish(desktop, "started")
    site.wait_condition(desktop, "started")
    xml = site.world.host.exec(["virsh", "dumpxml", desktop]).stdout
    assert "<tpm model='tpm-crb'>" in xml
    assert "secure='yes'" in xml
    assert "<clock offset='localtime'>" in xml
    assert drives_of(site, desktop) == [str(_file(site, iso)), str(_file(site, drivers))]
    tpm = site.world.host.exec(["pgrep", "-f", f"swtpm.*{desktop}"], check=False).stdout.split()
    assert tpm, "the TPM emulator runs"
    site.wish(desktop, "stopped", force=True)
    site.wait_condition(desktop, "stopped")
    site.wish(desktop, "deleted")
    site.world.wait_gone(desktop)
    left = [path for path in site.world.disk_files() if desktop in str(path)]
    assert left == []


def test_an_entry_of_a_catalogue_is_downloaded_verified_and_started(
    site: Site, tmp_path: Path
) -> None:
    image = tiny_guest.build(tmp_path / "tiny.qcow2").read_bytes()
    allow = {"id": "downloads", "allow": ["127.0.0.0/8"]}
    site.world.database.run(r.table("config").insert(allow, conflict="replace"))
    with FileServer() as server:
        entry = {
            **{"id": "tiny", "kind": "disk", "name": "Tiny", "version": "2", "size": len(image)},
            **{"url": server.url("/tiny.qcow2", content=image)},
            **{"sha256": hashlib.sha256(image).hexdigest()},
        }
        document = json.dumps({"format": 1, "entries": [entry]}).encode()
        url = server.url("/catalogue.json", content=document)
        (offered,) = site.call("PUT", "/updates", {"url": url})["entries"]
        assert offered["state"] == "new"
        media_id = site.call("POST", "/updates/entries/tiny")["media"]
        site.world.wait_until(
            lambda: site.call("GET", "/updates")["entries"][0]["state"] == "downloaded",
            "it is downloaded",
            60,
        )
    observed = site.call("GET", f"/media/{media_id}")["observed"]
    assert observed["sha256"] == entry["sha256"]
    made = site.call(
        "POST", "/desktops", {"name": "From afar", "origin": {"media": media_id}, "spec": SYSTEM}
    )
    site.wait_condition(made["id"], "stopped")
    site.wish(made["id"], "started")
    site.wait_condition(made["id"], "started")
    disk = site.world.disk_of(made["id"])
    site.world.wait_until(lambda: boots_of(disk) == 1, "it starts", 60)
    site.wish(made["id"], "stopped", force=True)
