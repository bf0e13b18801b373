"""What the engine's tests on real parts share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """Database, engine and one host, online."""
    with World() as running:
        yield running
