"""A medium's file from the storage to a browser: over a real web side, engine, SSH and curl."""

from __future__ import annotations

import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from db import desired
from db.connection import r
from tests.engine.orders import order, seen, wait_state
from tests.engine.test_tasks_export import export, observed, remove, wait_medium
from tests.engine.world import World
from tests.servers import ManagedProcess, free_port, wait_until
from tests.webapp.conftest import PASSWORDS, put_user


class Web:
    """The web side of a World, and ana, who speaks to it by token."""

    def __init__(self, world: World) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.world = world
        environment = {**world.environment, "ISARD_WEB_PORT": str(port)}
        log = world.folder / "webapp.log"
        self.process = ManagedProcess([sys.executable, "-m", "webapp"], log, environment)
        self.headers: dict[str, str] = {}

    def start(self) -> None:
        self.process.start()

        def is_up() -> bool:
            try:
                return requests.get(f"{self.url}/login", timeout=5).status_code == 200
            except requests.ConnectionError:
                return False

        wait_until(is_up, 30, "the web side answers")
        body = {"username": "ana", "password": PASSWORDS["ana"]}
        token = requests.post(f"{self.url}/api/v1/tokens", json=body, timeout=20).json()["token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def call(self, method: str, path: str, **headers: str) -> requests.Response:
        sent = {**self.headers, **headers}
        return requests.request(method, f"{self.url}/api/v1{path}", headers=sent, timeout=60)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ISARD_STALL_TIMEOUT", "300")
        with World() as running:
            running.template = running.add_template()
            yield running


@pytest.fixture(scope="module")
def web(world: World) -> Iterator[Web]:
    put_user(world.database, "ana", PASSWORDS["ana"])
    web = Web(world)
    web.start()
    yield web
    web.process.stop()


def make_export(world: World, format: str = "ova") -> tuple[str, Path]:
    desktop = world.add_desktop(world.template)
    task, medium = export(world, desktop, format=format)
    wait_state(world, task, "done")
    return medium, wait_medium(world, medium, "available")


def test_an_exported_machine_is_saved_byte_for_byte(world: World, web: Web) -> None:
    medium, path = make_export(world)
    asked = web.call("POST", f"/media/{medium}/file")
    assert asked.status_code == 202, asked.text
    done = wait_state(world, asked.json()["task"]["id"], "done")
    assert done["result"] == {"medium": medium}
    answer = web.call("GET", f"/media/{medium}/file")
    assert answer.status_code == 200, answer.text
    assert answer.content == path.read_bytes()
    assert answer.headers["Content-Disposition"] == "attachment; filename=export.ova"
    part = web.call("GET", f"/media/{medium}/file", Range="bytes=512-1023")
    assert (part.status_code, part.content) == (206, path.read_bytes()[512:1024])
    again = web.call("POST", f"/media/{medium}/file").json()
    assert (again["ready"], again["task"]) == (True, None)
    record = world.database.run(r.table("uploads").get(asked.json()["task"]["id"]))
    assert record is None, "the key goes with its use"
    assert "Delivery" not in world.log_text() + web.process.log_text()
    remove(world, medium)
    assert web.call("GET", f"/media/{medium}/file").status_code == 404


def test_a_web_side_that_is_gone_is_said_and_it_can_be_ordered_again(
    world: World, web: Web
) -> None:
    medium, path = make_export(world, "qcow2")
    record = {"id": str(uuid.uuid4()), "media": medium, "key": "k" * 64}
    url = f"http://127.0.0.1:{free_port()}/deliveries/{record['id']}"
    desired.put_upload(world.database, {**record, "url": url, "size": path.stat().st_size})
    put_order(world, record["id"], medium)
    failed = wait_state(world, record["id"], "failed")
    assert failed["reason"] == "DownloadFailed"
    assert "does not answer" in failed["message"]
    task = web.call("POST", f"/media/{medium}/file").json()["task"]["id"]
    wait_state(world, task, "done")
    assert web.call("GET", f"/media/{medium}/file").content == path.read_bytes()


def put_order(world: World, task_id: str, medium: str) -> None:
    row = {"id": task_id, "kind": "deliver", "target": medium, "args": {}}
    world.database.run(r.table("tasks").insert({**row, "desired": {"state": "done"}}))


def test_an_order_that_no_web_side_waits_for_is_refused(world: World) -> None:
    medium, path = make_export(world, "raw")
    task = order(world, "deliver", medium)
    assert "No web side waits" in wait_state(world, task, "failed")["message"]
    task = order(world, "deliver", str(uuid.uuid4()))
    assert wait_state(world, task, "failed")["reason"] == "TargetGone"
    # A script may write any path: the file is found by its place alone.
    secret = world.folder / "secret"
    secret.write_bytes(b"x" * path.stat().st_size)
    change = {"observed": {"path": str(secret)}}
    world.database.run(r.table("media").get(medium).update(change))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        task = begin_sending(world, medium, silent, path.stat().st_size)
        with silent.accept()[0] as connection, connection.makefile("rb") as stream:
            connection.settimeout(30)
            head = b"".join(iter(stream.readline, b"\r\n"))
            assert head.startswith(f"PUT /deliveries/{task} HTTP/1.1".encode())
            assert b"Authorization: Delivery " in head
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert stream.read(8) == path.read_bytes()[:8]
    wait_state(world, task, "failed")


def begin_sending(world: World, medium: str, to: socket.socket, size: int) -> Any:
    """An order whose web side is a socket."""
    task_id = str(uuid.uuid4())
    url = f"http://127.0.0.1:{to.getsockname()[1]}/deliveries/{task_id}"
    record = {"id": task_id, "media": medium, "url": url, "key": "k" * 64, "size": size}
    desired.put_upload(world.database, record)
    put_order(world, task_id, medium)
    return task_id


def test_a_medium_that_is_deleted_is_sent_no_further(world: World) -> None:
    medium, path = make_export(world, "raw")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        task = begin_sending(world, medium, silent, path.stat().st_size)
        with silent.accept()[0]:
            world.wait_until(lambda: seen(world, task).get("step") == "send", "it is being sent")
            remove(world, medium)
            wait_state(world, task, "cancelled")
    assert observed(world, medium) == {}
