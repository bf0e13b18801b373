"""kill -9 while an engine makes or removes a disk: the next one finds nothing in its way and leaves
nothing behind.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from engine.settings import EngineSettings
from engine.storage.disks import DiskHost
from tests.engine.hosts import INSTALLATION, address_of
from tests.engine.storage import doomed_engine
from tests.lab import LabHost, wait_until

ROOT = Path(__file__).resolve().parents[3]


class Doomed:
    """The engine in a process of its own."""

    def __init__(self, host: LabHost, settings: EngineSettings, **order: Any) -> None:
        order |= {
            "address": asdict(address_of(host)),
            "data": str(settings.db.data),
            "key": str(settings.ssh_key),
            "installation": INSTALLATION,
        }
        self.process = subprocess.Popen(
            [sys.executable, doomed_engine.__file__, json.dumps(order)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )

    def read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, f"it ended by itself with {self.process.wait(30)}"
        return line

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


def in_folder(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def commands_left(host: LabHost, path: Path) -> str:
    return host.exec(["pgrep", "-af", str(path.parent)], check=False).stdout


def test_killed_in_the_middle_of_a_copy(
    disks: DiskHost, pool: str, settings: EngineSettings, shared_host: LabHost
) -> None:
    settings.images.mkdir(parents=True)
    image = settings.images / "large.raw"
    block = os.urandom(16 * 1024 * 1024)
    with image.open("wb") as file:
        for _ in range(40):
            file.write(block)
    path = Path(pool) / str(uuid.uuid4()) / "disk0.qcow2"
    engine = Doomed(shared_host, settings, do="copy", path=str(path), source=str(image))
    assert engine.read() == "ready"
    assert 0 <= float(engine.read()) < 100
    engine.kill()
    # Its command on the host goes with it …
    wait_until(lambda: not commands_left(shared_host, path), 30)
    # … and nothing was published: what is there is whole or not there.
    assert disks.look(str(path)) is None
    facts = disks.create_from_image(str(path), str(image))
    assert facts.virtual_size == 640 * 1024 * 1024
    assert in_folder(path) == ["disk0.qcow2"]
    assert disks.delete(str(path))
    assert not path.parent.exists()


@pytest.mark.parametrize("number", [1, 6])
@pytest.mark.parametrize("seed", range(6))
def test_killed_anywhere_between_making_and_removing(
    disks: DiskHost,
    pool: str,
    tiny_base: str,
    settings: EngineSettings,
    shared_host: LabHost,
    seed: int,
    number: int,
) -> None:
    paths = [Path(pool) / str(uuid.uuid4()) / "disk0.qcow2" for _ in range(number)]
    words = [str(path) for path in paths]
    engine = Doomed(shared_host, settings, do="turns", paths=words, backing=tiny_base)
    assert engine.read() == "ready"
    assert engine.read() == "turn 0"
    time.sleep(random.Random(seed).uniform(0, 0.3))  # any moment will do: that is the point
    engine.kill()
    wanted_gone = seed % 2
    for path in paths:
        if wanted_gone:
            disks.delete(str(path))
            wait_until(lambda path=path: not commands_left(shared_host, path), 30)
            assert not path.parent.exists()
            assert disks.look(str(path)) is None
            continue
        facts = disks.create_overlay(str(path), tiny_base)
        assert facts.backing == tiny_base
        wait_until(lambda path=path: not commands_left(shared_host, path), 30)
        assert in_folder(path) == ["disk0.qcow2"]
        shared_host.exec(["qemu-img", "check", "-q", str(path)])
