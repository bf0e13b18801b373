"""An engine that will be killed while it makes a template: says each step before it takes it, and
takes it only when told to.

`python doomed_maker.py JSON`, where JSON holds the host's address, the data folder, the key, the
database and the record of what to make. It reads one line for each step.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from db.connection import Database
from db.settings import Settings
from engine.hypervisor.host import HostAddress
from engine.hypervisor.ssh import SshSession
from engine.reconcilers.template_steps import Ledger, Record, TemplateSteps
from engine.settings import EngineSettings
from engine.storage.disks import DiskHost
from engine.storage.templates import TemplateFiles


def say_and_wait(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()
    if not sys.stdin.readline():
        sys.exit(1)


class SlowLedger(Ledger):
    def write(self, puts: Any, drops: Any = ()) -> None:
        say_and_wait("ledger")
        super().write(puts, drops)


class SlowFiles(TemplateFiles):
    """Of the product's own, with a stop before each method that changes a file."""


def stop_before(name: str) -> Callable[..., Any]:
    def method(self: SlowFiles, *arguments: Any, **named: Any) -> Any:
        say_and_wait(name)
        return getattr(TemplateFiles, name)(self, *arguments, **named)

    return method


CHANGING = ("link", "copy", "copy_variables", "lay_over", "switch", "drop", "drop_overlay")
for changing in CHANGING:
    setattr(SlowFiles, changing, stop_before(changing))


def make(steps: TemplateSteps, record: Record, show: Callable[..., None]) -> None:
    """As engine/reconcilers/domain_templates.py does it."""
    record = steps.begin(steps.check(record, show))
    record = steps.commit(steps.prepare(record, show))
    steps.finish(record, show)


def main(order: dict[str, Any]) -> None:
    settings = EngineSettings.from_environment({"ISARD_DATA": order["data"]})
    settings = replace(settings, ssh_key=Path(order["key"]))
    session = SshSession(HostAddress(**order["address"]), settings)
    database = Database(Settings.from_environment(order["database"]))
    ledger = SlowLedger(database, 1, lambda: None)
    files = SlowFiles(DiskHost(session, order["installation"]))
    make(TemplateSteps(ledger, files), order["record"], lambda step, percent: None)
    say_and_wait("done")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
