"""Addresses to fetch from: what is taken, what is refused, and what is never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.urls import has_secrets, read_url, without_secrets


def test_an_address_is_taken_apart_and_its_secrets_kept_out_of_sight() -> None:
    found = read_url("https://ana:p%40ss@Mirror.Example.org:8443/a/b c.iso".replace(" ", "%20"))
    assert (found.host, found.port, found.path) == ("mirror.example.org", 8443, "/a/b%20c.iso")
    assert (found.user, found.password) == ("ana", "p@ss")
    assert found.url == found.shown == "https://mirror.example.org:8443/a/b%20c.iso"
    signed = read_url("http://h.example/x.iso?signature=s3cret")
    assert signed.url.endswith("?signature=s3cret")
    assert "s3cret" not in signed.shown
    assert "s3cret" not in repr(signed)
    assert "p@ss" not in repr(found)
    assert has_secrets("http://h.example/x.iso?signature=s3cret")
    assert not has_secrets("http://h.example/x.iso")
    assert without_secrets("nonsense") == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file:///etc/passwd",
        "gopher://h.example/",
        "http://",
        "http:///x",
        "http://h.example/a b",
        'http://h.example/"',
        "http://h.example/\n",
        "http://h.example/$(id)`x`",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://[fe80::1%25eth0]/",
        "http://a_b..c/",
        "http://-o.example/",
        "http://h.example:99999/",
        "http://h.example:0/",
        "http://a@b@c.example\\@d.example/",
        "http://" + "h" * 3000,
    ],
)
def test_what_is_no_address_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_url(text)


@given(st.text(max_size=40))
def test_whatever_is_read_is_rebuilt_from_its_parts(text: str) -> None:
    try:
        found = read_url("http://h.example/" + text)
    except ValueError:
        return
    assert found.host == "h.example"
    assert found.url.isascii()
    assert read_url(found.url).url == found.url


def test_a_redirect_keeps_the_password_on_its_host_only() -> None:
    first = read_url("https://ana:secret@h.example/a/x.iso")
    assert first.follow("/b.iso").password == "secret"
    assert first.follow("b.iso").path == "/a/b.iso"
    assert first.follow("https://other.example/b.iso").password == ""
    assert first.follow("http://h.example/b.iso").password == ""
    with pytest.raises(ValueError):
        first.follow("file:///etc/passwd")
