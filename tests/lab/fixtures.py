"""pytest fixtures for the lab; a conftest.py that wants them says `from tests.lab.fixtures import
lab, lab_host`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab, LabHost, tiny_guest


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path / "lab") as running:
        yield running


@pytest.fixture
def lab_host(lab: Lab) -> LabHost:
    """One host without a way out, with nothing on it."""
    return lab.start("h1")


@pytest.fixture(scope="session")
def tiny_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny guest's image; copy it into a host's storage to use it."""
    return tiny_guest.build(tmp_path_factory.mktemp("tiny") / "tiny.qcow2")
