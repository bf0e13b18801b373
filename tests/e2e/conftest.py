"""One product and one Chromium for all end-to-end tests of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.e2e.product import PASSWORD, Api, Product

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("product") / "data")
    try:
        product.start()
        yield product
    finally:
        product.stop()


@pytest.fixture
def api(product: Product) -> Api:
    return Api(product.url)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Closed before other tests open theirs: one process can drive only one at a time."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS), timeout=60_000
        )
        yield browser
        browser.close()


@pytest.fixture
def contexts(chromium: Browser) -> Iterator[list[BrowserContext]]:
    """Browsers of different people: each context has cookies of its own."""
    opened: list[BrowserContext] = []
    yield opened
    for context in opened:
        context.close()


def log_in(
    chromium: Browser,
    contexts: list[BrowserContext],
    product: Product,
    username: str = "admin",
    password: str = PASSWORD,
) -> Page:
    """A fresh browser, logged in and on the page Desktops."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    contexts.append(context)
    page = context.new_page()
    page.goto(product.url)
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("#desktops", state="attached")
    return page


@pytest.fixture
def shots(request: pytest.FixtureRequest) -> Path:
    """Where a test leaves pictures of what it saw, to look at when it fails."""
    folder = Path(str(request.config.rootpath)) / "tests" / "out"
    folder.mkdir(exist_ok=True)
    return folder
