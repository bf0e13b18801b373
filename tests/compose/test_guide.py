"""The commands of the guide that name a container, as written there; only <PLACEHOLDERS> differ.

A second host is a second compose project of the same engine: it has an SSH port, a storage folder
and keys of its own. Its storage is the stack's, as where both hosts mount the same one.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.compose.docker_engine import BRIDGE_ADDRESS
from tests.compose.stack import Compose, Stack, wait_for
from tests.e2e.product import Api
from tests.e2e.test_main_path import wait_for_demo_screen
from tests.servers import ROOT, wait_until

PASSWORD = "su per'sec\"ret $HOME \\ü"
GUIDE_TIMEOUT_S = 180.0
EXTERNAL = "externalhyper_isard-hypervisor_1"
APP = "isard_isard-app_1"

pytestmark = pytest.mark.timeout(900)


class Guide:
    """A terminal on the machine that runs the containers."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def type(self, line: str, check: bool = True, **words: str) -> subprocess.CompletedProcess[str]:
        """A line of the guide in a shell with history. `words` are given as shell variables, so
        that the line may be the guide's to the letter.
        """
        done = subprocess.run(
            ["bash", "-c", f"set -o history; {line}"],
            env={**self._stack.engine.environment, **self._stack.variables, **words},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GUIDE_TIMEOUT_S,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture(scope="module")
def guide(stack: Stack) -> Guide:
    name_as_compose_1(stack, APP)
    return Guide(stack)


def name_as_compose_1(stack: Stack, name: str) -> None:
    """compose 2 joins the words of a name by `-`; the guide was written for compose 1."""
    if name not in stack.engine.run("ps", "--format", "{{.Names}}").stdout.split():
        stack.engine.run("rename", name.replace("_", "-"), name)


@pytest.fixture(scope="module")
def external(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """`cd hyper_image; docker-compose up -d` on a host with nothing but the shared storage."""
    root: Path = tmp_path_factory.mktemp("external") / "opt-isard"
    root.mkdir()
    for folder in ("bases", "templates", "groups", "media"):
        (root / folder).symlink_to(stack.root / folder)
    own = {"ISARD_ROOT": str(root), "ISARD_SSH_PORT": "2022", "ISARD_VIEWER_PORT": "6081"}
    told = {name: stack.variables[name] for name in ("ISARD_IMAGES", "ISARD_VERSION")}
    host = Compose(stack.engine, ROOT / "hyper_image", {**told, **own})
    host.down()
    try:
        host.run("up", "-d", "--no-build")
        name_as_compose_1(stack, EXTERNAL)
        wait_until(lambda: host.is_well("isard-hypervisor"), 120, "the external host is well")
        yield host
    finally:
        host.down()
        shutil.rmtree(root.parent, ignore_errors=True)


def test_certificates_are_copied_and_the_container_restarted(
    stack: Stack, external: Compose
) -> None:
    theirs = Path(external.variables["ISARD_ROOT"], "certs", "default")
    shutil.copytree(stack.root / "certs" / "default", theirs, dirs_exist_ok=True)
    external.run("restart", "-t", "20")
    wait_until(lambda: external.is_well("isard-hypervisor"), 120, "the external host is well")
    seen = external.exec("isard-hypervisor", "cat", "/etc/pki/libvirt-spice/server-cert.pem")
    assert seen.stdout == (theirs / "server-cert.pem").read_text()


def test_reset_without_a_password_says_how_and_changes_nothing(
    guide: Guide, external: Compose
) -> None:
    key = "cat /etc/isard/ssh/ssh_host_ed25519_key.pub"
    before = external.exec("isard-hypervisor", "sh", "-c", key).stdout
    done = guide.type(f"docker exec {EXTERNAL} bash -c '/reset-hyper.sh'", check=False)
    assert done.returncode != 0
    assert "PASSWORD" in done.stderr
    assert external.exec("isard-hypervisor", "sh", "-c", key).stdout == before


def test_nobody_gets_in_before_a_password_was_set(guide: Guide, external: Compose) -> None:
    done = add(guide, PASSWORD, check=False)
    assert done.returncode != 0
    assert PASSWORD not in done.stdout + done.stderr


def test_a_wrong_password_a_closed_port_and_an_unknown_name_are_said_as_such(
    stack: Stack, guide: Guide, external: Compose
) -> None:
    reset(guide)
    for what, line in {
        "password": "-e HYPERVISOR=$IP -e PASSWORD=wrong -e PORT=2022",
        "PASSWORD": "-e HYPERVISOR=$IP -e PORT=2022",
        "port": "-e HYPERVISOR=$IP -e PASSWORD=x -e PORT=9",
        "name": "-e HYPERVISOR=nowhere.invalid -e PASSWORD=x",
    }.items():
        done = guide.type(
            f"docker exec {line} {APP} bash -c '/add-hypervisor.sh'", False, IP=BRIDGE_ADDRESS
        )
        assert done.returncode != 0, line
        assert what in done.stdout + done.stderr, line
    rows = [row["id"] for row in stack.api().get("/hypervisors")["items"]]
    assert rows == ["isard-hypervisor"], "nothing half-done stays"


def test_the_two_commands_make_a_second_hypervisor(
    stack: Stack, guide: Guide, external: Compose
) -> None:
    said = reset(guide)
    assert "key" in said.stdout
    done = add(guide, PASSWORD)
    assert "libvirt" in done.stdout
    assert "SHA256:" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr
    api = stack.api()
    row = api.get(f"/hypervisors/{BRIDGE_ADDRESS}")
    assert row["observed"]["virtualization"] == "online"
    assert row["observed"]["disk_operations"] == "online"


def test_a_desktop_runs_there_and_is_seen_through_the_portal(
    stack: Stack,
    external: Compose,
    page: Page,
) -> None:
    api = stack.api()
    row = api.create("On the second")
    wait_for(api, row["id"], "stopped")
    force = f"{{'placement': {{'forced_hypervisor': '{BRIDGE_ADDRESS}'}}}}"
    line = f"r.table('domains').get('{row['id']}').update({force}).run(conn)"
    stack.exec("isard-app", "python", "-m", "db", "shell", "-c", line)
    api.wish(row["id"], "started")
    wait_for(api, row["id"], "started")
    running = external.exec("isard-hypervisor", "virsh", "list", "--uuid").stdout
    assert row["id"] in running
    page.goto(f"{stack.url}/desktops/{row['id']}/viewer")
    wait_for_demo_screen(page)
    api.wish(row["id"], "stopped", force=True)
    wait_for(api, row["id"], "stopped")
    remove(api, row["id"])


def test_it_survives_its_own_restart_with_its_host_key(stack: Stack, external: Compose) -> None:
    """And a second command of the guide: `docker restart isard_isard-app_1`."""
    external.run("restart", "-t", "20")
    stack.engine.run("restart", "-t", "10", stack.container("isard-app"))
    stack.wait_well()

    def is_back() -> bool:
        row = stack.api().get(f"/hypervisors/{BRIDGE_ADDRESS}")
        return bool(row["observed"]["state"] == "online")

    wait_until(is_back, 120, "the external host is online again", every_s=0.5)


def test_keys_reset_again_are_explained_and_accepted_by_the_same_commands(
    stack: Stack, guide: Guide, external: Compose
) -> None:
    reset(guide)

    def is_refused() -> bool:
        row = stack.api().get(f"/hypervisors/{BRIDGE_ADDRESS}")
        return bool(row["observed"]["host_key_offered"])

    external.run("restart", "-t", "20")
    wait_until(is_refused, 120, "the changed key is shown", every_s=0.5)
    row = stack.api().get(f"/hypervisors/{BRIDGE_ADDRESS}")
    assert row["observed"]["state"] != "online"
    body = {"host_key": row["observed"]["host_key_offered"]}
    assert stack.api().call("PATCH", f"/hypervisors/{BRIDGE_ADDRESS}", body).status_code == 202

    def is_online() -> bool:
        row = stack.api().get(f"/hypervisors/{BRIDGE_ADDRESS}")
        return bool(row["observed"]["state"] == "online")

    wait_until(is_online, 120, "the new key is accepted", every_s=0.5)


def test_the_stacks_own_hypervisor_can_be_removed(stack: Stack, external: Compose) -> None:
    api = stack.api()
    for state in ("disabled", "deleted"):
        api.call("PATCH", "/hypervisors/isard-hypervisor", {"desired": {"state": state}})
    wait_until(
        lambda: [row["id"] for row in api.get("/hypervisors")["items"]] == [BRIDGE_ADDRESS],
        60,
        "the stack's own hypervisor is gone",
    )
    # It does not come back by itself.
    stack.engine.run("restart", "-t", "10", stack.container("isard-app"))
    stack.wait_well()
    assert [row["id"] for row in stack.api().get("/hypervisors")["items"]] == [BRIDGE_ADDRESS]


def reset(guide: Guide) -> subprocess.CompletedProcess[str]:
    return guide.type(
        f"docker exec -e PASSWORD=\"$SECRET\" {EXTERNAL} bash -c '/reset-hyper.sh'",
        SECRET=PASSWORD,
    )


def add(guide: Guide, password: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return guide.type(
        'docker exec -e HYPERVISOR=$IP -e PASSWORD="$SECRET" -e PORT=2022 '
        f"-e VIEWER=$IP:6081 {APP} "
        "bash -c '/add-hypervisor.sh'; status=$?; history -d $((HISTCMD-1)); exit $status",
        check,
        IP=BRIDGE_ADDRESS,
        SECRET=password,
    )


def remove(api: Api, desktop_id: str) -> None:
    api.call("DELETE", f"/desktops/{desktop_id}")
    wait_for(api, desktop_id, "gone")
