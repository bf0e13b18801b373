"""An engine that will be killed: works on one disk or more, saying each step, until somebody kills
it.

`python doomed_engine.py JSON`, where JSON holds the host's address, the data folder, the key and
what to do.
"""

from __future__ import annotations

import itertools
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.hypervisor.host import HostAddress
from engine.hypervisor.ssh import SshSession
from engine.settings import EngineSettings
from engine.storage.disks import DiskHost


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def main(order: dict[str, Any]) -> None:
    settings = EngineSettings.from_environment({"ISARD_DATA": order["data"]})
    settings = replace(settings, ssh_key=Path(order["key"]))
    session = SshSession(HostAddress(**order["address"]), settings)
    disks = DiskHost(session, order["installation"])
    session.run(["true"], timeout_s=30)
    say("ready")
    if order["do"] == "copy":
        disks.create_from_image(
            order["path"], order["source"], on_progress=lambda percent: say(f"{percent}")
        )
        return
    with ThreadPoolExecutor(len(order["paths"])) as pool:
        for turn in itertools.count():
            say(f"turn {turn}")
            list(
                pool.map(lambda path: disks.create_overlay(path, order["backing"]), order["paths"])
            )
            list(pool.map(disks.delete, order["paths"]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
