"""One container stack for tests: its folder, its ports, and docker-compose with its files; what its
services say and come to.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
import urllib3

from tests.compose.docker_engine import DockerEngine
from tests.e2e.product import Api
from tests.servers import ROOT, wait_until

EMBEDDED = ("docker-compose.yml", "docker-compose.embedded.yml")
COMPOSE_TIMEOUT_S = 300.0
HEALTHY_S = 120.0
START_TIMEOUT_S = 120.0
SAID_WITHIN_S = 60.0
PASSWORD = "correct horse battery"
HYPERVISOR = "isard-hypervisor"
WELL = {"isard-db", "isard-app", "isard-engine", HYPERVISOR, "isard-portal"}


class Compose:
    """docker-compose in one folder with one set of variables."""

    def __init__(
        self,
        engine: DockerEngine,
        folder: Path,
        variables: Mapping[str, str],
        files: tuple[str, ...] = (),
    ) -> None:
        self.engine, self.folder, self.variables = engine, folder, dict(variables)
        self._options = [word for file in files for word in ("-f", file)]

    def run(
        self, *argv: str, check: bool = True, timeout_s: float = COMPOSE_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker-compose", *self._options, *argv],
            cwd=self.folder,
            env={**self.engine.environment, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"docker-compose {argv}: {done.returncode}\n{done.stdout[-6000:]}\n"
                f"{done.stderr[-6000:]}"
            )
        return done

    def container(self, service: str) -> str:
        """The id of a service's container, whatever compose calls it."""
        return self.run("ps", "-a", "-q", service).stdout.split()[0]

    def state(self, service: str) -> dict[str, Any]:
        """Docker's own word on it: Status, Health, ExitCode …"""
        found = self.run("ps", "-a", "-q", service, check=False).stdout.split()
        if not found:
            return {}
        text = self.engine.run("inspect", "-f", "{{json .State}}", found[0]).stdout
        state: dict[str, Any] = json.loads(text)
        return state

    def is_well(self, service: str) -> bool:
        state = self.state(service)
        health = (state.get("Health") or {}).get("Status", "healthy")
        return state.get("Status") == "running" and health == "healthy"

    def exec(
        self, service: str, *argv: str, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """`docker exec -e NAME=value CONTAINER argv`, as people type it."""
        options = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
        return self.engine.run("exec", *options, self.container(service), *argv, check=check)

    def logs(self, *services: str) -> str:
        done = self.run("logs", "--no-color", "--tail", "60", *services, check=False)
        return (done.stdout + done.stderr)[-12000:]

    def down(self) -> None:
        self.run("down", "-v", "--remove-orphans", "-t", "20", check=False)


class Stack(Compose):
    """The stack of docker-compose.yml on the embedded database."""

    def __init__(
        self,
        engine: DockerEngine,
        root: Path,
        variables: Mapping[str, str],
        *,
        ports: tuple[int, int] = (80, 443),
        files: tuple[str, ...] = EMBEDDED,
    ) -> None:
        self.root = root
        http, https = ports
        super().__init__(
            engine,
            ROOT,
            {
                "ISARD_ROOT": str(root),
                "ISARD_HTTP_PORT": str(http),
                "ISARD_HTTPS_PORT": str(https),
                "ISARD_ADMIN_PASSWORD": PASSWORD,
                **variables,
            },
            files,
        )
        self.up_after_s = 0.0
        self.http_port, self.https_port = engine.publish(http), engine.publish(https)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.https_port}"

    def up(self, *argv: str) -> float:
        """Start it; how long it took until every service was well, in seconds."""
        begun = time.monotonic()
        try:
            self.run("up", "-d", "--no-build", *argv)
            self.wait_well()
        except AssertionError as error:
            health = {service: self.state(service).get("Health") for service in sorted(WELL)}
            raise AssertionError(f"{error}\n{health}\n{self.logs()}") from None
        return time.monotonic() - begun

    def wait_well(self, timeout_s: float = HEALTHY_S) -> None:
        wait_until(
            lambda: all(self.is_well(service) for service in WELL) and self.is_serving(),
            timeout_s,
            "the stack is well",
            every_s=0.5,
        )

    def is_serving(self) -> bool:
        """The portal, the pages, the engine and a hypervisor: what /healthz asks."""
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        try:
            # The certificate is for names, not for the port the test came in by.
            answer = requests.get(f"{self.url}/healthz", timeout=5, verify=False)  # noqa: S501
        except requests.RequestException:
            return False
        return answer.status_code == 200

    def api(self) -> Api:
        return Api(self.url, verify=self.root / "certs" / "default" / "ca-cert.pem")

    def remove(self) -> None:
        self.down()
        shutil.rmtree(self.root, ignore_errors=True)


class Log:
    """What a service says from now on."""

    def __init__(self, stack: Stack, service: str) -> None:
        self._stack, self._service = stack, service
        self._before = [len(text) for text in self._read()]

    def wait(self, sentence: str) -> None:
        try:
            wait_until(lambda: sentence in self.text(), SAID_WITHIN_S, "said", every_s=0.5)
        except AssertionError as error:
            text = f"{self._service} does not say {sentence!r}:\n{self.text()}"
            raise AssertionError(text) from error

    def text(self) -> str:
        parts = zip(self._read(), self._before, strict=True)
        return "".join(text[before:] for text, before in parts)

    def _read(self) -> tuple[str, str]:
        done = self._stack.engine.run("logs", self._stack.container(self._service))
        return done.stdout, done.stderr


def wait_for(api: Api, desktop_id: str, condition: str) -> None:
    """Containers may be away in between."""

    def look() -> bool:
        try:
            answer = api.session.get(f"{api.url}/desktops/{desktop_id}", timeout=10)
        except requests.RequestException:
            return False
        if condition == "gone":
            return answer.status_code == 404
        return answer.status_code == 200 and answer.json()["condition"] == condition

    try:
        wait_until(look, START_TIMEOUT_S, f"{desktop_id} is {condition}", every_s=0.3)
    except AssertionError as error:
        row = api.session.get(f"{api.url}/desktops/{desktop_id}", timeout=10).text
        raise AssertionError(f"{error}\n{row}") from None
