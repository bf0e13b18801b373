"""What goes wrong around a stack is said with what to do, leaves nothing half-done, and passes by
itself when its cause is gone.

The stack lies on a disk of its own (`small_disk.py`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from hyper_image import certificates
from tests.compose.docker_engine import BRIDGE_ADDRESS, DockerEngine
from tests.compose.small_disk import SmallDisk
from tests.compose.stack import EMBEDDED, HYPERVISOR, Compose, Log, Stack, wait_for
from tests.compose.stack_certificates import (
    make_expired,
    put,
    served_certificate,
    taken,
    wait_for_check,
    wait_served,
)
from tests.compose.uploads import cut_piece, describe_upload, observed, send_piece
from tests.lab.iso import make_iso
from tests.servers import ROOT, wait_until

OTHER_PORTS = (8083, 8446)
MIB = 1024**2

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def disk(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    small = SmallDisk(engine, tmp_path_factory.mktemp("disk"))
    small.mount()
    yield small
    small.unmount()


@pytest.fixture(scope="module")
def stack(engine: DockerEngine, variables: dict[str, str], disk: SmallDisk) -> Iterator[Stack]:
    told = {**variables, "ISARD_ROOT": str(disk.folder / "opt-isard")}
    running = Stack(engine, disk.here / "opt-isard", told)
    running.down()
    try:
        running.up()
        yield running
    finally:
        running.remove()


# --- certificates


@pytest.fixture
def folder(stack: Stack) -> Iterator[Path]:
    """The certificates people put there; the stack's own again afterwards, taken by everybody."""
    folder = stack.root / "certs" / "default"
    kept = stack.root / "certs" / "kept"
    shutil.copytree(folder, kept)
    yield folder
    put(kept, folder)
    wait_served(stack, kept)
    shutil.rmtree(kept)
    stack.wait_well()


def test_a_portal_without_good_certificates_says_so_and_serves_once_they_are_there(
    stack: Stack, folder: Path, tmp_path: Path
) -> None:
    certificates.make(tmp_path, ["other"])
    log = Log(stack, "isard-portal")
    key = folder / "server-key.pem"
    key.unlink()
    stack.engine.run("restart", "-t", "5", stack.container("isard-portal"))
    log.wait("No pages are served: /opt/isard/certs/default/server-key.pem is missing.")
    shutil.copyfile(tmp_path / "server-key.pem", key)
    log.wait("server-key.pem does not belong to server-cert.pem. Put the right file there")
    key.write_text("no key")
    log.wait("server-key.pem is no private key in PEM form without a passphrase.")
    key.unlink()
    key.symlink_to("/etc/letsencrypt/live/isard/privkey.pem")
    log.wait("is a link to /etc/letsencrypt/live/isard/privkey.pem, which is not seen here")
    assert served_certificate(stack) == ""
    put(tmp_path, folder)
    for name in certificates.NEEDED:  # whoever owns them
        os.chown(folder / name, 12345, 12345)
        (folder / name).chmod(0o600)
    wait_served(stack, tmp_path)
    stack.wait_well()


def test_certificates_are_replaced_while_all_runs_and_bad_ones_are_refused(
    stack: Stack, folder: Path, tmp_path: Path
) -> None:
    for name in ("first", "second", "expired"):
        (tmp_path / name).mkdir()
        certificates.make(tmp_path / name, ["isard-hypervisor", name])
    api = stack.api()
    api.session.verify = False  # whatever is served from now on
    portal, host = Log(stack, "isard-portal"), Log(stack, HYPERVISOR)
    put(tmp_path / "first", folder)
    portal.wait("was replaced: the new one is served")
    host.wait("are used from now on")
    wait_served(stack, tmp_path / "first")
    assert taken(stack) == (tmp_path / "first" / "server-cert.pem").read_text()

    shutil.copyfile(tmp_path / "second" / "server-key.pem", folder / "server-key.pem")
    wrong = "server-key.pem does not belong to server-cert.pem"
    portal.wait(f"The new certificate is not served: /opt/isard/certs/default/{wrong}")
    host.wait(f"cannot be used ({wrong}): those from before are used")
    wait_served(stack, tmp_path / "first")
    assert taken(stack) == (tmp_path / "first" / "server-cert.pem").read_text()
    assert "/opt/isard/certs/default" in wait_for_check(api, wrong)["remedy"]

    make_expired(tmp_path / "expired")
    put(tmp_path / "expired", folder)
    portal.wait("has expired: browsers warn until it is replaced")
    host.wait("server-cert.pem has expired")
    wait_served(stack, tmp_path / "expired")
    wait_for_check(api, "expired on")

    host = Log(stack, HYPERVISOR)
    put(tmp_path / "second", folder)
    host.wait("are used from now on")
    wait_served(stack, tmp_path / "second")
    wait_for_check(api, "valid until")


# --- a full or read-only disk


