"""kill -9 at every step of making a template from a desktop: before the point of no return the
desktop is as it was, after it the template is made; never anything between, and no file is left.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from db import schema
from db.connection import Database, r
from db.settings import Settings
from engine.errors import Transient
from engine.reconcilers.template_steps import Ledger, Record, TemplateSteps, making_id
from engine.settings import EngineSettings
from engine.storage.disks import DiskHost
from engine.storage.templates import TemplateFiles
from tests.engine.hosts import INSTALLATION, address_of
from tests.engine.storage import doomed_maker
from tests.lab import LabHost

ROOT = Path(__file__).resolve().parents[3]
STEPS_OF_ONE = [
    *("ledger", "link", "copy_variables", "lay_over", "ledger"),
    *("lay_over", "switch", "ledger"),
]
STEPS_OF_TWO = [
    *("ledger", "link", "link", "copy_variables", "lay_over", "lay_over", "ledger"),
    *("lay_over", "switch", "lay_over", "switch", "ledger"),
]
NO_RETURN = {1: 5, 2: 7}
"""By the number of disks: how many steps until the desktop's fate is sealed."""
VARIABLES = b"boot entries and keys"


def variables_beside(disk: str) -> bytes:
    return (Path(disk).parent / "nvram.fd").read_bytes()


