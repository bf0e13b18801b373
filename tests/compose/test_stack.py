"""The stack as people use it: through its one door, and with any container of it killed."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.compose.stack import PASSWORD, START_TIMEOUT_S, WELL, Stack, wait_for
from tests.e2e.product import Api
from tests.e2e.test_main_path import STATE_TIMEOUT_MS, expect_state, wait_for_demo_screen
from tests.servers import wait_until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def api(stack: Stack) -> Api:
    return stack.api()


def test_everything_comes_up_by_one_command(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nwell {stack.up_after_s:.0f} s after `up -d`")  # noqa: T201
    assert stack.state("isard-setup")["ExitCode"] == 0
    assert all(stack.is_well(service) for service in WELL)


def test_plain_http_leads_to_https_and_the_certificate_is_the_installations(stack: Stack) -> None:
    answer = requests.get(
        f"http://127.0.0.1:{stack.http_port}/desktops", allow_redirects=False, timeout=10
    )
    assert answer.status_code == 308
    assert answer.headers["Location"].startswith("https://")
    authority = stack.root / "certs" / "default" / "ca-cert.pem"
    answer = requests.get(f"{stack.url}/login", verify=str(authority), timeout=10)
    assert answer.status_code == 200
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_only_the_door_is_published_and_only_the_hypervisor_is_privileged(stack: Stack) -> None:
    for service in WELL:
        container = stack.container(service)
        found = stack.engine.run(
            "inspect",
            "-f",
            "{{.HostConfig.Privileged}} {{.HostConfig.ReadonlyRootfs}}"
            " {{json .NetworkSettings.Ports}}",
            container,
        ).stdout.split(" ", 2)
        assert found[0] == str(service == "isard-hypervisor").lower(), service
        if service != "isard-hypervisor":
            assert found[1] == "true", f"{service} can write to its root"
        if service != "isard-portal":
            assert "HostPort" not in found[2], service


def test_secrets_are_for_those_who_need_them(stack: Stack) -> None:
    for name in ("secrets/database/password", "secrets/web/session.key", "ssh/id_ed25519"):
        assert (stack.root / name).stat().st_mode & 0o077 == 0, name
    seen = stack.exec("isard-app", "sh", "-c", "ls /opt/isard; ls /opt/isard/ssh", check=False)
    assert "id_ed25519" not in seen.stdout.split(), "the web side has no key to hypervisors"
    text = stack.run("logs", "--no-color").stdout
    assert (stack.root / "secrets/database/password").read_text().strip() not in text
    assert PASSWORD not in text


def test_a_desktop_is_made_started_and_seen_through_the_portal(
    stack: Stack, api: Api, page: Page
) -> None:
    row = api.create("In a container")
    expect_state(page, "In a container", "stopped")
    page.get_by_role("button", name="Start In a container").click()
    expect_state(page, "In a container", "started")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open In a container").click()
    viewer = opened.value
    expect(viewer.locator("#viewer")).to_have_attribute(
        "data-screen", "on", timeout=STATE_TIMEOUT_MS
    )
    wait_for_demo_screen(viewer)
    viewer.close()
    api.call("DELETE", f"/desktops/{row['id']}")
    api.wait_gone(row["id"])
    assert list((stack.root / "groups").rglob("*.qcow2")) == []


class Load(threading.Thread):
    """Somebody starting and stopping a desktop for as long as the test lasts."""

    def __init__(self, api: Api, desktop_id: str) -> None:
        super().__init__(daemon=True)
        self._api, self._desktop_id = api, desktop_id
        self._done = threading.Event()
        self.wishes = 0

    def run(self) -> None:
        wish = "started"
        while not self._done.wait(0.5):
            body = {"desired": {"state": wish, "force": wish == "stopped"}}
            try:
                answer = self._api.session.patch(
                    f"{self._api.url}/desktops/{self._desktop_id}", json=body, timeout=10
                )
            except requests.RequestException:
                continue  # the door itself may be away
            self.wishes += answer.status_code == 202
            wish = "stopped" if wish == "started" else "started"

    def end(self) -> None:
        self._done.set()
        self.join(30)


def kill(stack: Stack, service: str) -> None:
    """As a crash would: its first process dies. Docker starts the container again by itself."""
    before = stack.state(service)
    os.kill(int(before["Pid"]), signal.SIGKILL)
    wait_until(
        lambda: stack.state(service).get("Pid") not in (0, before["Pid"]),
        START_TIMEOUT_S,
        f"{service} is started again",
        every_s=0.3,
    )


@pytest.mark.parametrize("service", sorted(WELL))
def test_any_container_may_be_killed_under_load(stack: Stack, api: Api, service: str) -> None:
    row = api.create(f"Under load {service}")
    wait_for(api, row["id"], "stopped")
    load = Load(stack.api(), row["id"])
    load.start()
    try:
        kill(stack, service)
        stack.wait_well()
    finally:
        load.end()
    assert load.wishes > 0
    for condition in ("started", "stopped"):
        reach(api, row["id"], condition)
    assert api.session.delete(f"{api.url}/desktops/{row['id']}").status_code == 202
    wait_for(api, row["id"], "gone")


def reach(api: Api, desktop_id: str, condition: str) -> None:
    """By a wish, unless the one before it leads there already (then there is nothing to wish)."""
    body = {"desired": {"state": condition, "force": condition == "stopped"}}

    def is_wished() -> bool:
        answer = api.session.patch(f"{api.url}/desktops/{desktop_id}", json=body, timeout=10)
        seen = api.get(f"/desktops/{desktop_id}")
        return answer.status_code == 202 or seen["condition"] == condition

    wait_until(is_wished, START_TIMEOUT_S, f"{desktop_id} is wished {condition}", every_s=0.5)
    wait_for(api, desktop_id, condition)


def test_a_database_that_is_gone_for_a_while_is_waited_for(stack: Stack, api: Api) -> None:
    row = api.create("Before the pause")
    wait_for(api, row["id"], "stopped")
    database = stack.container("isard-db")
    stack.engine.run("stop", database)
    answer = api.session.get(f"{api.url}/desktops", timeout=20)
    assert answer.status_code == 503
    assert answer.json()["reason"] == "DatabaseUnavailable"
    stack.engine.run("start", database)
    stack.wait_well()
    wait_for(api, row["id"], "stopped")
    api.call("DELETE", f"/desktops/{row['id']}")
    wait_for(api, row["id"], "gone")


def test_what_ran_on_a_restarted_hypervisor_is_said_and_started_again_if_wanted(
    stack: Stack, api: Api
) -> None:
    plain, stubborn = api.create("Plain"), api.create("Stubborn")
    for row in (plain, stubborn):
        wait_for(api, row["id"], "stopped")
    line = "r.table('domains').get('{}').update({{'restart_on_failure': True}}).run(conn)"
    stack.exec("isard-app", "python", "-m", "db", "shell", "-c", line.format(stubborn["id"]))
    for row in (plain, stubborn):
        api.wish(row["id"], "started")
        wait_for(api, row["id"], "started")
    kill(stack, "isard-hypervisor")
    stack.wait_well()
    wait_for(api, plain["id"], "stopped")
    assert api.get(f"/desktops/{plain['id']}")["observed"]["reason"] == "HostRestarted"
    wait_for(api, stubborn["id"], "started")
    for row in (plain, stubborn):
        api.call("DELETE", f"/desktops/{row['id']}")
        wait_for(api, row["id"], "gone")
