"""The pure rules of media: addresses, curl's words, first bytes, decisions, pace, tickets."""

from __future__ import annotations

import itertools
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db import upload_tickets
from db.media_states import MEDIA_ACTIONS, MediaAction, media_actions_of, media_condition_of
from db.states import MediaDesired, MediaState, Reason
from db.urls import read_url
from engine.errors import Terminal
from engine.media_decisions import (
    Fail,
    Fetch,
    MediaFacts,
    RemoveFiles,
    RemoveRow,
    Rest,
    Wait,
    decide_media,
)
from engine.storage import curl, images
from engine.storage.addresses import find_refused, parse_hosts, read_allowed
from engine.storage.media_paths import check_media_path, place_media
from engine.storage.pace import Pace
from tests.lab.iso import make_iso

NOW = datetime(2031, 1, 1, tzinfo=UTC)
MEDIUM = "0b9c3c6e-8d53-4b3f-9d0e-2f3a4b5c6d7e"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "fe80::1", "fd00::1"),
        "fec0::1",
        *("::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::1", "ff02::1", "not an address"),
    ],
)
def test_addresses_inside_are_refused(address: str) -> None:
    assert find_refused(["93.184.215.14", address], []) == address


def test_public_and_allowed_addresses_are_fetched_from() -> None:
    public = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
    assert find_refused(public, []) is None
    allowed = read_allowed({"allow": ["10.0.0.0/8", "nonsense", "fd00::/8"]})
    assert find_refused(["10.1.2.3", "fd00::1", "::ffff:10.0.0.1"], allowed) is None
    assert find_refused(["10.1.2.3", "169.254.169.254"], allowed) == "169.254.169.254"
    assert read_allowed({"allow": "10.0.0.0/8"}) == read_allowed(None) == []


def test_the_resolvers_answer_is_read_once_each() -> None:
    answer = "93.184.215.14   STREAM h.example\n93.184.215.14   DGRAM\n::1   STREAM\nodd\n"
    assert parse_hosts(answer) == ["93.184.215.14", "::1"]


def test_curl_is_told_on_standard_input_what_nobody_may_see() -> None:
    address = read_url("https://ana:it's%22a%5C@h.example/x.iso?sig=t")
    request = curl.Request(address, ["93.184.215.14", "2606::1"], {"Authorization": "Upload t"})
    assert request.as_config().decode().splitlines() == [
        'url = "https://h.example/x.iso?sig=t"',
        'resolve = "h.example:443:93.184.215.14,[2606::1]"',
        'user = "ana:it\'s\\"a\\\\"',
        'header = "Authorization: Upload t"',
    ]
    with pytest.raises(ValueError):
        curl.Request(address, headers={"X": "a\nurl = file:///etc/passwd"}).as_config()
    assert not {"--location", "-L", "--insecure", "-k"} & set(curl.fetch())


def test_an_address_in_numbers_is_fetched_from_as_it_is() -> None:
    """curl refuses a pin whose host is an IPv6 address, and needs none."""
    six, four = read_url("http://[2606::1]:8080/x"), read_url("http://93.184.215.14/x")
    assert curl.Request(six, ["2606::1"]).as_config() == b'url = "http://[2606::1]:8080/x"\n'
    assert b"resolve" in curl.Request(four, ["93.184.215.14"]).as_config()


def test_heads_are_read_as_servers_write_them() -> None:
    text = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/2 200\r\nETag: "a"\r\nContent-Length: 7\r\n\r\n'
    assert curl.parse_head(text) == curl.Head(200, None, 7, False, '"a"')
    part = "HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-0/900\r\nContent-Length: 1\r\n\r\n"
    assert curl.parse_head(part) == curl.Head(206, None, 900, True, "")
    assert curl.parse_head("Content-Length: 5\r\nAccept-ranges: bytes\r\n") == curl.Head(
        200, None, 5, True, ""
    )
    assert curl.parse_head("") == curl.Head(0)
    assert curl.parse_head("HTTP/1.1 302 Found\r\nLocation: /x\r\n").location == "/x"


