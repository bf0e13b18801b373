"""What tests of the web side share: people, rows as the engine writes them, clients, a real server.

Nothing of ours is replaced: the application runs over the run's own database. What the engine would
have written (`observed`, consoles, thumbnails, the lease) is written here straight into the tables.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from db import desired
from db.connection import Database, r
from db.defaults import EVERYBODY, NOBODY
from db.settings import Settings
from db.states import Desired, MediaDesired
from webapp import create_app
from webapp.auth import passwords, tokens
from webapp.auth.sessions import read_person
from webapp.services import users
from webapp.settings import WebSettings

PASSWORDS = {"ana": "ana's long password", "ben": "ben's long password", "root": "root's password!"}


@pytest.fixture
def web_settings(settings: Settings) -> WebSettings:
    return WebSettings(kernel=settings, trusted_proxies=0)


@pytest.fixture
def app(web_settings: WebSettings, database: Database) -> Flask:
    """The application with three people: ana and ben, users, and root, an administrator."""
    for name, password in PASSWORDS.items():
        put_user(database, name, password)
    return create_app(web_settings, database)


@cache
def hash_of(password: str) -> str:
    """Hashing is slow on purpose: each password once a run."""
    return passwords.HASHER.hash(password)


def put_user(database: Database, name: str, password: str) -> None:
    """The rows that `python -m webapp user add` makes (a test of it compares them)."""
    credential = {"id": name, "argon2": hash_of(password), "changed_at": r.now()}
    row = users.new_row(name, "admin" if name == "root" else "user")
    database.run(r.table("credentials").insert(credential))
    database.run(r.table("users").insert(row))


@dataclass
class Api:
    """A script: a client that sends a token with each request."""

    client: FlaskClient
    token: str

    def __call__(self, method: str, path: str, json: Any = None, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        if json is not None:
            more["json"] = json
        return self.client.open("/api/v1" + path, method=method, headers=headers, **more)


@pytest.fixture
def api_of(app: Flask) -> Callable[[str], Api]:
    """Api of a user, with a token as POST /api/v1/tokens gives it (but no login counted)."""

    def make(user_id: str) -> Api:
        with app.app_context():
            person = read_person(user_id)
            assert person is not None
            return Api(app.test_client(use_cookies=False), tokens.issue(person)[0])

    return make


@pytest.fixture
def ana(api_of: Callable[[str], Api]) -> Api:
    return api_of("ana")


@pytest.fixture
def ben(api_of: Callable[[str], Api]) -> Api:
    return api_of("ben")


@pytest.fixture
def root(api_of: Callable[[str], Api]) -> Api:
    return api_of("root")


class Rows:
    """Makes rows, and writes what the engine writes."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def template(self, *, shared: bool = True, **more: Any) -> dict[str, Any]:
        row = {
            "id": str(uuid.uuid4()),
            "kind": "template",
            "name": "Demo",
            "description": "",
            "icon": "demo",
            "os": "linux",
            "user": "root",
            "group": "default",
            "category": "default",
            "origin": {"image": "/opt/isard/bases/demo.qcow2"},
            "parents": [],
            "spec": {
                "vcpus": 1,
                "memory_mib": 64,
                "disks": [{"id": "system", "bus": "virtio"}],
                "interfaces": [{"id": "default", "mac": "52:54:00:00:00:01"}],
            },
            "placement": {"pool": "default"},
            "allowed": EVERYBODY if shared else NOBODY,
            **more,
        }
        made = desired.create_domain(self.database, row, "user/root")
        return self.observe(made["id"], state="stopped", **{"for": _wish_of(made)})

    def desktop(self, user: str = "ana", **more: Any) -> dict[str, Any]:
        row = {
            "id": str(uuid.uuid4()),
            "kind": "desktop",
            "name": f"Desktop of {user}",
            "description": "",
            "icon": "demo",
            "os": "linux",
            "user": user,
            "group": "default",
            "category": "default",
            "origin": {"template": str(uuid.uuid4())},
            "spec": {"vcpus": 1, "memory_mib": 64, "disks": [{"id": "system"}]},
            "placement": {"pool": "default"},
            **more,
        }
        made = desired.create_domain(self.database, row, f"user/{user}")
        return self.reach(made["id"])

    def reach(self, row_id: str, **observed: Any) -> dict[str, Any]:
        """The engine has carried out the present wish."""
        row = self.get(row_id)
        return self.observe(
            row_id, **{"state": row["desired"]["state"], "for": _wish_of(row), **observed}
        )

    def running(self, user: str = "ana", *, port: int = 5901, **more: Any) -> dict[str, Any]:
        """A desktop that runs on hypervisor `host-a`, with its console."""
        row = self.desktop(user, **more)
        desired.wish_domain(self.database, row["id"], Desired.STARTED, f"user/{user}")
        row = self.reach(
            row["id"],
            hypervisor="host-a",
            started_at=r.now(),
            viewer={"ports": {"vnc": port}, "hypervisor": "host-a"},
            disks=[
                {
                    "id": "system",
                    "path": f"/opt/isard/groups/{row['id']}/system.qcow2",
                    "backing": "/opt/isard/templates/secret/system.qcow2",
                    "size": 1 << 30,
                }
            ],
            interfaces=[{"id": "default", "mac": "52:54:00:00:00:02"}],
            epoch=7,
        )
        console = {
            "id": row["id"],
            "password": "cons0le!",
            "hypervisor": "host-a",
            "ports": {"vnc": port},
            "at": r.now(),
        }
        self.put("consoles", console)
        return row

    def medium(self, user: str = "ana", *, shared: bool = False, **more: Any) -> dict[str, Any]:
        """An ISO that is being downloaded, or what `more` makes of it; `upload: True` is one that
        is being uploaded.
        """
        media_id = str(uuid.uuid4())
        source = more.pop("source", {"url": "https://ana:s3cret@h.example/x.iso?sig=t0ken"})
        if source.get("upload") is True:
            source = {**source, "upload": media_id}
        row = {
            "id": media_id,
            "kind": "iso",
            "name": f"Medium of {user}",
            "user": user,
            "group": "default",
            "category": "default",
            "pool": "default",
            "source": source,
            "allowed": EVERYBODY if shared else NOBODY,
            **more,
        }
        state = MediaDesired.ABSENT if source.get("upload") else MediaDesired.AVAILABLE
        return desired.create_media(self.database, row, state, f"user/{user}")

    def available(self, media_id: str, **observed: Any) -> dict[str, Any]:
        """The engine has fetched it."""
        wish = _wish_of(self.get(media_id, "media"))
        seen = {"state": "available", "size": 7, "path": f"/m/{media_id}/{media_id}.iso"}
        return self.observe(media_id, "media", **{**seen, "for": wish, **observed})

    def hypervisor(self, hypervisor_id: str = "host-a", **more: Any) -> dict[str, Any]:
        row = {
            "id": hypervisor_id,
            "hostname": "10.0.0.5",
            "port": 22,
            "user": "root",
            "host_key": "ssh-ed25519 AAAAC3Nza",
            "capabilities": {"hypervisor": True, "disk_operations": True},
            "pools": ["default"],
            "viewer": {"hostname": None, "port": 6090},
            "limits": {},
            **more,
        }
        return desired.create_hypervisor(self.database, row, "user/root")

    def observe(self, row_id: str, table: str = "domains", **observed: Any) -> dict[str, Any]:
        change = {"observed": r.literal({"at": r.now(), **observed})}
        self.database.run(r.table(table).get(row_id).update(change))
        return self.get(row_id, table)

    def put(self, table: str, row: dict[str, Any]) -> None:
        self.database.run(r.table(table).insert(row, conflict="replace"))

    def get(self, row_id: str, table: str = "domains") -> dict[str, Any]:
        row: dict[str, Any] = self.database.run(r.table(table).get(row_id))
        return row

    def count(self, table: str, **like: Any) -> int:
        return int(self.database.run(r.table(table).filter(like).count()))


def _wish_of(row: dict[str, Any]) -> dict[str, Any]:
    return {"state": row["desired"]["state"], "at": row["desired"]["at"]}


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(database)


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    """A client that keeps cookies."""
    return app.test_client()
