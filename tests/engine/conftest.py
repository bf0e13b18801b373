"""What the engine's tests on real parts share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """Database, engine and one host, online, for a test that breaks something of it."""
    with World() as running:
        yield running


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    """The same for the tests of one file that only use it, with a template."""
    with World() as running:
        running.template = running.add_template()
        yield running