def qcow2(**changes: int) -> bytes:
    fields = {"version": 3, "backing": 0, "crypt": 0, "features": 0} | changes
    head = struct.pack(">4sIQIIQI", b"QFI\xfb", fields["version"], fields["backing"], 0, 16, 1, 0)
    head = head[:32] + struct.pack(">I", fields["crypt"]) + b"\0" * 36
    return (head + struct.pack(">Q", fields["features"])).ljust(4096, b"\0")


ISO = make_iso()


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("iso", ISO, "iso"),
        ("iso", b"<!DOCTYPE html><html>".ljust(70000), "web page"),
        ("iso", b'\n <?xml version="1.0"?><html/>'.ljust(70000), "web page"),
        ("iso", b"\x1f\x8b".ljust(70000), "packed (gzip)"),
        ("iso", qcow2().ljust(70000), "of format qcow2"),
        ("iso", b"", "empty"),
        ("iso", b"just text", "unknown kind"),
        ("floppy", b"\0" * 1474560, "img"),
        ("floppy", b"\0" * 5000000, "no image of a floppy"),
        ("disk", qcow2(), "qcow2"),
        ("disk", qcow2(backing=512), "based on another file"),
        ("disk", qcow2(features=4), "data in another file"),
        ("disk", qcow2(features=2), "corrupt"),
        ("disk", qcow2(crypt=2), "encrypted"),
        ("disk", qcow2(version=9), "version (9)"),
        ("disk", b"QFI\xfb", "cut short"),
        ("disk", b"KDMV".ljust(4096), "vmdk"),
        ("disk", b"KDMV".ljust(4096, b"\0"), "only describes other files"),
        ("disk", b"# Disk DescriptorFile\n", "only describes other files"),
        ("disk", b"\0" * 0x40 + b"\x7f\x10\xda\xbe" + b"\0" * 4096, "vdi"),
        ("disk", b"a.ovf".ljust(257, b"\0") + b"ustar".ljust(4096, b"\0"), "ova"),
        ("disk", b"a.txt".ljust(257, b"\0") + b"ustar".ljust(4096, b"\0"), "of format tar"),
        ("disk", b"\0" * 1024, "img"),
        ("disk", b"\0" * 1000, "whole sectors"),
        ("disk", ISO, "an ISO image, not a disk"),
    ],
)
def test_files_are_known_by_their_first_bytes(kind: str, content: bytes, expected: str) -> None:
    volume = content[images.VOLUME_AT :][: images.VOLUME_BYTES]
    found = images.recognise(kind, len(content), content[: images.HEAD_BYTES], volume)
    assert found.extension == expected if found.objection is None else expected in found.objection


def make_row(desired: str, state: str | None, *, handled: bool = False, **more: Any) -> Any:
    observed = {} if state is None else {"state": state}
    if handled:
        observed["for"] = {"state": desired, "at": NOW}
    return {
        "desired": {"state": desired, "at": NOW},
        "source": {"url": "http://h.example/x"},
        "observed": {**observed, **more},
    }


@pytest.mark.parametrize(
    ("desired", "state", "handled", "recorded", "users", "problem"),
    list(
        itertools.product(
            [item.value for item in MediaDesired],
            [None, *(item.value for item in MediaState)],
            *[[False, True]] * 4,
        )
    ),
)
def test_every_wish_against_every_state(
    desired: str, state: str | None, handled: bool, recorded: bool, users: bool, problem: bool
) -> None:
    facts = MediaFacts(
        host_problem="no host" if problem else None,
        recorded=recorded,
        users=("x",) if users else (),
    )
    row = make_row(desired, state, handled=handled)
    action = decide_media(row, facts, NOW).action
    if desired == "available":
        if state == "available" and handled:
            assert action == Rest()
        else:
            assert isinstance(action, Wait if problem else Fetch)
    elif users and (recorded or desired == "deleted"):
        assert isinstance(action, Fail)
        assert action.reason is Reason.IN_USE
    elif recorded:
        assert isinstance(action, Wait if problem else RemoveFiles)
    else:
        assert action == (RemoveRow() if desired == "deleted" else Rest(finished=True))


def test_a_pool_that_is_not_shared_keeps_nothing_but_the_fetching_back() -> None:
    refused = MediaFacts(pool_refused="not theirs", recorded=True)
    waits = decide_media(make_row("available", "downloading"), refused, NOW).action
    assert isinstance(waits, Wait)
    assert waits.reason is Reason.POOL_REFUSED
    assert decide_media(make_row("deleted", "available"), refused, NOW).action == RemoveFiles()


