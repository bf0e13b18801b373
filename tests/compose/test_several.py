"""Two web sides and two engines on one database: what docker-compose.cluster.yml adds, on the
embedded database, because no image of RethinkDB can be had where these tests run.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.compose.docker_engine import DockerEngine
from tests.compose.stack import Stack, wait_for
from tests.servers import wait_until

FILES = ("docker-compose.yml", "docker-compose.cluster.yml", "docker-compose.embedded.yml")
SERVICES = (
    *("isard-db", "isard-app", "isard-app-2", "isard-engine", "isard-engine-2"),
    *("isard-hypervisor", "isard-portal"),
)
PORTS = (8083, 8446)

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def several(
    engine: DockerEngine, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("several")
    told = {**variables, "COMPOSE_PROJECT_NAME": "several", "ISARD_DB_REPLICAS": "1"}
    stack = Stack(engine, folder / "opt-isard", told, ports=PORTS, files=FILES)
    try:
        stack.up(*SERVICES)
        wait_until(lambda: stack.is_well("isard-app-2"), 120, "the second web side", every_s=0.5)
        yield stack
    finally:
        stack.remove()


def test_the_second_web_side_is_set_up_as_the_first() -> None:
    """The same settings and volumes, an upload's folder among them: either may get any request."""
    first, second = (
        set(re.findall(r"^ +(ISARD_\w+:.*|- \$.*)$", block_of(*where), re.MULTILINE))
        for where in zip(FILES, ("isard-app", "isard-app-2"), strict=False)
    )
    assert first
    assert first <= second


def block_of(file: str, service: str) -> str:
    found = re.search(rf"^  {service}:\n((?: {{4}}.*\n)+)", Path(file).read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_the_whole_file_is_valid(several: Stack) -> None:
    listed = several.run("config", "--services").stdout.split()
    assert {"isard-db-2", "isard-db-3", *SERVICES} <= set(listed)


def test_either_web_side_and_either_engine_may_die(several: Stack) -> None:
    api = several.api()
    for dead_app, dead_engine in (
        ("isard-app", "isard-engine"),
        ("isard-app-2", "isard-engine-2"),
    ):
        row = api.create(f"Without {dead_app}")
        wait_for(api, row["id"], "stopped")
        for service in (dead_app, dead_engine):
            os.kill(int(several.state(service)["Pid"]), signal.SIGKILL)
        # The other one answers, within the moment the portal needs to see it.
        wait_until(lambda: answers(several), 30, "pages are there")
        body = {"desired": {"state": "started"}}
        url = f"{api.url}/desktops/{row['id']}"
        wait_until(lambda: api.session.patch(url, json=body).status_code == 202, 60, "wished")  # noqa: B023
        wait_for(api, row["id"], "started")
        api.session.patch(url, json={"desired": {"state": "deleted", "force": True}})
        wait_for(api, row["id"], "gone")
        several.wait_well()


def answers(stack: Stack) -> bool:
    authority = str(stack.root / "certs" / "default" / "ca-cert.pem")
    try:
        answer = requests.get(f"{stack.url}/login", verify=authority, timeout=10)
    except requests.RequestException:
        return False
    return answer.status_code == 200