def test_a_full_disk_is_said_undoes_what_it_cannot_keep_and_passes(
    stack: Stack, disk: SmallDisk
) -> None:
    api = stack.api()
    row = api.create("Before")
    wait_for(api, row["id"], "stopped")
    database, host = Log(stack, "isard-db"), Log(stack, HYPERVISOR)
    disk.fill()
    try:
        wait_until(lambda: missing(stack)[0] == ["database", "engine"], 60, "seen", 0.5)
        assert "its disk is full or read-only" in missing(stack)[1]
        database.wait("The disk of /opt/isard/database is full: make room there")
        body = {"name": "Refused", "origin": row["origin"], "description": "x" * 1000}
        refused = [api.session.post(f"{api.url}/desktops", json=body, timeout=20) for _ in range(5)]
        assert refused[-1].status_code == 503, refused[-1].text
        assert refused[-1].json()["reason"] == "DatabaseCannotWrite"
        assert "once there is room" in refused[-1].json()["detail"]
        assert_nothing_is_begun_on_a_full_disk(stack, disk)
        # Containers that are started again meanwhile.
        for service in ("isard-db", HYPERVISOR):
            stack.engine.run("restart", "-t", "20", stack.container(service))
        host.wait("The host is up.")
    finally:
        disk.free()
    stack.wait_well()
    items = api.get("/desktops")["items"]
    kept = ["Refused" for answer in refused if answer.status_code == 201]
    assert sorted(item["name"] for item in items) == ["Before", *kept]
    api.wish(row["id"], "started")
    wait_for(api, row["id"], "started")
    for item in items:
        api.call("DELETE", f"/desktops/{item['id']}")
        wait_for(api, item["id"], "gone")


def assert_nothing_is_begun_on_a_full_disk(stack: Stack, disk: SmallDisk) -> None:
    """The first start of another installation there."""
    told = {"ISARD_ROOT": str(disk.folder / "other"), "COMPOSE_PROJECT_NAME": "other"}
    other = Stack(stack.engine, disk.here / "other", {**stack.variables, **told}, ports=OTHER_PORTS)
    try:
        done = other.run("up", "-d", "--no-build", check=False)
        assert done.returncode != 0
        assert not other.run("ps", "-q", "isard-db").stdout
        said = other.run("logs", "--no-color", "isard-setup").stdout
        assert "cannot be written (No space left on device)" in said
        assert "neither full nor read-only, then run `docker-compose up -d` again" in said
        assert "Traceback" not in said
    finally:
        other.remove()


def test_a_disk_that_was_read_only_is_said_and_used_once_it_can_be_written(
    stack: Stack, disk: SmallDisk
) -> None:
    """As after a restart of a machine whose disk has come up read-only."""
    names = ("isard-db", "isard-app", HYPERVISOR, "isard-setup")
    database, web, host, setup = (Log(stack, name) for name in names)
    stack.run("stop", "-t", "20")
    disk.make_read_only()
    try:
        for service in ("isard-db", HYPERVISOR, "isard-app", "isard-engine", "isard-portal"):
            stack.engine.run("start", stack.container(service))
        database.wait("Read-only file system. See that its disk can be written")
        host.wait("cannot be written (Read-only file system): mend or free that disk.")
        web.wait("/opt/isard/backups cannot be written (Read-only file system)")
        assert stack.run("up", "-d", "--no-build", check=False).returncode != 0
        setup.wait("cannot be written (Read-only file system)")
    finally:
        disk.make_writable()
    stack.wait_well()  # by itself
    stack.exec("isard-app", "touch", "/opt/isard/uploads/x", "/opt/isard/backups/x")
    stack.exec("isard-engine", "touch", "/opt/isard/x")


def missing(stack: Stack) -> tuple[list[str], str]:
    answer = requests.get(f"{stack.url}/healthz", timeout=10, verify=False)  # noqa: S501
    body = answer.json()
    return body["missing"], body.get("message", "")


# --- two stacks on one host


def test_a_second_stack_is_refused_the_folder_and_the_ports_of_the_first(
    stack: Stack, disk: SmallDisk
) -> None:
    told = {**stack.variables, "COMPOSE_PROJECT_NAME": "second"}
    second = Compose(stack.engine, ROOT, told, EMBEDDED)
    begun = sorted(entry.name for entry in stack.root.iterdir())
    try:
        assert second.run("up", "-d", "--no-build", check=False).returncode != 0
        said = second.run("logs", "--no-color", "isard-setup").stdout
        assert "belongs to the stack 'isard', and this one is 'second'" in said
        assert "an ISARD_ROOT of its own" in said
        assert not second.run("ps", "-q", "isard-db").stdout
        assert sorted(entry.name for entry in stack.root.iterdir()) == begun
        # Nor does the database itself, whoever starts it.
        alone = second.run("run", "--rm", "-T", "--no-deps", "isard-db", check=False)
        assert alone.returncode != 0
        assert "is in use by another server" in alone.stdout + alone.stderr
    finally:
        second.down()
    second = Compose(
        stack.engine, ROOT, {**told, "ISARD_ROOT": str(disk.folder / "second")}, EMBEDDED
    )
    try:
        refused = second.run("up", "-d", "--no-build", "isard-portal", check=False)
        assert refused.returncode != 0
        assert "port is already allocated" in refused.stderr
        assert "isard-portal" in refused.stderr
    finally:
        second.down()
        shutil.rmtree(disk.here / "second")
    assert stack.is_serving()