def test_a_deletion_once_begun_is_final_and_failures_wait() -> None:
    begun = MediaFacts(recorded=True, deletion_begun=True, users=("late",))
    assert decide_media(make_row("available", "available"), begun, NOW).action == RemoveFiles()
    retry_at = NOW + timedelta(seconds=9)
    wish = {"state": "available", "at": NOW}
    failure = {"terminal": False, "retry_at": retry_at, "wish": wish}
    row = make_row("available", "downloading", failure=failure)
    assert decide_media(row, MediaFacts(), NOW).action == Rest(until=retry_at)
    assert decide_media(row, MediaFacts(), retry_at).action == Fetch()
    ended = make_row("available", "failed", handled=True, failure={"terminal": True})
    assert decide_media(ended, MediaFacts(), NOW).action == Rest()
    assert decide_media({**ended, "desired": {"state": "deleted"}}, MediaFacts(), NOW).action == (
        RemoveRow()
    )


@pytest.mark.parametrize("desired", [*(item.value for item in MediaDesired), "exploded", None])
@pytest.mark.parametrize("state", [None, "odd", *(item.value for item in MediaState)])
@pytest.mark.parametrize("failure", [None, {"terminal": True, "reason": "DownloadFailed"}])
def test_every_row_has_a_word_and_can_be_deleted_unless_it_is_being(
    desired: Any, state: Any, failure: Any
) -> None:
    row = make_row(desired, state, failure=failure)
    condition = media_condition_of(row)
    assert condition in MEDIA_ACTIONS
    assert MediaAction.DELETE in media_actions_of(row) or condition == "deleting"


def test_a_refused_deletion_leaves_it_available() -> None:
    failure = {"terminal": True, "reason": "InUse"}
    assert media_condition_of(make_row("deleted", "available", failure=failure)) == "available"


def test_paths_have_one_shape() -> None:
    place = place_media("/opt/isard/media", MEDIUM)
    path = f"/opt/isard/media/{MEDIUM}/{MEDIUM}.iso"
    assert place.path("iso") == path
    assert check_media_path(path, MEDIUM, {"/isard/media", "/opt/isard/media"}) == path
    for odd in ("/etc/passwd", path.replace(".iso", "/../x.iso"), path + "x", None, f"/x{path}"):
        with pytest.raises(Terminal):
            check_media_path(odd, MEDIUM, {"/opt/isard/media"})
    for pool, medium in (("/opt/../etc", MEDIUM), ("/opt/isard", "../x"), ("relative", MEDIUM)):
        with pytest.raises(Terminal):
            place_media(pool, medium)


def test_the_pace_is_that_of_the_last_seconds() -> None:
    now = [0.0]
    pace = Pace(1000, lambda: now[0])
    for at, size in ((0.0, 0), (10.0, 100), (15.0, 600), (16.0, 700)):
        now[0] = at
        pace.note(size)
    assert pace.as_progress() == {
        "bytes": 700,
        "speed_bytes_s": 100,
        "total_bytes": 1000,
        "percent": 70.0,
        "eta_s": 3,
    }
    unknown = Pace(None, lambda: now[0])
    unknown.note(5)
    assert unknown.as_progress() == {"bytes": 5, "speed_bytes_s": 0}


def test_tickets_are_short_lived_and_for_one_medium() -> None:
    key = upload_tickets.make_key()
    ticket = upload_tickets.sign(key, MEDIUM, 1000.0)
    nonce = upload_tickets.check(ticket, key, MEDIUM, 1000.0)
    assert nonce
    assert nonce in ticket
    assert upload_tickets.check(ticket, key, MEDIUM, 1000.0 + upload_tickets.LIFE_S + 1) is None
    assert upload_tickets.check(ticket, key, MEDIUM.replace("0b", "0c"), 1000.0) is None
    assert upload_tickets.check(ticket, upload_tickets.make_key(), MEDIUM, 1000.0) is None
    for odd in ("", "a.b.c", ticket[:-1], ticket + "0"):
        assert upload_tickets.check(odd, key, MEDIUM, 1000.0) is None
