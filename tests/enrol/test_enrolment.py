"""A host is added with a one-time password: over REST and by a row, once, surely and secretly."""

from __future__ import annotations

import base64
import json
import socket
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from nacl.public import PublicKey, SealedBox

from db.connection import r
from tests.enrol.conftest import FOREIGN_KEY, HOME, MARK, PASSWORD, Enrolling
from tests.servers import wait_until
from webapp.viewers import tickets


def test_a_password_gives_the_engine_access_and_viewers_their_keys(enrolling: Enrolling) -> None:
    e = enrolling
    e.put_authorized_keys(FOREIGN_KEY)  # without a line end, as editors leave it
    name = e.add(fingerprint=e.fingerprint)
    done = e.wait_enrolment(name, "done", trusted="fingerprint")
    e.world.wait_online(name)
    assert e.orders() == []
    assert done["fingerprint"] == e.fingerprint
    assert e.row(name)["host_key"] == e.fresh.host_key
    own = (e.world.data / "ssh" / "id_ed25519.pub").read_text().split()[1]
    lines = e.authorized_keys()
    assert lines[0] == FOREIGN_KEY
    assert [line.split()[1] for line in lines[1:]] == [own]
    modes = e.fresh.exec(["stat", "-c", "%a", f"{HOME}/.ssh", f"{HOME}/.ssh/authorized_keys"])
    assert modes.stdout.split() == ["700", "600"]
    assert e.fresh.exec(["cat", "/etc/isard/hypervisor_id"]).stdout.strip() == name
    installed = (e.fresh.ticket_keys / "k1.pem").read_text()
    assert installed.startswith("-----BEGIN PUBLIC KEY-----")
    assert "PRIVATE" not in installed
    assert viewer_answers(e, name) == b"101"
    assert viewer_answers(e, e.fresh.id) == b"403", "it is known by its new name alone"


def viewer_answers(e: Enrolling, hypervisor: str) -> bytes:
    """The status with which the host's viewer proxy answers a ticket for that hypervisor."""
    keys = e.world.data / "secrets" / "tickets"
    domain = str(uuid.uuid4())
    ticket = tickets.sign(keys, hypervisor=hypervisor, domain=domain, port=5900, life_s=30)
    lines = [
        f"GET /?token={ticket.token} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol: binary",
    ]
    address = ("127.0.0.1", e.fresh.viewer_port)
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return client.recv(64).split()[1]


def test_enrolling_again_changes_nothing_and_needs_no_password(enrolling: Enrolling) -> None:
    e = enrolling
    name = e.add(trust_new_key=True)
    assert e.wait_enrolment(name, "done")["trusted"] == "first_use"
    e.world.wait_online(name)
    before, first = e.authorized_keys(), e.enrolment(name)["order"]
    answer = e.api("POST", f"/hypervisors/{name}/enrol", {})
    assert answer.status_code == 202, answer.json
    e.world.wait_until(lambda: e.enrolment(name)["order"] != first, "a second enrolment")
    assert e.wait_enrolment(name, "done")["trusted"] == "accepted"
    assert e.authorized_keys() == before
    assert len(before) == 1


def test_an_unknown_key_waits_for_a_person(enrolling: Enrolling) -> None:
    e = enrolling
    name = e.add()
    seen = e.wait_enrolment(name, "waiting", reason="HostKeyUnknown")
    assert seen["fingerprint"] == e.fingerprint
    assert e.authorized_keys() == []
    payload = e.api("GET", f"/hypervisors/{name}").json
    assert payload["observed"]["host_key_offered"] == e.fresh.host_key
    accepted = e.api("PATCH", f"/hypervisors/{name}", {"host_key": e.fresh.host_key})
    assert accepted.status_code == 202, accepted.json
    e.wait_enrolment(name, "done", trusted="accepted")
    e.world.wait_online(name)
    assert e.orders() == []


def test_a_wrong_password_is_said_and_leaves_nothing(enrolling: Enrolling) -> None:
    e = enrolling
    answer = e.api("POST", "/hypervisors", e.fields(password="wrong", trust_new_key=True))
    name = answer.json["id"]
    seen = e.wait_enrolment(name, "failed", reason="PasswordRefused")
    assert "PermitRootLogin" in seen["message"]
    assert (e.authorized_keys(), e.orders()) == ([], [])
    assert "Failed password for root" in e.fresh.log_text()
    again = e.api("POST", f"/hypervisors/{name}/enrol", {"password": PASSWORD})
    assert again.status_code == 202, again.json
    e.world.wait_until(lambda: e.enrolment(name)["state"] != "failed", "it is tried again")
    e.wait_enrolment(name, "waiting")


@pytest.mark.parametrize("given", ["pinned", "fingerprint"])
def test_the_password_is_never_sent_to_a_host_with_another_key(
    enrolling: Enrolling, given: str
) -> None:
    e = enrolling
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKd4zu5b4nJ3l7VpQnYy5Xq8TTlsHy2a5xw0Pq6cVJ8k"
    before = len(e.fresh.log_text())
    if given == "pinned":
        name, reason = e.add(host_key=other), "HostKeyChanged"
    else:
        name, reason = e.add(fingerprint="SHA256:" + "A" * 43), "FingerprintDiffers"
    e.wait_enrolment(name, "failed", reason=reason)
    said = e.fresh.log_text()[before:]
    assert "for root" not in said, "no login was tried, of whatever kind"
    assert (e.authorized_keys(), e.orders()) == ([], [])


