"""Opening a screen: the ticket as a hypervisor verifies it, and where no secret may be."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from jwcrypto.jwk import JWK

from db.connection import Database, r
from hyper_image.tickets import TicketOffice, TicketRefused
from tests.webapp.conftest import Api, Rows
from webapp.settings import WebSettings
from webapp.viewers import tickets


def make_key(folder: Path, name: str, age_s: float = 0) -> JWK:
    """A signing key as the installation's set-up writes it, and its public half beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    key = JWK.generate(kty="EC", crv="P-256")
    path = folder / f"{name}.key.pem"
    path.write_bytes(key.export_to_pem(private_key=True, password=None))
    (folder / f"{name}.pem").write_bytes(key.export_to_pem())
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return key


@pytest.fixture
def keys(web_settings: WebSettings) -> Path:
    make_key(web_settings.ticket_keys_dir, "k1", age_s=100)
    return web_settings.ticket_keys_dir


@pytest.fixture
def office_of(keys: Path, tmp_path: Path) -> Callable[[str], TicketOffice]:
    """The hypervisor's own check, with this installation's public keys."""

    def make(hypervisor: str, clock: Callable[[], float] = time.time) -> TicketOffice:
        spent = tmp_path / f"spent-{hypervisor}"
        spent.mkdir(exist_ok=True)
        return TicketOffice(hypervisor, keys, spent, clock)

    return make


def open_viewer(api: Api, desktop_id: str, **more: Any) -> Any:
    return api("POST", f"/desktops/{desktop_id}/viewer", {"kind": "browser"}, **more)


def token_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["token"][0]


def test_the_hypervisor_accepts_the_ticket_once(
    ana: Api, rows: Rows, office_of: Callable[[str], TicketOffice]
) -> None:
    rows.hypervisor()
    desktop = rows.running("ana", port=5907)
    answer = open_viewer(ana, desktop["id"])
    assert answer.status_code == 200, answer.json
    assert set(answer.json) == {"url", "expires_at", "password", "page"}
    assert answer.json["password"] == "cons0le!"
    assert answer.json["page"] == f"/desktops/{desktop['id']}/viewer"
    url = urlsplit(answer.json["url"])
    assert (url.scheme, url.hostname, url.port, url.path) == (
        "ws",
        "localhost",
        6090,
        "/websockify",
    )
    assert "cons0le!" not in answer.json["url"]
    assert answer.headers["Cache-Control"] == "no-store"
    office = office_of("host-a")
    ticket = office.accept(token_of(answer.json["url"]))
    assert (ticket.domain, ticket.port) == (desktop["id"], 5907)
    with pytest.raises(TicketRefused, match="used already"):
        office.accept(token_of(answer.json["url"]))


def test_a_ticket_is_for_one_hypervisor_and_thirty_seconds(
    ana: Api, rows: Rows, office_of: Callable[[str], TicketOffice]
) -> None:
    rows.hypervisor()
    token = token_of(open_viewer(ana, rows.running("ana")["id"]).json["url"])
    with pytest.raises(TicketRefused, match="another hypervisor"):
        office_of("host-b").accept(token)
    with pytest.raises(TicketRefused, match="expired"):
        office_of("host-a", clock=lambda: time.time() + 31).accept(token)


def test_the_newest_key_signs(
    ana: Api, rows: Rows, keys: Path, office_of: Callable[[str], TicketOffice]
) -> None:
    rows.hypervisor()
    make_key(keys, "k2")
    token = token_of(open_viewer(ana, rows.running("ana")["id"]).json["url"])
    (keys / "k1.pem").unlink()
    assert office_of("host-a").accept(token)


def test_a_life_longer_than_half_a_minute_is_cut(keys: Path) -> None:
    ticket = tickets.sign(keys, hypervisor="h", domain="d", port=5900, life_s=999, now_s=1000)
    assert ticket.expires_at_s == 1030


def test_without_a_key_it_says_what_to_do(ana: Api, rows: Rows) -> None:
    rows.hypervisor()
    answer = open_viewer(ana, rows.running("ana")["id"])
    assert (answer.status_code, answer.json["reason"]) == (503, "NoTicketKey")


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("viewer", "base_url", "expected"),
    [
        ({"hostname": None, "port": 6090}, "http://pc7.example:8080", "ws://pc7.example:6090"),
        ({"hostname": None, "port": 6090}, "https://pc7.example", "wss://pc7.example:6090"),
        ({"hostname": None, "port": 6090}, "http://[::1]:8080", "ws://[::1]:6090"),
        ({"hostname": "v.example", "port": 443}, "https://pc7.example", "wss://v.example:443"),
        ({"hostname": "2001:db8::7"}, "http://pc7.example", "ws://[2001:db8::7]:6080"),
        ({"hostname": "x/y?z", "port": "1"}, "http://pc7.example", "ws://pc7.example:6080"),
        ("nonsense", "http://pc7.example", "ws://pc7.example:6080"),
    ],
)
def test_the_url_names_the_host_a_browser_can_reach(
    ana: Api, rows: Rows, viewer: Any, base_url: str, expected: str
) -> None:
    rows.hypervisor(viewer=viewer)
    answer = open_viewer(ana, rows.running("ana")["id"], base_url=base_url)
    assert answer.status_code == 200, answer.json
    assert answer.json["url"].startswith(expected + "/websockify?token=")


@pytest.mark.usefixtures("keys")
def test_no_screen_no_ticket(ana: Api, rows: Rows, database: Database) -> None:
    rows.hypervisor()
    desktop = rows.running("ana")
    database.run(r.table("consoles").get(desktop["id"]).delete())
    answer = open_viewer(ana, desktop["id"])
    assert (answer.status_code, answer.json["reason"]) == (409, "ConsoleNotReady")
    rows.put("consoles", {"id": desktop["id"], "password": 5, "ports": [], "hypervisor": "host-a"})
    assert open_viewer(ana, desktop["id"]).status_code == 409
    other = rows.running("ana")
    database.run(r.table("hypervisors").delete())
    answer = open_viewer(ana, other["id"])
    assert (answer.status_code, answer.json["reason"]) == (409, "HypervisorGone")


@pytest.mark.usefixtures("keys")
def test_an_unknown_kind_of_viewer_is_refused(ana: Api, rows: Rows) -> None:
    answer = ana("POST", f"/desktops/{rows.running('ana')['id']}/viewer", {"kind": "telepathy"})
    assert (answer.status_code, answer.json["field"]) == (422, "kind")


@pytest.mark.usefixtures("keys")
def test_neither_log_nor_audit_holds_ticket_or_password(
    ana: Api, rows: Rows, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    rows.hypervisor()
    url = open_viewer(ana, rows.running("ana")["id"]).json["url"]
    ana("GET", f"/desktops?token={token_of(url)}")
    written = "".join(capfd.readouterr())
    assert "method=GET" in written, "there is a line for each request"
    everything = written + str(database.run(r.table("events")))
    for secret in (token_of(url), "cons0le!", ana.token):
        assert secret not in everything