# --- uploads


def test_a_large_upload_comes_through_the_portal_in_pieces_and_survives_a_cut(
    stack: Stack,
) -> None:
    api = stack.api()
    content = make_iso(size=72 * MIB)
    row = api.call("POST", "/media", describe_upload("Large", len(content))).json()
    refused = send_piece(api, row["id"], 0, content[: 64 * MIB + 1])
    assert refused.status_code == 413
    assert "64 MiB in one piece" in refused.json()["detail"]
    begun = send_piece(api, row["id"], 0, b"")
    assert begun.status_code == 200, begun.text
    memory_before = most_memory_kib(stack)

    offset = cut_piece(stack, api, row["id"], content[: 16 * MIB], after=5 * MIB)
    assert 0 < offset < 16 * MIB
    while offset < len(content):
        answer = send_piece(api, row["id"], offset, content[offset : offset + 64 * MIB])
        assert answer.status_code == 200, answer.text
        offset = answer.json()["offset"]
    grown = most_memory_kib(stack) - memory_before
    assert grown < 32 * 1024, "the web side keeps no piece in memory"

    wait_until(lambda: observed(api, row["id"]).get("state") == "available", 120, "available", 0.5)
    wanted = hashlib.sha256(content).hexdigest()
    assert observed(api, row["id"])["sha256"] == wanted
    stored = stack.root / "media" / row["id"] / f"{row['id']}.iso"
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == wanted
    wait_until(lambda: not list((stack.root / "uploads").iterdir()), 60, "nothing is kept", 0.5)
    api.call("DELETE", f"/media/{row['id']}")
    wait_until(lambda: not stored.exists(), 60, "deleted", 0.5)


def most_memory_kib(stack: Stack) -> int:
    """Of the web side's process, ever since it was started."""
    status = Path(f"/proc/{stack.state('isard-app')['Pid']}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])


# --- hosts that are none

PLAIN_HOST = """
rm -f /usr/sbin/libvirtd /usr/sbin/virtqemud
mkdir -p /run/sshd /etc/isard/home
ssh-keygen -A
echo 'root:just a host' | chpasswd
exec /usr/sbin/sshd -D -e -p 2200 -o PermitRootLogin=yes -o PasswordAuthentication=yes
"""


@pytest.fixture
def plain_host(stack: Stack) -> Iterator[str]:
    """A machine with an SSH server and no libvirt; its container."""
    image = f"{stack.variables['ISARD_IMAGES']}isard-hypervisor:{stack.variables['ISARD_VERSION']}"
    argv = ("run", "-d", "-p", "2200:2200", "--entrypoint", "sh", image, "-c", PLAIN_HOST)
    container = stack.engine.run(*argv).stdout.strip()
    yield container
    stack.engine.run("rm", "-f", "-v", container)


def add(stack: Stack, **variables: str) -> tuple[int, str]:
    done = stack.exec("isard-app", "bash", "-c", "/add-hypervisor.sh", check=False, **variables)
    return done.returncode, done.stdout + done.stderr


def test_a_host_without_libvirt_is_told_from_a_hypervisor_and_left_as_it_was(
    stack: Stack, plain_host: str
) -> None:
    address = {"HYPERVISOR": BRIDGE_ADDRESS, "PORT": "2200", "PASSWORD": "just a host"}
    wait_until(lambda: add(stack, **{**address, "PASSWORD": "wrong"})[1].count("assword"), 60, "up")
    code, said = add(stack, **address)
    assert code != 0
    assert "libvirt is not installed on" in said
    assert "Nothing was changed there." in said
    assert "just a host" not in said
    assert [row["id"] for row in stack.api().get("/hypervisors")["items"]] == [HYPERVISOR]
    keys = stack.engine.run("exec", plain_host, "find", "/etc/isard/home", "-name", "authorized*")
    assert keys.stdout == ""


def test_a_hypervisor_that_is_there_already_is_said_so_and_stays_one(stack: Stack) -> None:
    own = {"HYPERVISOR": HYPERVISOR, "PORT": "2022", "PASSWORD": "whatever it is"}
    code, said = add(stack, **own, ID="another-name")
    assert code != 0
    assert f"is there already, as '{HYPERVISOR}'" in said
    code, said = add(stack, **own)
    assert code == 0, said
    assert "is in the list already: its access is set up again." in said
    assert [row["id"] for row in stack.api().get("/hypervisors")["items"]] == [HYPERVISOR]
    assert stack.is_serving()
