"""A Docker engine and our images, made once for all tests here, and a running stack.

Where no Docker engine can be started these tests are left out, except where CI is set: there that
is a failure.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.compose import base_image
from tests.compose.docker_engine import DockerEngine
from tests.compose.stack import PASSWORD, Compose, Stack
from tests.e2e.conftest import CHROMIUM, CHROMIUM_FLAGS
from tests.servers import ROOT

PROGRAMS = ("dockerd", "docker", "docker-compose", "docker-registry", "mmdebstrap", "slirp4netns")
BUILD_TIMEOUT_S = 1800.0
KEPT = Path(tempfile.gettempdir(), "isardvdi-test-docker")
"""Images and build layers, so that the next run need not build again."""


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not installed: {', '.join(missing)}")
    assert not missing, f"CI must run these tests, but has no {', '.join(missing)}"
    docker = DockerEngine(KEPT)
    docker.start()
    try:
        yield docker
    finally:
        docker.stop()


@pytest.fixture(scope="session")
def variables(engine: DockerEngine) -> dict[str, str]:
    """What every stack of the tests is told: our images, built now."""
    told = {
        "ISARD_BASE_IMAGE": base_image.ensure(engine),
        "ISARD_IMAGES": "isardvdi-test/",
        "ISARD_VERSION": "now",
    }
    build = Compose(engine, ROOT, {**told, "ISARD_ROOT": "/nonexistent"})
    build.run("build", timeout_s=BUILD_TIMEOUT_S)
    return told


@pytest.fixture(scope="module")
def stack(
    engine: DockerEngine, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The embedded stack, up and well, under the names the guide uses. Each file of tests has its
    own: the guide's takes the stack's own hypervisor away.
    """
    folder: Path = tmp_path_factory.mktemp("stack")
    running = Stack(engine, folder / "opt-isard", variables)
    running.down()
    try:
        running.up_after_s = running.up()
        yield running
    finally:
        running.remove()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS), timeout=60_000
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, stack: Stack) -> Iterator[Page]:
    """Logged in through the portal, on the page Desktops."""
    # The certificate is for the stack's names; the test comes by a forwarded port.
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(stack.url)
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("#desktops", state="attached")
    yield page
    context.close()
