"""An engine, a web side, and a host that nobody has added yet: root has a password there, and the
engine's key is unknown.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from jwcrypto.jwk import JWK

from db.connection import r
from engine.hypervisor.login import fingerprint_of
from tests.engine.world import START_TIMEOUT_S, World
from tests.lab import LabHost
from tests.webapp.conftest import Api, put_user
from webapp import create_app
from webapp.auth import tokens
from webapp.auth.sessions import read_person
from webapp.services.health import LeaseWatch
from webapp.settings import WebSettings

MARK = b"Tr0ub4dor"
PASSWORD = f'it\'s "{MARK.decode()}" $HOME `id` \\n %s ñ€ and  blanks'
FOREIGN_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIForeignForeignForeignForeignForeignForei old@one"
)
HOME = "/etc/isard/home"


@dataclass
class Enrolling:
    """`fresh`: the host; between tests it forgets us (see `forget`)."""

    world: World
    fresh: LabHost
    app: Flask
    api: Api
    made: list[str] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.fresh.host_key)

    def fields(self, **more: Any) -> dict[str, Any]:
        """Of a hypervisor that is not there yet."""
        new = {"id": f"new-{uuid.uuid4().hex[:6]}", "hostname": "127.0.0.1"}
        fields = {**new, "port": self.fresh.ssh_port, "viewer": {"port": self.fresh.viewer_port}}
        self.made.append(fields["id"])
        return {**fields, **more}

    def add(self, **more: Any) -> str:
        """By REST; the hypervisor's id."""
        fields = self.fields(password=PASSWORD, **more)
        answer = self.api("POST", "/hypervisors", fields)
        assert answer.status_code == 201, answer.json
        return str(answer.json["id"])

    def row(self, hypervisor: str) -> dict[str, Any]:
        found = self.world.database.run(r.table("hypervisors").get(hypervisor))
        assert found is not None, f"there is no {hypervisor}"
        return dict(found)

    def enrolment(self, hypervisor: str) -> dict[str, Any]:
        return dict((self.row(hypervisor).get("observed") or {}).get("enrolment") or {})

    def wait_enrolment(self, hypervisor: str, state: str, **fields: Any) -> dict[str, Any]:
        def is_there() -> bool:
            seen = self.enrolment(hypervisor)
            assert seen.get("state") != "failed" or state == "failed", seen
            return seen.get("state") == state and all(seen.get(k) == v for k, v in fields.items())

        self.world.wait_until(is_there, f"{hypervisor} {state}", START_TIMEOUT_S)
        return self.enrolment(hypervisor)

    def orders(self) -> list[dict[str, Any]]:
        return list(self.world.database.run(r.table("enrolments")))

    def wait_forgotten(self) -> None:
        self.world.wait_until(lambda: not self.orders(), "the password is forgotten")

    def authorized_keys(self) -> list[str]:
        file = f"{HOME}/.ssh/authorized_keys"
        return self.fresh.exec(["cat", file], check=False).stdout.splitlines()

    def put_authorized_keys(self, text: str) -> None:
        self.fresh.exec(["mkdir", "-p", f"{HOME}/.ssh"])
        self.fresh.exec(["tee", f"{HOME}/.ssh/authorized_keys"], input=text)

    def forget(self) -> None:
        """What tests have left, on the host and in the tables."""
        for table in ("enrolments", "hypervisors"):
            self.world.database.run(r.table(table).delete())
        left = [f"{HOME}/.ssh", "/etc/isard/hypervisor_id"]
        self.fresh.exec(["rm", "-rf", *left])
        self.fresh.exec(["sh", "-c", "rm -rf /etc/isard/tickets/*"])


@pytest.fixture(scope="module")
def running() -> Iterator[Enrolling]:
    with World(hosts=()) as world:
        host = world.lab.start("fresh", password=PASSWORD)
        keys = world.data / "secrets" / "tickets"
        keys.mkdir(parents=True)
        pem = JWK.generate(kty="EC", crv="P-256").export_to_pem(private_key=True, password=None)
        (keys / "k1.key.pem").write_bytes(pem)
        put_user(world.database, "root", "root's password!")
        app = create_app(WebSettings.from_environment(world.environment), world.database)
        with app.app_context():
            person = read_person("root")
            assert person is not None
            api = Api(app.test_client(use_cookies=False), tokens.issue(person)[0])
        key = r.table("engine").get("enrolment_key")
        world.wait_until(lambda: world.database.run(key), "the engine is at work")
        yield Enrolling(world, host, app, api)


@pytest.fixture
def enrolling(running: Enrolling) -> Enrolling:
    running.forget()
    watch = LeaseWatch()
    database = running.world.database
    running.world.wait_until(lambda: watch.is_engine_at_work(database), "the engine is at work")
    return running
