"""Media from an address to a file on the storage, over a real server, SSH, curl and qemu-img."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db import queries
from db.connection import r
from tests.engine.file_server import FileServer, make_tls
from tests.engine.ftp_server import FtpServer
from tests.engine.media_world import MediaWorld, run_world
from tests.lab.iso import make_iso

MIB = 1024 * 1024
ISO = make_iso(size=2 * MIB)


@pytest.fixture(scope="module")
def media() -> Iterator[MediaWorld]:
    # A stall is noticed soon; nothing else in these tests is silent for so long.
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ISARD_STALL_TIMEOUT", "5")
        yield from run_world()


def test_an_iso_is_fetched_verified_and_removed_again(media: MediaWorld) -> None:
    digest = hashlib.sha256(ISO).hexdigest()
    url = media.server.url("/good.iso", content=ISO)
    iso = media.add(url.replace("http://", "http://ana:s3cret@") + "?sig=t0ken", sha256=digest)
    media.server.paths["/good.iso?sig=t0ken"] = media.server.paths["/good.iso"]
    seen = media.wait(iso, state="available", activity=None)
    assert (seen["size"], seen["sha256"], seen["format"]) == (len(ISO), digest, "iso")
    assert seen["path"] == str(media.folder(iso) / f"{iso}.iso")
    assert Path(seen["path"]).read_bytes() == ISO
    assert media.files(iso) == [f"{iso}.iso"]
    lying = queries.count_disks_by_path(media.world.database, "default")
    assert lying == {str(media.folder(iso).parent): 1}
    assert any("authorization" in headers for _, _, headers in media.server.requests)
    log = media.world.log_text()
    assert "s3cret" not in log
    assert "t0ken" not in log
    media.wish(iso, "deleted")
    media.wait_gone(iso)
    assert not media.folder(iso).exists()
    assert media.world.database.run(r.table("disks").get(f"media/{iso}")) is None


def test_an_error_page_is_never_an_iso(media: MediaWorld) -> None:
    missing = media.add(media.server.url("/nowhere.iso"))
    failure = media.wait_failure(missing, "DownloadFailed")
    assert failure["terminal"]
    assert "404" in failure["message"]
    page = b"<!DOCTYPE html><html><h1>Log in first</h1></html>"
    disguised = media.add(media.server.url("/login.iso", content=page))
    failure = media.wait_failure(disguised, "NotAnImage")
    assert "web page" in failure["message"]
    for one in (missing, disguised):
        assert media.files(one) == []
        media.wish(one, "deleted")
        media.wait_gone(one)


def test_what_was_cut_goes_on_where_it_was(media: MediaWorld) -> None:
    digest = hashlib.sha256(ISO).hexdigest()
    iso = media.add(media.server.url("/cut.iso", content=ISO, cuts=[MIB]), sha256=digest)
    media.wait(iso, state="available", activity=None)
    assert media.server.ranges_asked("/cut.iso") == [None, f"bytes={MIB}-"]


def test_a_transfer_that_stalls_is_begun_again_where_it_was(media: MediaWorld) -> None:
    url = media.server.url("/stall.iso", content=ISO, hangs=[MIB])
    iso = media.add(url, sha256=hashlib.sha256(ISO).hexdigest())
    assert "stopped sending" in media.wait_failure(iso, "DownloadFailed")["message"]
    media.wait(iso, state="available", activity=None)
    assert media.server.ranges_asked("/stall.iso") == [None, f"bytes={MIB}-"]


def test_a_server_that_cannot_go_on_in_the_middle_is_asked_for_all_of_it(media: MediaWorld) -> None:
    url = media.server.url("/whole.iso", content=ISO, cuts=[MIB], ranges=False, says_size=True)
    iso = media.add(url, sha256=hashlib.sha256(ISO).hexdigest())
    media.wait(iso, state="available", activity=None)
    assert media.server.ranges_asked("/whole.iso") == [None, f"bytes={MIB}-", None]


def test_a_server_that_refuses_head_and_says_no_size_is_fetched_from_all_the_same(
    media: MediaWorld,
) -> None:
    url = media.server.url("/plain.iso", content=ISO, refuses_head=True, says_size=False)
    iso = media.add(url)
    assert media.wait(iso, state="available", activity=None)["size"] == len(ISO)


def test_a_file_of_untold_size_that_was_here_already_is_no_error(media: MediaWorld) -> None:
    """Killed after the last byte: the server answers that there is nothing left to send. A newer
    curl takes that for the end of the file, an older one for an error: then all is fetched anew.
    """
    url = media.server.url("/untold.iso", content=ISO, says_size=False)
    begun = media.add(url)
    media.wait(begun, state="available", activity=None)
    # As it was left: all of it, unpublished, with the note of where it came from.
    folder = media.folder(begun)
    final = folder / f"{begun}.iso"
    final.rename(folder / f".{begun}.part")
    tag = hashlib.sha256(f'{url}\n"one"\n-1'.encode()).hexdigest()
    (folder / f".{begun}.note").write_text(f"{tag}\n")
    media.wish(begun, "available")
    media.world.wait_until(final.exists, "it is there again", 60)
    assert final.read_bytes() == ISO
    asked = media.server.ranges_asked("/untold.iso")
    assert asked[:2] == [None, f"bytes={len(ISO)}-"]
    assert asked[2:] in ([], [None])


def test_content_that_changed_meanwhile_is_not_mixed_with_the_old(media: MediaWorld) -> None:
    other = make_iso(size=2 * MIB, label="OTHER")
    iso = media.add(media.server.url("/moving.iso", content=ISO, cuts=[MIB, MIB // 2]))
    media.wait_failure(iso, "DownloadFailed")
    behaviour = media.server.paths["/moving.iso"]
    behaviour.content, behaviour.etag, behaviour.cuts = other, '"two"', []
    seen = media.wait(iso, state="available", activity=None)
    assert Path(seen["path"]).read_bytes() == other


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(media: MediaWorld) -> None:
    iso = media.add(media.server.url("/odd.iso", content=ISO), sha256="0" * 64)
    failure = media.wait_failure(iso, "ChecksumDiffers")
    assert failure["terminal"]
    assert hashlib.sha256(ISO).hexdigest() in failure["message"]
    assert media.files(iso) == []
    # Corrected and asked for again, it is fetched.
    good = {"source": {"sha256": hashlib.sha256(ISO).hexdigest()}}
    media.world.database.run(r.table("media").get(iso).update(good))
    media.wish(iso, "available")
    media.wait(iso, state="available", activity=None, failure=None)


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254"),
        ("http://[::ffff:10.0.0.1]/x.iso", "inside"),
        ("file:///etc/passwd", "http, https and ftp"),
        ("http://0x7f.1/x.iso", "odd way"),
    ],
)
def test_a_redirect_inside_is_refused(media: MediaWorld, target: str, what: str) -> None:
    path = f"/to/{hashlib.sha256(target.encode()).hexdigest()[:8]}"
    url = media.server.url(path, status=302, headers={"Location": target})
    iso = media.add(url)
    failure = media.wait_failure(iso, "AddressRefused")
    assert failure["terminal"]
    assert what in failure["message"]


def test_redirects_are_followed_and_a_loop_ends(media: MediaWorld) -> None:
    final = media.server.url("/final.iso", content=ISO)
    iso = media.add(media.server.url("/first", status=302, headers={"Location": final}))
    media.wait(iso, state="available", activity=None)
    loop = media.add(media.server.url("/loop", status=301, headers={"Location": "/loop"}))
    assert "redirects on and on" in media.wait_failure(loop, "DownloadFailed")["message"]


@pytest.mark.parametrize("lies", [False, True])
def test_a_file_comes_by_ftp_from_the_host_that_was_judged(media: MediaWorld, lies: bool) -> None:
    """Also where the server names another host for the data: that is passed over."""
    with FtpServer("tiny.iso", ISO, lies=lies) as server:
        iso = media.add(server.url, sha256=hashlib.sha256(ISO).hexdigest())
        media.wait(iso, state="available", activity=None)
        gone = media.add(server.url.replace("tiny", "other"))
        assert media.wait_failure(gone, "DownloadFailed")["terminal"]


def test_a_certificate_nobody_vouches_for_is_refused(media: MediaWorld, tmp_path: Path) -> None:
    with FileServer(tls=make_tls(tmp_path)) as server:
        server.url("/x.iso", content=ISO)
        iso = media.add(f"https://127.0.0.1:{server.port}/x.iso")
        failure = media.wait_failure(iso, "DownloadFailed")
        assert "certificate" in failure["message"]
        assert failure["terminal"]


def test_what_cannot_fit_is_refused_before_a_byte_is_fetched(media: MediaWorld) -> None:
    url = media.server.url("/vast.iso", headers={"Content-Length": str(2**60)})
    iso = media.add(url)
    failure = media.wait_failure(iso, "NoSpace")
    assert failure["terminal"]
    assert media.server.ranges_asked("/vast.iso") == []


def test_a_disk_image_that_names_other_files_is_refused(media: MediaWorld, tmp_path: Path) -> None:
    plain, overlay = tmp_path / "plain.qcow2", tmp_path / "overlay.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2"]
    subprocess.run([*create, plain, "1M"], check=True)
    subprocess.run([*create, "-b", "/etc/passwd", "-F", "raw", overlay, "1M"], check=True)
    good = media.add(media.server.url("/plain.qcow2", content=plain.read_bytes()), kind="disk")
    seen = media.wait(good, state="available", activity=None)
    assert (seen["format"], Path(seen["path"]).suffix) == ("qcow2", ".qcow2")
    bad = media.add(media.server.url("/overlay.qcow2", content=overlay.read_bytes()), kind="disk")
    assert "based on another file" in media.wait_failure(bad, "NotAnImage")["message"]
    assert media.files(bad) == []


def test_progress_is_told_and_a_download_is_called_off_and_begun_again(media: MediaWorld) -> None:
    slow = make_iso(size=24 * MIB)
    iso = media.add(media.server.url("/slow.iso", content=slow, bytes_s=4 * MIB))
    media.world.wait_until(
        lambda: (media.observed(iso).get("progress") or {}).get("eta_s"), "progress is told", 60
    )
    progress = media.observed(iso)["progress"]
    assert progress["total_bytes"] == len(slow)
    assert 0 < progress["percent"] < 100
    assert progress["speed_bytes_s"] > 0
    media.wish(iso, "absent")
    media.wait(iso, state="absent", activity=None, progress=None)
    media.world.wait_until(lambda: media.server.sending == 0, "curl has ended", 30)
    assert media.files(iso) == []
    media.server.paths["/slow.iso"].bytes_s = None
    media.wish(iso, "available")
    media.wait(iso, state="available", activity=None)


def test_a_medium_in_use_is_not_deleted(media: MediaWorld) -> None:
    iso = media.add(media.server.url("/used.iso", content=ISO))
    media.wait(iso, state="available", activity=None)
    desktop = media.world.add_domain("desktop", {"media": iso, "size_gib": 0.01}, name="Installing")
    media.world.wait_for(desktop, "stopped")
    media.wish(iso, "deleted")
    failure = media.wait_failure(iso, "InUse")
    assert "'Installing'" in failure["message"]
    assert media.files(iso) == [f"{iso}.iso"]
    media.world.wish(desktop, "deleted")
    media.world.wait_gone(desktop)
    media.wish(iso, "deleted")
    media.wait_gone(iso)


def test_a_medium_whose_path_left_the_pool_is_waited_for(media: MediaWorld) -> None:
    """Whoever runs with it is still told of, and whoever wants to is told why not."""
    world = media.world
    iso = media.add(media.server.url("/left.iso", content=ISO))
    media.wait(iso, state="available", activity=None)
    origin = {"media": iso, "size_gib": 0.01}
    running, waiting = (world.add_domain("desktop", origin) for _ in range(2))
    world.wish(running, "started")
    world.wait_for(running, "started")
    world.wait_for(waiting, "stopped")
    pool = r.table("hypervisors_pools").get("default")
    paths = world.database.run(pool["paths"]["media"])
    world.database.run(pool.update({"paths": {"media": []}}))

    def is_left() -> bool:
        shown = world.database.run(pool["observed"]["paths"].default([]))
        return bool(shown) and all(path["use"] != "media" for path in shown)

    world.wait_until(is_left, "the pool is without it")
    world.wish(waiting, "started")
    seen = world.wait_for(waiting, "stopped", reason="MediaNotReady")
    assert "outside the pool's paths" in seen["message"]
    world.host.exec(["virsh", "destroy", running])
    world.wait_until(lambda: world.observed(running)["state"] == "stopped", "its end is told")
    world.database.run(pool.update({"paths": {"media": paths}}))
    world.wait_for(waiting, "started")
    for desktop in (running, waiting):
        world.wish(desktop, "deleted")
        world.wait_gone(desktop)
    media.wish(iso, "deleted")
    media.wait_gone(iso)


def test_more_downloads_than_turns_wait_and_can_be_called_off(media: MediaWorld) -> None:
    url = media.server.url("/queue.iso", content=make_iso(size=8 * MIB), hangs=[MIB] * 300)
    first = [media.add(url) for _ in range(3)]
    media.world.wait_until(lambda: media.server.sending >= 3, "three are under way", 60)
    fourth = media.add(url)
    media.wait(fourth, reason="WaitingItsTurn")
    media.wish(fourth, "deleted")
    media.wait_gone(fourth)
    for one in first:
        media.wish(one, "deleted")
        media.wait_gone(one)
    assert media.files(first[0]) == []


def test_a_killed_engine_goes_on_with_what_it_had(media: MediaWorld) -> None:
    content = make_iso(size=8 * MIB)
    url = media.server.url("/killed.iso", content=content, hangs=[3 * MIB])
    iso = media.add(url, sha256=hashlib.sha256(content).hexdigest())
    part = media.folder(iso) / f".{iso}.part"
    media.world.wait_until(
        lambda: part.exists() and part.stat().st_size >= 3 * MIB - 65536, "most of it is there", 60
    )
    media.world.engine.kill()
    media.world.restart_engine()
    media.wait(iso, state="available", activity=None)
    asked = media.server.ranges_asked("/killed.iso")[-1]
    assert asked is not None
    assert int(asked.removeprefix("bytes=").removesuffix("-")) >= 3 * MIB - 65536
    assert media.files(iso) == [f"{iso}.iso"]


def test_every_address_of_a_name_must_be_allowed(media: MediaWorld) -> None:
    """A name is judged by what it means on the disk host, not by how it looks."""
    row = r.table("config").get("downloads")
    url = media.server.url("/named.iso", content=ISO).replace("127.0.0.1", "localhost")
    media.world.database.run(row.update({"allow": []}))
    refused = media.add(url)
    failure = media.wait_failure(refused, "AddressRefused")
    assert "inside" in failure["message"]
    assert failure["terminal"]
    media.world.database.run(row.update({"allow": ["127.0.0.0/8", "::1/128"]}))
    media.wish(refused, "available")
    media.wait(refused, state="available", activity=None)
    media.world.database.run(row.update({"allow": ["127.0.0.0/8"]}))


HOSTILE: list[dict[str, Any]] = [
    {"source": {"url": "http://127.0.0.1/'; reboot; '"}},
    {"source": {"url": 'http://127.0.0.1/"$(reboot)"'}},
    {"source": {"url": "http://127.0.0.1/`reboot`"}},
    {"source": {"url": "http://-oProxyCommand=reboot/"}},
    {"source": {"url": "http://127.0.0.1/\r\nHost: inside"}},
    {"source": {"url": "file:///etc/shadow"}},
    {"source": {"url": "http://169.254.169.254/latest/meta-data/"}},
    {"source": {"url": "http://2852039166/"}},
    {"source": {"url": "--output /etc/passwd"}},
    {"source": {"url": "http://h.example/", "sha256": "$(reboot)"}},
    {"source": {"upload": "../../etc/passwd"}},
    {"source": {}},
    {"source": 7},
    {"pool": "../../etc"},
    {"pool": "nowhere"},
    {"kind": "../iso"},
    {"name": "<script>"},
    {"user": "a b"},
    {"desired": {"state": "exploded"}},
    {"desired": 5},
    {"observed": {"path": "/etc/passwd", "state": "available", "for": 3, "failure": []}},
    {"observed": "x", "source": {"url": "gopher://h.example/"}},
]


def test_what_scripts_write_reaches_no_shell_and_no_place_outside(media: MediaWorld) -> None:
    before = set((media.world.folder / "storage").rglob("*"))
    good = media.server.url("/missing-on-purpose.iso")
    ids = [media.add(good, **more) for more in HOSTILE]

    def is_reported(media_id: str) -> bool:
        seen = media.observed(media_id)
        failure = seen.get("failure")
        failed = isinstance(failure, dict) and failure.get("terminal") is True
        return failed or seen.get("reason") == "NoDiskHost"

    for media_id, more in zip(ids, HOSTILE, strict=True):
        media.world.wait_until(lambda one=media_id: is_reported(one), f"{more} is reported", 60)
    after = set((media.world.folder / "storage").rglob("*"))
    new = {path for path in after - before if ".isard-locks" not in path.parts}
    assert new == set()
    media.world.database.run(r.table("media").get_all(*ids).delete())
    # The engine goes on: an ordinary one is fetched.
    iso = media.add(media.server.url("/after.iso", content=ISO))
    media.wait(iso, state="available", activity=None)


def test_rows_nobody_should_have_written_are_reported(media: MediaWorld) -> None:
    odd = media.add("http://127.0.0.1/$(reboot).iso\n", kind="iso")
    assert media.wait_failure(odd, "InvalidRow")["step"] == "source.url"
    media.world.database.run(r.table("media").get(odd).delete())
