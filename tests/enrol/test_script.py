"""`/add-hypervisor.sh` adds a host as the guide promises, or says what is wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from db.connection import r
from tests.enrol.conftest import MARK, PASSWORD, Enrolling
from tests.servers import ROOT, free_port

SCRIPT = ROOT / "docker" / "app" / "add-hypervisor.sh"
NEEDED = ("PATH", "HOME", "LANG")


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    problem: str


Run = Callable[..., Said]


@pytest.fixture
def run(enrolling: Enrolling) -> Run:
    """The script with variables as `docker exec -e` gives them; None takes one away."""

    def call(**given: str | None) -> Said:
        e = enrolling
        host = {"HYPERVISOR": "127.0.0.1", "PORT": str(e.fresh.ssh_port), "PASSWORD": PASSWORD}
        viewer = {"VIEWER": f":{e.fresh.viewer_port}"}
        ours = {name: os.environ[name] for name in NEEDED if name in os.environ}
        wanted = {**ours, **e.world.environment, **host, **viewer, **given}
        environment = {name: value for name, value in wanted.items() if value is not None}
        done = subprocess.run(
            [str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=150, cwd="/"
        )
        assert MARK.decode() not in done.stdout + done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    return call


def rows(e: Enrolling) -> list[dict[str, Any]]:
    return list(e.world.database.run(r.table("hypervisors")))


def assert_refused(e: Enrolling, said: Said, *words: str) -> None:
    """It says why in one line, and nothing half-done remains."""
    assert said.code == 1, said
    assert len(said.problem.strip().splitlines()) == 1, said.problem
    for word in words:
        assert word in said.problem
    assert (rows(e), e.orders(), e.authorized_keys()) == ([], [], [])


def test_the_script_grants_access_and_reports_the_checks(enrolling: Enrolling, run: Run) -> None:
    e = enrolling
    said = run(KINDS="both", POOL="default")
    assert (said.code, said.problem) == (0, ""), said
    assert "SSH access granted." in said.out
    assert "libvirt runs there." in said.out
    assert e.fingerprint in said.out
    assert "trusted from now on" in said.out
    assert "ok     Login" in said.out
    (row,) = rows(e)
    assert row["id"] == "127.0.0.1"
    assert f"{row['id']} is online." in said.out
    assert row["host_key"] == e.fresh.host_key
    assert row["viewer"] == {"hostname": None, "port": e.fresh.viewer_port}
    assert len(e.authorized_keys()) == 1
    # Once more, as after a change of the host's password: it is the same host still.
    again = run(PASSWORD="anything")
    assert again.code == 0, again
    assert "in the list already" in again.out
    assert "accepted before" in again.out
    assert [found["id"] for found in rows(e)] == [row["id"]]
    # The guide goes on: "you should go to hypervisors menu and add a new hypervisor".
    answer = e.api("POST", "/hypervisors", e.fields())
    assert (answer.status_code, answer.json["reason"]) == (409, "SameHost")
    assert "nothing more to do" in answer.json["detail"]


def test_a_name_a_kind_and_a_fingerprint_are_honoured(enrolling: Enrolling, run: Run) -> None:
    e = enrolling
    said = run(ID="nas-1", KINDS="disk_operations", FINGERPRINT=e.fingerprint)
    assert said.code == 0, said
    assert "It is the key you named." in said.out
    (row,) = rows(e)
    assert row["id"] == "nas-1"
    assert row["capabilities"] == {"hypervisor": False, "disk_operations": True}
    clash = run(ID="other")
    assert (clash.code, len(rows(e))) == (1, 1)
    assert "'nas-1'" in clash.problem
    far = run(ID="nas-1", HYPERVISOR="127.0.0.2")
    assert (far.code, len(rows(e))) == (1, 1)
    assert "Choose another name" in far.problem


def test_what_is_missing_or_wrong_is_said(enrolling: Enrolling, run: Run) -> None:
    e = enrolling
    assert_refused(e, run(PASSWORD=None), "PASSWORD is missing")
    assert_refused(e, run(HYPERVISOR="a b;$(id)"), "HYPERVISOR is wrong", "IP address")
    assert_refused(e, run(ID="-x"), "ID is wrong")


def test_a_host_that_does_not_let_us_in_is_said(enrolling: Enrolling, run: Run) -> None:
    e = enrolling
    wrong = run(PASSWORD="wrong `$HOME` 'x")
    assert_refused(e, wrong, "does not accept this password", "/reset-hyper.sh")
    assert_refused(e, run(HYPERVISOR="no-such-host.invalid"), "cannot be resolved")
    assert_refused(e, run(PORT=str(free_port())), "Nothing answers")
    assert_refused(e, run(FINGERPRINT="SHA256:" + "A" * 43), e.fingerprint, "was not sent")
    with chatterbox() as port:
        assert_refused(e, run(PORT=str(port)), "not as an SSH server")


def test_a_changed_key_is_refused_and_the_row_stays(enrolling: Enrolling, run: Run) -> None:
    e = enrolling
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKd4zu5b4nJ3l7VpQnYy5Xq8TTlsHy2a5xw0Pq6cVJ8k"
    fields = e.fields(host_key=other)
    assert e.api("POST", "/hypervisors", fields).status_code == 201
    said = run()
    assert said.code == 1, said
    assert "another key than the one that was accepted" in said.problem
    assert [row["id"] for row in rows(e)] == [fields["id"]]
    assert (e.authorized_keys(), e.orders()) == ([], [])


def test_an_engine_or_a_database_that_is_away_is_said(enrolling: Enrolling, run: Run) -> None:
    e = enrolling
    assert_refused(e, run(ISARD_DB_PORT="1"), "127.0.0.1:1", "does not answer")
    e.world.engine.stop()
    try:
        assert_refused(e, run(), "The engine is not running", "make run")
    finally:
        e.world.restart_engine()


def test_a_script_that_is_called_off_leaves_nothing(enrolling: Enrolling) -> None:
    e = enrolling
    e.fresh.exec(["sh", "-c", "kill -STOP $(pgrep -x sshd)"])
    environment = {**os.environ, **e.world.environment, "PASSWORD": PASSWORD}
    argv = [sys.executable, "-m", "webapp", "hypervisor", "add", "--enrol"]
    process = subprocess.Popen(
        [*argv, "--hostname", "127.0.0.1", "--port", str(e.fresh.ssh_port)],
        env=environment,
        cwd=ROOT,
    )
    try:
        e.world.wait_until(lambda: rows(e), "it has begun")
        process.terminate()
        assert process.wait(40) == 130
    finally:
        e.fresh.exec(["sh", "-c", "kill -CONT $(pgrep -x sshd)"])
        process.kill()
    assert e.orders() == []
    e.world.wait_until(lambda: not rows(e), "its row is gone")


def test_no_process_that_is_started_has_the_password(enrolling: Enrolling, run: Run) -> None:
    """The script itself was given it by its environment; nothing that it starts is."""
    found: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    argv = (process / "cmdline").read_bytes()
                    environment = (process / "environ").read_bytes()
                except OSError:
                    continue
                is_script = argv.endswith(str(SCRIPT).encode() + b"\0")
                if MARK in argv or (MARK in environment and not is_script):
                    found.add(argv.decode(errors="replace"))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        assert run().code == 0
    finally:
        stop.set()
        watching.join()
    assert not found


@contextmanager
def chatterbox() -> Iterator[int]:
    """A port where somebody greets who is no SSH server."""
    listening = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            with client:
                client.sendall(b"220 mail.example ESMTP\r\n" * 200)

    threading.Thread(target=greet, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()
