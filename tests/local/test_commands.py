"""The launcher on a whole product: starts, survives, stops what it started and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.settings import Settings
from local import identity
from local.commands import REMOVED, hypervisor_message, wait_until_online
from local.prepare import CannotStart
from local.settings import LocalSettings
from tests.e2e.product import PASSWORD, Api, Product
from tests.lab import wait_until
from tests.servers import free_port

PROCESSES = ("db", "host", "engine", "webapp")
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    copy = Product(tmp_path_factory.mktemp("launcher") / "data")
    try:
        copy.start()
        yield copy
    finally:
        copy.stop()


@pytest.fixture
def unstarted(tmp_path: Path) -> Product:
    """A copy that nothing has been done for."""
    return Product(tmp_path / "data")


def test_a_second_start_says_that_it_runs_and_shows_no_password(product: Product) -> None:
    pids = {name: product.pid_of(name) for name in PROCESSES}
    printed = product.start()
    assert "runs already" in printed
    assert product.url in printed
    assert PASSWORD not in printed
    assert {name: product.pid_of(name) for name in PROCESSES} == pids


def test_who_waits_for_a_start_that_was_stopped_is_told_at_once(unstarted: Product) -> None:
    settings = LocalSettings(Settings.from_environment({**os.environ, **unstarted.environment}))
    with pytest.raises(CannotStart, match="stopped meanwhile"):
        wait_until_online(settings)


def test_of_two_starts_at_once_both_wait_for_the_one_that_goes_on(product: Product) -> None:
    settings = LocalSettings(Settings.from_environment({**os.environ, **product.environment}))
    beaten = subprocess.Popen(["true"])
    beaten.wait(TIMEOUT_S)
    assert wait_until_online(settings, beaten) == 0


def test_what_dies_is_started_again(product: Product) -> None:
    before = product.pid_of("webapp")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: runs(product, "webapp") and product.pid_of("webapp") != before, TIMEOUT_S)
    wait_until(lambda: product.command("status", TIMEOUT_S).returncode == 0, TIMEOUT_S)


def test_a_killed_supervisor_leaves_everything_running_and_the_next_takes_over(
    product: Product,
) -> None:
    pids = {name: product.pid_of(name) for name in PROCESSES}
    os.kill(product.pid_of("supervisor"), signal.SIGKILL)
    wait_until(lambda: not runs(product, "supervisor"), TIMEOUT_S)
    product.start()
    wait_until(lambda: runs(product, "supervisor"), TIMEOUT_S)
    assert {name: product.pid_of(name) for name in PROCESSES} == pids
    os.kill(pids["engine"], signal.SIGKILL)
    wait_until(lambda: runs(product, "engine"), TIMEOUT_S)


def test_a_stop_after_a_killed_supervisor_ends_everything(product: Product) -> None:
    files = [product.data / "run" / f"{name}.pid.json" for name in PROCESSES]
    # What an earlier test has killed may still be on its way back.
    wait_until(lambda: all(identity.find(file) for file in files), TIMEOUT_S)
    handles = [identity.find(file) for file in files]
    os.kill(product.pid_of("supervisor"), signal.SIGKILL)
    bystander = subprocess.Popen(["sleep", "300"])
    try:
        product.stop()
        left = [
            n for n, h in zip(PROCESSES, handles, strict=True) if h is None or not h.has_ended()
        ]
        assert left == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait(TIMEOUT_S)
        product.start()


def test_what_was_made_is_there_after_a_stop_and_a_start(product: Product) -> None:
    made = Api(product.url).create("Kept")
    product.stop()
    assert "Nothing was running" in product.stop()
    product.start()
    row = Api(product.url).wait_for(made["id"], "stopped")
    assert row["name"] == "Kept"


def test_paths_that_were_added_to_the_first_pool_stay_at_the_next_start(product: Product) -> None:
    api = Api(product.url)
    paths = api.get("/pools/default")["paths"]
    more = {"path": str(product.data / "storage" / "fast"), "disk_operations": [], "weight": 0}
    paths["groups"].append(more)
    assert api.call("PATCH", "/pools/default", {"paths": paths}).status_code == 200
    product.stop()
    product.start()
    assert Api(product.url).get("/pools/default")["paths"] == paths


def test_a_machine_that_was_removed_is_told_and_is_back_at_the_next_start(product: Product) -> None:
    assert Api(product.url).call("DELETE", "/hypervisors/local").status_code == 202
    settings = LocalSettings(Settings.from_environment({**os.environ, **product.environment}))
    wait_until(lambda: hypervisor_message(settings) == REMOVED, TIMEOUT_S)
    product.stop()
    product.start()
    assert hypervisor_message(settings) != REMOVED


def test_secrets_are_for_root_alone_and_in_no_command_line(product: Product) -> None:
    folder = product.data / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secrets = [file.read_text().strip() for file in folder.iterdir() if file.is_file()]
    assert secrets
    lines = [line for name in PROCESSES for line in tree_of(product.pid_of(name))]
    assert not [line for line in lines for secret in (*secrets, PASSWORD) if secret in line]
    assert "first_admin_password" not in [file.name for file in folder.iterdir()]


def test_a_port_that_is_taken_is_named_with_its_variable(unstarted: Product) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        unstarted.environment["ISARD_VIEWER_PORT"] = str(port)
        answer = unstarted.command("start", TIMEOUT_S * 3)
    assert answer.returncode == 1
    assert str(port) in answer.stderr
    assert "ISARD_VIEWER_PORT" in answer.stderr
    assert not (unstarted.data / "run" / "supervisor.pid.json").exists()


def test_a_port_that_is_no_number_is_refused(unstarted: Product) -> None:
    unstarted.environment["ISARD_WEB_PORT"] = "eighty"
    answer = unstarted.command("start", TIMEOUT_S)
    assert answer.returncode == 1
    assert "ISARD_WEB_PORT" in answer.stderr
    assert not unstarted.data.exists()


def test_a_folder_with_something_else_in_it_is_neither_used_nor_removed(
    unstarted: Product,
) -> None:
    unstarted.data.mkdir()
    (unstarted.data / "letters.txt").write_text("mine")
    start, purge = unstarted.command("start", TIMEOUT_S), unstarted.command("purge", TIMEOUT_S)
    assert (start.returncode, purge.returncode) == (1, 1)
    assert "something else" in start.stderr
    assert [file.name for file in unstarted.data.iterdir()] == ["letters.txt"]


def test_purge_asks_and_removes_the_data_folder_alone(unstarted: Product) -> None:
    unstarted.data.mkdir()
    (unstarted.data / ".isardvdi").write_text("")
    neighbour = unstarted.data.parent / "neighbour"
    neighbour.write_text("")
    asked = unstarted.command("purge", TIMEOUT_S)
    assert asked.returncode == 1
    assert "YES=1" in asked.stdout
    assert unstarted.data.exists()
    unstarted.environment["YES"] = "1"
    assert unstarted.command("purge", TIMEOUT_S).returncode == 0
    assert not unstarted.data.exists()
    assert neighbour.exists()


def runs(product: Product, name: str) -> bool:
    handle = identity.find(product.data / "run" / f"{name}.pid.json")
    return handle is not None


def tree_of(pid: int) -> list[str]:
    """Command lines of a process and all below it."""
    found = [Path("/proc", str(pid), "cmdline").read_text(errors="replace").replace("\0", " ")]
    for task in Path("/proc", str(pid), "task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree_of(int(child))
    return found