class Maker:
    """The engine in a process of its own; it takes a step when told to."""

    def __init__(self, case: Case, record: Record) -> None:
        order = {
            "address": asdict(address_of(case.host)),
            "data": str(case.settings.db.data),
            "key": str(case.settings.ssh_key),
            "installation": INSTALLATION,
            "database": case.environment,
            "record": record,
        }
        self.process = subprocess.Popen(
            [sys.executable, doomed_maker.__file__, json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )

    def next(self) -> str:
        """The step it is about to take."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, f"it ended by itself with {self.process.wait(30)}"
        return line

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


class Case:
    """A desktop of some disks, with its ledger, on a host and in a database of their own."""

    def __init__(
        self,
        host: LabHost,
        settings: EngineSettings,
        disks: DiskHost,
        database: Database,
        environment: dict[str, str],
    ) -> None:
        self.host, self.settings, self.disks, self.database = host, settings, disks, database
        self.environment = environment

    def steps(self) -> TemplateSteps:
        """Those of the engine that comes after."""
        return TemplateSteps(Ledger(self.database, 2, lambda: None), TemplateFiles(self.disks))

    def begin(self, pool: str, base: str, number: int) -> Record:
        desktop, template = str(uuid.uuid4()), str(uuid.uuid4())
        disks = []
        for at in range(number):
            path = f"{pool}/{desktop}/disk{at}.qcow2"
            self.disks.create_overlay(path, base)
            entry = {"id": f"disk{at}", "bus": "virtio", "order": f"{at:03d}", "source": path}
            target = f"{pool}/{template}/disk{at}.qcow2"
            disks.append({**entry, "path": target, "backing": base})
            record = {"domain": desktop, "disk": f"disk{at}", "path": path, "state": "made"}
            self.database.run(
                r.table("disks").insert(
                    {**record, "id": f"{desktop}/disk{at}", "backing": base, "epoch": 1}
                )
            )
        Path(pool, desktop, "nvram.fd").write_bytes(VARIABLES)
        ids = {"id": making_id(desktop), "desktop": desktop, "template": template}
        return {**ids, "pool": "default", "disks": disks}

    def making(self, record: Record) -> Any:
        return self.database.run(r.table("disks").get(record["id"]))

    def settle(self, record: Record) -> None:
        """What the next engine does with the record it finds, if there is one."""
        found = self.making(record)
        if found is not None:
            self.steps().settle(found, lambda step, percent: None)

    def assert_as_before(self, record: Record) -> None:
        for disk in record["disks"]:
            facts = self.disks.look(disk["source"])
            assert facts is not None
            assert facts.backing == disk["backing"]
            assert Path(disk["source"]).stat().st_nlink == 1
        assert not Path(record["disks"][0]["path"]).parent.exists()
        assert variables_beside(record["disks"][0]["source"]) == VARIABLES
        assert self.ledger(record["template"]) == []
        assert {row["backing"] for row in self.ledger(record["desktop"])} == {
            disk["backing"] for disk in record["disks"]
        }

    def assert_made(self, record: Record) -> None:
        for disk in record["disks"]:
            own, below = self.disks.look(disk["source"]), self.disks.look(disk["path"])
            assert own is not None
            assert below is not None
            assert (own.backing, below.backing) == (disk["path"], disk["backing"])
            self.host.exec(["qemu-img", "check", "-q", disk["source"]])
            assert variables_beside(disk["source"]) == VARIABLES
            assert variables_beside(disk["path"]) == VARIABLES
        assert [(row["state"], row["backing"]) for row in self.ledger(record["template"])] == [
            ("made", disk["backing"]) for disk in record["disks"]
        ]
        assert [(row["state"], row["backing"]) for row in self.ledger(record["desktop"])] == [
            ("made", disk["path"]) for disk in record["disks"]
        ]

    def assert_tidy(self, record: Record) -> None:
        assert self.making(record) is None
        for key in ("desktop", "template"):
            folder = Path(record["disks"][0]["source"]).parents[1] / record[key]
            names = {"nvram.fd", *(f"{disk['id']}.qcow2" for disk in record["disks"])}
            if folder.exists():
                assert {entry.name for entry in folder.iterdir()} == names

    def ledger(self, domain_id: str) -> list[dict[str, Any]]:
        query = r.table("disks").get_all(domain_id, index="domain").order_by("id")
        return list(self.database.run(query))


@pytest.fixture
def case(
    reql_address: tuple[str, int],
    tmp_path: Path,
    shared_host: LabHost,
    settings: EngineSettings,
    disks: DiskHost,
) -> Iterator[Case]:
    environment = {
        "ISARD_DATA": str(tmp_path / "kernel"),
        "ISARD_DB_HOST": reql_address[0],
        "ISARD_DB_PORT": str(reql_address[1]),
        "ISARD_DB_NAME": "test_" + uuid.uuid4().hex[:12],
    }
    database = Database(Settings.from_environment(environment))
    schema.ensure(database)
    yield Case(shared_host, settings, disks, database, environment)
    database.run(r.db_drop(environment["ISARD_DB_NAME"]))
    database.close()


@pytest.mark.parametrize("number", [1, 2])
def test_killed_before_every_step(case: Case, pool: str, tiny_base: str, number: int) -> None:
    expected = STEPS_OF_ONE if number == 1 else STEPS_OF_TWO
    for killed_at in itertools.count():
        record = case.begin(pool, tiny_base, number)
        maker = Maker(case, record)
        taken = []
        while (step := maker.next()) != "done" and len(taken) < killed_at:
            taken.append(step)
            maker.go()
        maker.kill()
        assert taken == expected[: len(taken)]
        case.settle(record)
        sealed = len(taken) >= NO_RETURN[number]
        (case.assert_made if sealed else case.assert_as_before)(record)
        case.assert_tidy(record)
        if step == "done":
            break
    assert taken == expected


def test_killed_while_it_is_taken_back_or_finished(case: Case, pool: str, tiny_base: str) -> None:
    """The engine that settles it dies too, at every step; the third one ends it."""

    class Dies(Exception):
        pass

    class Mortal(TemplateFiles):
        left = 0

        def _live(self) -> None:
            if self.left == 0:
                raise Dies
            self.left -= 1

        def drop(self, path: str) -> None:
            self._live()
            super().drop(path)

        def drop_overlay(self, path: str) -> None:
            self._live()
            super().drop_overlay(path)

        def switch(self, path: str, template: str, *, copied: bool) -> None:
            self._live()
            super().switch(path, template, copied=copied)

    show = lambda step, percent: None  # noqa: E731
    for is_committed, lives in itertools.product((False, True), range(4)):
        record = case.begin(pool, tiny_base, 2)
        steps = case.steps()
        found = steps.prepare(steps.begin(steps.check(record, show)), show)
        if is_committed:
            steps.commit(found)
        files = Mortal(case.disks)
        files.left = lives
        mortal = TemplateSteps(Ledger(case.database, 2, lambda: None), files)
        with contextlib.suppress(Dies):
            mortal.settle(case.making(record), show)
        case.settle(record)
        (case.assert_made if is_committed else case.assert_as_before)(record)
        case.assert_tidy(record)


def test_an_engine_that_comes_late_replaces_no_live_disk(
    case: Case, pool: str, disks: DiskHost, shared_host: LabHost
) -> None:
    """The template's file is a copy, and another engine has finished and started the desktop."""
    files = TemplateFiles(disks)
    source = f"{pool}/{uuid.uuid4()}/disk0.qcow2"
    template = f"{pool}/{uuid.uuid4()}/disk0.qcow2"
    disks.create_empty(source, 0.1)
    files.copy(source, template, None, lambda percent: None)
    files.lay_over(source, template)
    files.switch(source, template, copied=True)
    facts = disks.look(source)
    assert facts is not None
    assert facts.backing == template
    shared_host.exec(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 1M", source])
    before = Path(source).read_bytes()
    files.lay_over(source, template)
    with pytest.raises(Transient, match="Nothing was overwritten"):
        files.switch(source, template, copied=True)
    assert Path(source).read_bytes() == before
    assert [entry.name for entry in Path(source).parent.iterdir()] == ["disk0.qcow2"]


def test_an_engine_that_lost_its_lease_does_not_switch(
    case: Case, pool: str, tiny_base: str
) -> None:
    class Lost(Exception):
        pass

    class Slow(TemplateFiles):
        is_laid = False

        def lay_over(self, path: str, template: str) -> None:
            super().lay_over(path, template)
            self.is_laid = True

    def check() -> None:
        if files.is_laid:
            raise Lost

    record = case.begin(pool, tiny_base, 1)
    show = lambda step, percent: None  # noqa: E731
    steps = case.steps()
    record = steps.commit(steps.prepare(steps.begin(steps.check(record, show)), show))
    files = Slow(case.disks)
    with pytest.raises(Lost):
        TemplateSteps(Ledger(case.database, 2, check), files).finish(record, show)
    facts = case.disks.look(record["disks"][0]["source"])
    assert facts is not None
    assert facts.backing == tiny_base
    case.settle(record)
    case.assert_made(record)


def test_a_copy_for_which_there_is_no_room_is_not_begun(
    case: Case, pool: str, disks: DiskHost, shared_host: LabHost
) -> None:
    other = f"{pool}-small"
    Path(other).mkdir()
    shared_host.exec(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", other])
    disks.ensure_marker(other, "default", None)
    desktop, template = str(uuid.uuid4()), str(uuid.uuid4())
    source = f"{pool}/{desktop}/disk0.qcow2"
    disks.create_empty(source, 0.1)
    shared_host.exec(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 8M", source])
    entry = {"id": "disk0", "bus": "virtio", "order": "000", "source": source, "backing": None}
    disk = {**entry, "path": f"{other}/{template}/disk0.qcow2"}
    ids = {"id": making_id(desktop), "desktop": desktop, "template": template}
    record = {**ids, "pool": "default", "disks": [disk]}
    with pytest.raises(Transient, match="Make room there") as raised:
        case.steps().check(record, lambda step, percent: None)
    assert raised.value.step == "space"
    assert case.making(record) is None


def test_killed_in_the_middle_of_a_copy(
    case: Case, pool: str, disks: DiskHost, shared_host: LabHost
) -> None:
    other = f"{pool}-other"
    Path(other).mkdir()
    shared_host.exec(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", other])
    disks.ensure_marker(other, "default", None)
    desktop, template = str(uuid.uuid4()), str(uuid.uuid4())
    source = f"{pool}/{desktop}/disk0.qcow2"
    disks.create_empty(source, 0.3)
    shared_host.exec(["qemu-io", "-f", "qcow2", "-c", "write -P 9 0 200M", source])
    entry = {"id": "disk0", "bus": "virtio", "order": "000", "source": source, "backing": None}
    path = f"{other}/{template}/disk0.qcow2"
    ids = {"id": making_id(desktop), "desktop": desktop, "template": template}
    record = {**ids, "pool": "default", "disks": [{**entry, "path": path}]}
    maker = Maker(case, record)
    assert [maker.next()] == ["ledger"]
    maker.go()
    assert maker.next() == "link"
    maker.go()
    assert maker.next() == "copy"
    maker.go()

    def is_copying() -> bool:
        answer = shared_host.exec(["pgrep", "-f", f"qemu-img convert.*{template}"], check=False)
        return answer.returncode == 0

    while not is_copying() and maker.process.poll() is None:
        pass
    maker.kill()
    case.settle(record)
    listed = shared_host.exec(["find", other, "-name", "*.qcow2", "-o", "-name", "*.part"])
    assert listed.stdout == ""
    assert case.making(record) is None
    assert disks.look(source) is not None
    # The next one copies it whole.
    show = lambda step, percent: None  # noqa: E731
    steps = case.steps()
    found = steps.begin(steps.check(record, show))
    steps.finish(steps.commit(steps.prepare(found, show)), show)
    facts = disks.look(source)
    assert facts is not None
    assert facts.backing == path
    read = ["qemu-io", "-f", "qcow2", "-r", "-c", "read -P 9 0 200M", source]
    assert "verification failed" not in shared_host.exec(read).stdout
