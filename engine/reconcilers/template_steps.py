"""The steps by which a stopped desktop becomes a template, and what is recorded between them.

One record in the ledger (table `disks`, id `making/<desktop>`) says that it is being done; while it
is there the desktop is neither started nor deleted. Its `state` is the one point of no return:

    preparing   the template's files are second names (or copies) of the desktop's, UEFI's
                variables are copied, overlays wait beside the desktop's disks; the desktop itself
                is as it was. Found by another engine, or after a failure, everything is taken back.
    committed   the overlays take the disks' places. Found by another engine it is finished.

Each step may be cut anywhere and done again. `Ledger` and the files are handed in, so that the
steps know neither rows nor hosts. Driven by engine/reconcilers/domain_templates.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from db import observed as door
from db.connection import Database
from engine.storage.paths import split_disk_path
from engine.storage.templates import TemplateFiles

Record = dict[str, Any]
Show = Callable[[str, float | None], None]
"""(step, percent or None)"""


def making_id(desktop_id: object) -> str:
    return f"making/{desktop_id}"


@dataclass(frozen=True)
class Ledger:
    """Table `disks`, hard on disk. `check` is asked before each side effect (the lease)."""

    database: Database
    epoch: int
    check: Callable[[], None]

    def write(self, puts: Sequence[Record], drops: Sequence[str] = ()) -> None:
        """In this order, in one round trip."""
        self.check()
        at = datetime.now(UTC)
        values = [{**record, "at": at} for record in puts]
        door.write_ledger(self.database, values, drops, epoch=self.epoch)


class TemplateSteps:
    def __init__(self, ledger: Ledger, files: TemplateFiles) -> None:
        self._ledger, self._files = ledger, files

    def check(self, record: Record, show: Show) -> Record:
        """Everything that can be known before anything is done. The record with sizes."""
        show("check", None)
        disks, needed = [], 0
        for disk in record["disks"]:
            facts = self._files.inspect(disk["source"], disk["backing"])
            target = split_disk_path(disk["path"]).pool_path
            survey = self._files.survey(disk["source"], target)
            needed += 0 if survey.same_device else facts.actual_size
            self._files.require_space(target, needed, survey.free_bytes)
            disks.append({**disk, "size": facts.virtual_size, "bytes": facts.actual_size})
        return {**record, "disks": disks}

    def begin(self, record: Record) -> Record:
        """From here on the desktop waits."""
        record = {**record, "state": "preparing"}
        self._ledger.write([record, *(_template_disk(record, disk) for disk in record["disks"])])
        return record

    def prepare(self, record: Record, show: Show) -> Record:
        """The template's files and the desktop's overlays. The record says which were copied."""
        disks = []
        total = sum(disk["bytes"] for disk in record["disks"]) or 1
        done = 0
        for disk in record["disks"]:
            show("link", None)
            self._ledger.check()
            copied = not self._files.link(disk["source"], disk["path"])
            if copied:
                self._copy(disk, done / total, disk["bytes"] / total, show)
            done += disk["bytes"]
            disks.append({**disk, "copied": copied})
        show("variables", None)
        self._ledger.check()
        self._files.copy_variables(disks[0]["source"], disks[0]["path"])
        for disk in disks:
            show("overlay", None)
            self._ledger.check()
            self._files.lay_over(disk["source"], disk["path"])
        return {**record, "disks": disks}

    def _copy(self, disk: Mapping[str, Any], done: float, share: float, show: Show) -> None:
        """`done` and `share`: of all disks, what is done already and what this one is."""
        target = split_disk_path(disk["path"]).pool_path
        free = self._files.survey(disk["source"], target).free_bytes
        self._files.require_space(target, disk["bytes"], free)

        def progress(percent: float) -> None:
            show("copy", 100 * done + share * percent)

        self._files.copy(disk["source"], disk["path"], disk["backing"], progress)

    def commit(self, record: Record) -> Record:
        """The point of no return."""
        record = {**record, "state": "committed"}
        self._ledger.write([record])
        return record

    def finish(self, record: Record, show: Show) -> None:
        """Forward, from wherever it was cut."""
        for disk in record["disks"]:
            show("switch", None)
            facts = self._files.look(disk["source"])
            if facts is None or facts.backing != disk["path"]:
                self._ledger.check()
                self._files.lay_over(disk["source"], disk["path"])
                self._ledger.check()
                self._files.switch(disk["source"], disk["path"], copied=disk["copied"])
        made = [{**_template_disk(record, disk), "state": "made"} for disk in record["disks"]]
        made = [
            {**one, "backing": disk["backing"], "size": disk["size"]}
            for one, disk in zip(made, record["disks"], strict=True)
        ]
        based = [_desktop_disk(record, disk) for disk in record["disks"]]
        self._ledger.write([*made, *based], [record["id"]])

    def roll_back(self, record: Record) -> None:
        """Back, from wherever it was cut before the point of no return."""
        for disk in record["disks"]:
            self._ledger.check()
            self._files.drop_overlay(disk["source"])
            self._files.drop(disk["path"])
        names = [f"{record['template']}/{disk['id']}" for disk in record["disks"]]
        self._ledger.write([], [*names, record["id"]])

    def settle(self, record: Record, show: Show) -> None:
        """What a dead engine, or a failure, left behind."""
        if record["state"] == "committed":
            self.finish(record, show)
        else:
            self.roll_back(record)


def _template_disk(record: Record, disk: Mapping[str, Any]) -> Record:
    return {
        "id": f"{record['template']}/{disk['id']}",
        "domain": record["template"],
        "disk": disk["id"],
        "path": disk["path"],
        "pool": record["pool"],
        "bus": disk["bus"],
        "order": disk["order"],
        "backing": None,
        "state": "making",
    }


def _desktop_disk(record: Record, disk: Mapping[str, Any]) -> Record:
    return {
        "id": f"{record['desktop']}/{disk['id']}",
        "domain": record["desktop"],
        "disk": disk["id"],
        "path": disk["source"],
        "pool": record["pool"],
        "bus": disk["bus"],
        "order": disk["order"],
        "backing": disk["path"],
        "size": disk["size"],
        "state": "made",
    }
