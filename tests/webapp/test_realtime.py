"""Live updates over real sockets: a serving process, two people and an administrator, each a real
Socket.IO client. Rows are changed in the database alone, as a script or the engine does.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import socketio

from db import desired
from db.connection import Database, r
from db.states import Desired
from tests.servers import ManagedProcess, answers, free_port, wait_until
from tests.webapp.conftest import PASSWORDS, Rows, put_user
from webapp.auth.permissions import Person
from webapp.realtime.lists import Listing
from webapp.services import users


class WebServer(ManagedProcess):
    """`python -m webapp` on a free port."""

    def __init__(self, database: Database) -> None:
        self.port = free_port()
        s = database.settings
        environment = {
            "ISARD_DATA": str(s.data),
            "ISARD_WEB_PORT": str(self.port),
            "ISARD_DB_HOST": s.db_host,
            "ISARD_DB_PORT": str(s.db_port),
            "ISARD_DB_NAME": s.db_name,
            "ISARD_DB_PASSWORD": s.db_password,
        }
        super().__init__(
            [sys.executable, "-m", "webapp"], s.data.parent / "webapp.log", environment
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        super().start()

        def is_up() -> bool:
            assert self.is_running(), f"the web side ended at start:\n{self.log_text()}"
            return answers(self.port)

        wait_until(is_up, 30, "the web side answers")


@dataclass
class Listener:
    """One connected page: all it was told, in order."""

    client: socketio.Client
    heard: list[tuple[str, Any]] = field(default_factory=list)

    def wait_for(self, what: str, matches: Callable[[Any], bool] = lambda _: True) -> Any:
        def found() -> Any:
            return [item for event, item in self.heard if event == what and matches(item)]

        return wait_until(found, 20, f"{what} in {[event for event, _ in self.heard]}")[-1]  # type: ignore[index]

    def text(self) -> str:
        return json.dumps(self.heard)


@pytest.fixture
def server(database: Database) -> Iterator[WebServer]:
    for name, password in PASSWORDS.items():
        put_user(database, name, password)
    server = WebServer(database)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def token_of(server: WebServer) -> Callable[[str], str]:
    def make(name: str) -> str:
        body = {"username": name, "password": PASSWORDS[name]}
        answer = requests.post(server.url + "/api/v1/tokens", json=body, timeout=20)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    return make


@pytest.fixture
def listen(server: WebServer, token_of: Callable[[str], str]) -> Iterator[Callable[..., Listener]]:
    clients: list[socketio.Client] = []

    def connect(name: str, **more: Any) -> Listener:
        client = socketio.Client(reconnection=more.pop("reconnection", False))
        listener = Listener(client)
        client.on(
            "*", lambda event, *data: listener.heard.append((event, data[0] if data else None))
        )
        more.setdefault("auth", {"token": token_of(name)})
        client.connect(server.url, transports=["websocket"], wait_timeout=20, **more)
        clients.append(client)
        listener.wait_for("desktops.list")
        return listener

    yield connect
    for client in clients:
        client.disconnect()


def is_in(state: str) -> Callable[[Any], bool]:
    return lambda item: item["condition"] == state


def test_each_page_hears_of_its_own_desktops_and_administrators_of_all(
    listen: Callable[..., Listener], rows: Rows
) -> None:
    hers, his = rows.desktop("ana"), rows.desktop("ben")
    rows.hypervisor()
    ana, ben, root = listen("ana"), listen("ben"), listen("root")
    for listener, expected in (
        (ana, {hers["id"]}),
        (ben, {his["id"]}),
        (root, {hers["id"], his["id"]}),
    ):
        first = listener.wait_for("desktops.list")
        assert {item["id"] for item in first["items"]} == expected
    started = {"desired": {"state": "started", "at": r.now()}}
    query = r.table("domains").get_all("default", index="group").update(started)
    rows.database.run(query)
    for listener, row in ((ana, hers), (ben, his)):
        told = listener.wait_for("desktop.changed", is_in("starting"))
        assert told["id"] == row["id"]
        assert told["desired"]["by"] == "script"
    wait_until(
        lambda: (
            {hers["id"], his["id"]}
            <= {item["id"] for event, item in root.heard if event == "desktop.changed"}
        ),
        20,
        "the administrator hears of both",
    )
    assert his["id"] not in ana.text()
    assert hers["id"] not in ben.text()
    assert "hypervisor" not in {event.split(".")[0].rstrip("s") for event, _ in ana.heard}
    assert root.wait_for("hypervisors.list")["items"][0]["id"] == "host-a"


def test_what_is_made_changed_given_away_and_removed_is_told(
    listen: Callable[..., Listener], rows: Rows, database: Database
) -> None:
    ana, ben = listen("ana"), listen("ben")
    made = rows.desktop("ana")
    ana.wait_for("desktop.changed", lambda item: item["id"] == made["id"])
    database.run(r.table("domains").get(made["id"]).update({"user": "ben"}))
    ben.wait_for("desktop.changed", lambda item: item["id"] == made["id"])
    ana.wait_for("desktop.removed", lambda item: item == {"id": made["id"]})
    database.run(r.table("domains").get(made["id"]).delete())
    ben.wait_for("desktop.removed", lambda item: item == {"id": made["id"]})


def test_no_secret_and_nothing_of_the_host_reaches_a_page(
    listen: Callable[..., Listener], rows: Rows
) -> None:
    rows.hypervisor()
    ana = listen("ana")
    desktop = rows.running("ana")
    ana.wait_for("desktop.changed", is_in("started"))
    late = listen("ana")
    for listener in (ana, late):
        for hidden in ("cons0le!", "/opt/isard", "host-a", "5901", "epoch", "argon2", "AAAAC3"):
            assert hidden not in listener.text(), hidden
    assert desktop["id"] in late.text()


def test_an_administrators_own_desktop_is_told_once(
    listen: Callable[..., Listener], rows: Rows, database: Database
) -> None:
    root = listen("root")
    mine = rows.desktop("root", name="Once")
    database.run(r.table("domains").get(mine["id"]).update({"name": "Twice"}))
    root.wait_for("desktop.changed", lambda item: item["name"] == "Twice")
    marker = rows.desktop("ana", name="Marker")
    root.wait_for("desktop.changed", lambda item: item["id"] == marker["id"])
    told = [item for event, item in root.heard if event == "desktop.changed"]
    assert len([item for item in told if item["name"] == "Twice"]) == 1


def test_hypervisors_are_told_to_administrators_alone(
    listen: Callable[..., Listener], rows: Rows, database: Database
) -> None:
    ana, root = listen("ana"), listen("root")
    rows.hypervisor()
    rows.observe("host-a", "hypervisors", state="online")
    root.wait_for("hypervisor.changed", lambda item: item["observed"]["state"] == "online")
    database.run(r.table("hypervisors").get("host-a").delete())
    root.wait_for("hypervisor.removed", lambda item: item == {"id": "host-a"})
    marker = rows.desktop("ana")
    ana.wait_for("desktop.changed", lambda item: item["id"] == marker["id"])
    assert "host-a" not in ana.text()


def test_thumbnails_are_taken_of_what_is_looked_at_and_told(
    listen: Callable[..., Listener], rows: Rows
) -> None:
    ana = listen("ana")
    hers, his = rows.running("ana"), rows.running("ben")
    ana.wait_for("desktop.changed", is_in("started"))
    asked = {"thumbnails": [hers["id"], his["id"], str(uuid.uuid4()), 5, None]}
    answer = ana.client.call("subscribe", asked, timeout=20)
    assert answer == {"ok": True, "thumbnails": [hers["id"]], "expires_in_s": 15}
    interests = list(rows.database.run(r.table("interests")))
    assert [row["id"] for row in interests] == [hers["id"]]
    seconds = rows.database.run(r.expr(interests[0]["expires_at"]).sub(r.now()))
    assert 0 < seconds <= 15
    for nonsense in (None, [], "x", {"thumbnails": "all"}, {"thumbnails": {"a": 1}}):
        assert ana.client.call("subscribe", nonsense, timeout=20)["ok"] is False
    png = {"id": hers["id"], "png": r.binary(b"\x89PNG\r\n\x1a\n1"), "at": r.now()}
    rows.put("thumbnails", {**png, "id": his["id"]})
    rows.put("thumbnails", png)
    told = ana.wait_for("thumbnail.changed")
    assert told["id"] == hers["id"]
    assert told["url"].startswith(f"/api/v1/desktops/{hers['id']}/thumbnail?at=")
    assert "PNG" not in ana.text()
    listed = listen("ana").wait_for("desktops.list")["items"]
    assert listed[0]["thumbnail_url"] == told["url"]


def test_who_is_not_logged_in_is_refused(server: WebServer) -> None:
    for auth in (None, {}, {"token": "x"}, {"token": 5}, "x"):
        client = socketio.Client(reconnection=False)
        with pytest.raises(socketio.exceptions.ConnectionError):
            client.connect(server.url, auth=auth, transports=["websocket"], wait_timeout=20)
        client.disconnect()


def test_a_page_of_another_site_is_refused_even_with_the_cookie(server: WebServer) -> None:
    session = requests.Session()
    page = session.get(server.url + "/login", timeout=20).text
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    form = {"name": "ana", "password": PASSWORDS["ana"], "csrf_token": token}
    session.post(server.url + "/login", data=form, timeout=20)
    cookie = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
    own = socketio.Client(reconnection=False)
    own.connect(server.url, headers={"Cookie": cookie}, transports=["websocket"], wait_timeout=20)
    own.disconnect()
    handshake = server.url + "/socket.io/?EIO=4&transport=polling"
    for origin, status in ((server.url, 200), ("https://evil.example", 400), ("null", 400)):
        headers = {"Cookie": cookie, "Origin": origin}
        assert requests.get(handshake, headers=headers, timeout=20).status_code == status, origin


def test_a_new_password_or_role_ends_the_connection(
    listen: Callable[..., Listener], database: Database
) -> None:
    ana, ben, root = listen("ana"), listen("ben"), listen("root")
    users.set_password(database, "ana", "a wholly new password")
    database.run(r.table("users").get("root").update({"role": "user"}))
    wait_until(lambda: not ana.client.connected, 20, "ana's page is cut")
    wait_until(lambda: not root.client.connected, 20, "who is administrator no more is cut")
    assert ben.client.connected


def test_after_a_restart_a_page_gets_the_whole_list_again(
    server: WebServer, listen: Callable[..., Listener], rows: Rows, database: Database
) -> None:
    gone, stays = rows.desktop("ana", name="Gone"), rows.desktop("ana", name="Stays")
    ana = listen("ana", reconnection=True)
    server.stop()
    database.run(r.table("domains").get(gone["id"]).delete())
    desired.wish_domain(database, stays["id"], Desired.STARTED, "user/ana")
    ana.heard.clear()
    server.start()
    listed = ana.wait_for("desktops.list")["items"]
    assert [(item["id"], item["condition"]) for item in listed] == [(stays["id"], "starting")]


def test_rows_full_of_nonsense_stop_no_feed(
    listen: Callable[..., Listener], rows: Rows, database: Database
) -> None:
    ana = listen("ana")
    odd = {"kind": "desktop", "user": "ana", "name": ["x"], "desired": 5, "observed": [1]}
    database.run(
        r.table("domains").insert([{**odd, "id": "odd"}, {**odd, "id": 7}, {**odd, "user": {}}])
    )
    database.run(r.table("users").insert({"id": "odd", "role": 5, "sessions_epoch": "x"}))
    database.run(r.table("hypervisors").insert({"id": "odd", "observed": 5}))
    database.run(r.table("thumbnails").insert({"id": "odd", "at": "now"}))
    told = ana.wait_for("desktop.changed", lambda item: item["id"] == "odd")
    assert told["condition"] == "failed"
    good = rows.desktop("ana")
    ana.wait_for("desktop.changed", lambda item: item["id"] == good["id"])


def test_times_where_none_belong_end_no_feed(
    listen: Callable[..., Listener], rows: Rows, database: Database
) -> None:
    """JSON has none: such a row is shown without them, and the rows after it as ever."""
    root = listen("root")
    when: Any = r.now()
    desktop, medium = rows.desktop("ana"), rows.medium("ana")
    database.run(r.table("domains").get(desktop["id"]).update({"origin": {"since": when}}))
    database.run(r.table("media").get(medium["id"]).update({"allowed": {"until": when}}))
    odd = {"limits": {"since": when}, "observed": {"enrolment": {"state": ["x"]}}}
    rows.put("hypervisors", {"id": "odd", **odd})
    rows.put("thumbnails", {"id": ["odd"], "at": when})
    for noun, row_id in (
        ("desktop", desktop["id"]),
        ("medium", medium["id"]),
        ("hypervisor", "odd"),
        ("desktop", rows.desktop("ana")["id"]),
        ("medium", rows.medium("ana")["id"]),
        ("hypervisor", rows.hypervisor()["id"]),
    ):
        root.wait_for(f"{noun}.changed", lambda item, row_id=row_id: item["id"] == row_id)
    told = listen("root")
    assert len(told.wait_for("desktops.list")["items"]) == 2
    assert len(told.wait_for("media.list")["items"]) == 2
    assert len(told.wait_for("hypervisors.list")["items"]) == 2


def test_a_row_that_cannot_be_shown_is_left_out_alone() -> None:
    def show(row: dict[str, Any], _person: Person) -> dict[str, Any]:
        return {"id": row["id"], "name": row["name"].strip(), "at": row.get("at")}

    listing = Listing("things", "thing", "things", show)
    good = {"id": "good", "name": "a"}
    rows = {row["id"]: row for row in ({"id": "odd"}, {**good, "id": "b", "at": {1}}, good)}
    items = listing.items_for(rows, Person("", "", "admin", "", ""))["items"]
    assert [item["id"] for item in items] == ["good"]


def test_a_list_larger_than_any_buffer_arrives_whole(
    listen: Callable[..., Listener], rows: Rows, database: Database
) -> None:
    template = rows.desktop("ana")
    many = [{**template, "id": str(uuid.uuid4()), "description": "x" * 1000} for _ in range(4000)]
    for at in range(0, len(many), 500):
        database.run(r.table("domains").insert(many[at : at + 500]))
    ana = listen("ana")
    wait_until(
        lambda: len(listen("ana").wait_for("desktops.list")["items"]) == len(many) + 1,
        60,
        "the whole list",
    )
    assert ana.client.connected


def test_it_stops_cleanly_and_logs_no_secret(
    server: WebServer, listen: Callable[..., Listener], token_of: Callable[[str], str]
) -> None:
    token = token_of("ana")
    listen("ana")
    answer = requests.get(
        server.url + "/api/v1/me?token=query-secret",
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
    )
    assert answer.status_code == 200
    server.stop()
    assert server.process is not None
    assert server.process.returncode == 0
    log = server.log_text()
    assert "serving" in log
    assert "stopping" in log
    assert "Traceback" not in log
    for secret in (token, "query-secret", *PASSWORDS.values()):
        assert secret not in log


def test_an_answer_of_the_server_names_no_version(server: WebServer) -> None:
    answer = requests.get(server.url + "/healthz", timeout=20)
    assert "gevent" not in str(answer.headers).lower()
    assert "python" not in str(answer.headers).lower()