def test_a_host_that_cannot_run_desktops_is_left_alone(enrolling: Enrolling) -> None:
    e = enrolling
    door, hidden = "/run/libvirt/libvirt-sock", "/run/libvirt/hidden"
    e.fresh.exec(["mv", door, hidden])
    try:
        seen = e.wait_enrolment(e.add(trust_new_key=True), "failed", reason="NoLibvirt")
        assert "systemctl enable --now libvirtd" in seen["message"]
        assert e.authorized_keys() == []
        kinds = {"hypervisor": False, "disk_operations": True}
        e.world.database.run(r.table("hypervisors").delete())
        e.wait_enrolment(e.add(trust_new_key=True, capabilities=kinds), "done")
        assert not list(e.fresh.ticket_keys.iterdir())
    finally:
        e.fresh.exec(["mv", hidden, door])


def seal(e: Enrolling, hypervisor: dict[str, Any], **more: Any) -> bytes:
    """As docs/hypervisors.md tells scripts to do it."""
    key = e.world.database.run(r.table("engine").get("enrolment_key"))
    order = {
        "hypervisor": hypervisor["id"],
        "hostname": hypervisor["hostname"],
        "port": hypervisor["port"],
        "user": "root",
        "password": PASSWORD,
        **more,
    }
    box = SealedBox(PublicKey(base64.b64decode(key["public"])))
    return box.encrypt(json.dumps(order).encode())


def insert(e: Enrolling, hypervisor: dict[str, Any], sealed: bytes, lasts_s: float = 60) -> None:
    order = {"id": hypervisor["id"], "sealed": r.binary(sealed), "order": "mine"}
    e.world.database.run(
        r.table("enrolments").insert({**order, "expires_at": r.now().add(lasts_s)})
    )
    row = {**hypervisor, "desired": {"state": "enabled", "at": r.now()}}
    e.world.database.run(r.table("hypervisors").insert(row))


def test_a_script_may_seal_a_password_itself(enrolling: Enrolling) -> None:
    e = enrolling
    row = e.fields()
    insert(e, row, seal(e, row, trust="first_use"))
    assert e.wait_enrolment(row["id"], "done")["order"] == "mine"
    e.world.wait_online(row["id"])


def test_a_row_whose_address_is_changed_gets_no_password_sent(enrolling: Enrolling) -> None:
    e = enrolling
    row = e.fields()
    insert(e, row, seal(e, {**row, "port": row["port"] + 1}, trust="first_use"))
    e.wait_enrolment(row["id"], "failed", reason="BadEnrolment")
    assert e.orders() == []
    for nonsense in (b"no box", b""):
        e.world.database.run(r.table("hypervisors").delete())
        row = e.fields()
        insert(e, row, nonsense)
        e.wait_enrolment(row["id"], "failed", reason="BadEnrolment")
        e.wait_forgotten()


def test_an_order_that_is_not_used_in_its_time_is_forgotten(enrolling: Enrolling) -> None:
    e = enrolling
    row = e.fields()
    insert(e, row, seal(e, row), lasts_s=4)
    e.wait_enrolment(row["id"], "waiting")
    e.wait_enrolment(row["id"], "failed", reason="EnrolmentExpired")
    assert e.orders() == []
    for odd in ({"id": "nobody"}, {"id": ["x"], "expires_at": "never"}):
        e.world.database.run(r.table("enrolments").insert({**odd, "sealed": "x"}))
    e.wait_forgotten()


def test_an_engine_killed_in_the_middle_leaves_it_to_the_next(enrolling: Enrolling) -> None:
    e = enrolling
    e.fresh.exec(["sh", "-c", "kill -STOP $(pgrep -x sshd)"])
    try:
        name = e.add(trust_new_key=True)
        e.wait_enrolment(name, "working")
        e.world.engine.kill()
    finally:
        e.fresh.exec(["sh", "-c", "kill -CONT $(pgrep -x sshd)"])
    assert len(e.orders()) == 1
    e.world.restart_engine()
    e.wait_enrolment(name, "done")
    e.world.wait_online(name)
    assert (len(e.authorized_keys()), e.orders()) == (1, [])


def test_the_password_is_nowhere_to_be_found(
    enrolling: Enrolling, capfd: pytest.CaptureFixture[str]
) -> None:
    e = enrolling
    found: set[str] = set()
    stop = threading.Event()

    def watch_processes() -> None:
        while not stop.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for file in (process / "cmdline", process / "environ"):
                    if MARK in read(file):
                        found.add(str(file))

    watching = threading.Thread(target=watch_processes)
    watching.start()
    try:
        name = e.add(trust_new_key=True)
        e.wait_enrolment(name, "done")
        e.world.wait_online(name)
    finally:
        stop.set()
        watching.join()
    assert not found
    files = [path for path in e.world.folder.rglob("*") if path.is_file()]
    assert any(name.encode() in read(path) for path in files), "the tables are among them"
    assert [path for path in files if MARK in read(path)] == []
    events = e.world.database.run(r.table("events").filter({"what": "hypervisor.enrol"}))
    shown = json.dumps(e.api("GET", "/hypervisors").json) + repr(events) + capfd.readouterr().out
    assert name in shown
    assert MARK.decode() not in shown


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_keys_survive_restarts(enrolling: Enrolling) -> None:
    e = enrolling
    key = e.world.data / "ssh" / "enrolment.key"
    before = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    name = e.add(trust_new_key=True)
    e.wait_enrolment(name, "done")
    e.world.engine.kill()
    e.fresh.stop()
    e.world.lab.restart(e.fresh)
    e.fresh = e.world.lab.hosts[-1]
    e.fresh.let_root_in()
    e.world.restart_engine()
    e.world.wait_online(name)
    assert key.read_bytes() == before

    def is_published() -> bool:
        row = e.world.database.run(r.table("engine").get("enrolment_key"))
        own = (e.world.data / "ssh" / "id_ed25519.pub").read_text().split()[1]
        return bool(row) and own in row["ssh_key"]

    wait_until(is_published, 20, "the engine's keys are published")
