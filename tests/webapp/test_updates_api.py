"""Updates: what is believed of a catalogue and what is not, and what becomes of its entries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from db.connection import r
from tests.engine.file_server import FileServer, make_tls
from tests.webapp.conftest import Api, Rows
from webapp.services import catalogue
from webapp.settings import WebSettings

IMAGE = {
    "id": "debian",
    "kind": "iso",
    "name": "Debian",
    "version": "12.11",
    "url": "https://images.example.org/debian.iso",
    "sha256": "a" * 64,
    "size": 700_000_000,
}
PROFILE = {
    "id": "haiku",
    "kind": "os_profile",
    "name": "Haiku",
    "version": "1",
    "profile": {"family": "other", "size_gib": 8, "spec": {"memory_mib": 1024, "video": "vga"}},
}


def document(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"format": 1, "entries": list(entries)}).encode()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def web_settings(web_settings: WebSettings) -> WebSettings:
    """The explicit setting that lets a catalogue come unencrypted from this very machine."""
    return replace(web_settings, catalogue_http=True)


@pytest.fixture
def serve(server: FileServer, root: Api) -> Callable[..., Any]:
    def set_up(*entries: dict[str, Any], **behaviour: Any) -> Any:
        url = server.url("/catalogue.json", content=document(*entries), **behaviour)
        return root("PUT", "/updates", {"url": url}).json

    return set_up


def test_without_an_address_nothing_is_asked(root: Api, ana: Api) -> None:
    answer = root("GET", "/updates").json
    assert answer == {"url": "", "checked_at": None, "problem": None, "entries": []}
    assert root("POST", "/updates/check").json["reason"] == "NoCatalogue"
    assert ana("GET", "/updates").status_code == 403
    assert root("PUT", "/updates", {"url": "ftp://h.example/c.json"}).json["field"] == "url"
    assert root("PUT", "/updates", {"url": "http://h.example/c.json"}).json["field"] == "url"


def test_entries_go_from_new_to_downloaded(
    serve: Callable[..., Any], root: Api, rows: Rows
) -> None:
    old = datetime.now(UTC) - timedelta(days=60)
    answer = serve(IMAGE, {**PROFILE, "published": old.isoformat()})
    assert {item["id"]: item["state"] for item in answer["entries"]} == {
        "debian": "new",
        "haiku": "available",
    }
    assert root("POST", "/updates/entries/nothing").status_code == 404
    made = root("POST", "/updates/entries/debian")
    assert (made.status_code, made.json["state"]) == (202, "downloading")
    medium = rows.get(made.json["media"], "media")
    assert medium["source"] == {"url": IMAGE["url"], "sha256": "a" * 64}
    assert medium["name"] == "Debian 12.11"
    assert medium["desired"]["state"] == "available"
    again = root("POST", "/updates/entries/debian").json
    assert again["media"] == medium["id"]
    failure = {"terminal": True, "reason": "DownloadFailed"}
    rows.observe(medium["id"], "media", state="failed", failure=failure)
    assert root("GET", "/updates").json["entries"][0]["state"] == "failed"
    rows.available(medium["id"])
    assert root("GET", "/updates").json["entries"][0]["state"] == "downloaded"
    # A later version of the same is on offer anew.
    newer = serve({**IMAGE, "version": "13.1"})
    assert newer["entries"][0]["state"] == "new"


def test_a_profile_is_kept_and_offered_to_new_desktops(
    serve: Callable[..., Any], root: Api
) -> None:
    serve(PROFILE)
    assert root("POST", "/updates/entries/haiku").json["state"] == "downloaded"
    profiles = {item["id"]: item for item in root("GET", "/os-profiles").json["items"]}
    assert profiles["haiku"]["spec"]["memory_mib"] == 1024


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"sha256": None}, "sha256"),
        ({"sha256": "12"}, "sha256"),
        ({"id": "../x"}, "id"),
        ({"name": "<b>"}, "name"),
        ({"kind": "exe"}, "kind"),
        ({"size": -1}, "size"),
    ],
)
def test_one_bad_entry_spoils_the_catalogue(
    serve: Callable[..., Any], entry: dict[str, Any], what: str
) -> None:
    answer = serve({key: value for key, value in {**IMAGE, **entry}.items() if value is not None})
    assert answer["entries"] == []
    assert what in answer["problem"]


def test_what_cannot_be_read_leaves_what_was_read(
    serve: Callable[..., Any], root: Api, server: FileServer
) -> None:
    serve(IMAGE)
    for behaviour, what in (
        ({"content": b"gone", "status": 500}, "500"),
        ({"content": b"<html>"}, "not a catalogue"),
        ({"content": document(IMAGE, IMAGE)}, "twice"),
        ({"content": b" " * (catalogue.MAX_BYTES + 1)}, "larger"),
        ({"status": 302, "headers": {"Location": "http://h.example/c.json"}}, "https only"),
        ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, "not allowed"),
    ):
        server.url("/catalogue.json", **behaviour)
        answer = root("POST", "/updates/check").json
        assert what in answer["problem"], (behaviour, answer["problem"])
        assert [item["id"] for item in answer["entries"]] == ["debian"]
    server.url("/catalogue.json", content=document(IMAGE))
    assert root("POST", "/updates/check").json["problem"] is None


def test_the_body_of_a_redirect_is_not_waited_for(
    serve: Callable[..., Any], root: Api, server: FileServer
) -> None:
    serve(IMAGE)
    there = server.url("/there.json", content=document({**IMAGE, "version": "13"}))
    endless = {"content": b"x" * 1000, "hangs": [1]}
    server.url("/catalogue.json", status=302, headers={"Location": there}, **endless)
    answer = root("POST", "/updates/check").json
    assert answer["problem"] is None
    assert [item["version"] for item in answer["entries"]] == ["13"]


def test_a_script_that_spoils_the_kept_entries_spoils_only_those(
    serve: Callable[..., Any], root: Api, rows: Rows
) -> None:
    serve(IMAGE)
    odd = [{"kind": "iso"}, "x", IMAGE]
    rows.database.run(r.table("config").get("updates").update({"entries": odd, "seen": 7}))
    assert [item["id"] for item in root("GET", "/updates").json["entries"]] == ["debian"]


def test_certificates_are_verified_and_an_authority_of_ones_own_can_be_named(
    app: Flask, web_settings: WebSettings, tmp_path: Path
) -> None:
    with FileServer(tls=make_tls(tmp_path)) as server:
        server.url("/c.json", content=document(IMAGE))
        url = f"https://localhost:{server.port}/c.json"
        with pytest.raises(catalogue.CatalogueRefused, match="certificate"):
            catalogue.fetch(url, web_settings)
        trusting = replace(web_settings, catalogue_ca=tmp_path / "certificate.pem")
        assert [entry.id for entry in catalogue.fetch(url, trusting).entries] == ["debian"]
