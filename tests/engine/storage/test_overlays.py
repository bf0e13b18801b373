"""Overlays wanted at the same time on a real disk host: made by one command, each as if it were
alone.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError, HostLost
from engine.hypervisor.ssh import Completed, SshSession
from engine.settings import EngineSettings
from engine.storage import programs, qemu_img
from engine.storage.disks import DiskFacts, DiskHost
from engine.storage.overlays import AT_ONCE, TOGETHER
from engine.storage.paths import locks_folder
from engine.storage.qemu_img import GIB
from tests.engine.hosts import INSTALLATION, address_of
from tests.engine.hypervisor.test_guard import SHELLS
from tests.lab import LabHost, wait_until

Came = DiskFacts | EngineError | ArithmeticError


class Telling(SshSession):
    """Keeps under which locks commands ran; None where one took its locks itself."""

    locks: list[str | None]

    def run_locked(self, target: str | None, argv: Sequence[str], **named: Any) -> Completed:
        self.locks.append(target)
        return super().run_locked(target, argv, **named)


@pytest.fixture
def telling(shared_host: LabHost, settings: EngineSettings) -> Iterator[Telling]:
    session = Telling(address_of(shared_host), settings)
    session.locks = []
    yield session
    session.close()


@pytest.fixture
def together(telling: Telling, tiny_base: str) -> Together:
    return Together(telling, tiny_base)


class Together:
    """A disk host of which several overlays are wanted while it is busy with others, so that the
    next command is for all of them.
    """

    def __init__(self, ssh: Telling, backing: str) -> None:
        self.ssh, self.backing = ssh, backing
        self.disks = DiskHost(ssh, INSTALLATION)
        self.came: dict[str, Came] = {}
        """Path -> what came of it, of those made so far."""

    def make(
        self,
        *paths: str,
        size_gib: float | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> list[Came]:
        """What came of each. `before` is called before that command."""
        go_on = threading.Event()
        pool = paths[0].rpartition("/")[0].rpartition("/")[0]
        ahead = [new_path(pool) for _ in range(AT_ONCE)]
        threads = [
            *self._start(ahead, size_gib, lambda: self._wait(go_on)),
            *self._start_when_busy(paths, size_gib, before),
        ]
        self.ssh.locks.clear()
        go_on.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        return [self.came[path] for path in paths]

    def _start_when_busy(self, paths: Sequence[str], *how: Any) -> list[threading.Thread]:
        kinds = self.disks._overlays._gathering._kinds
        wait_until(lambda: [kind.under_way for kind in kinds.values()] == [AT_ONCE], 20)
        threads = self._start(paths, *how)
        wait_until(lambda: [len(kind.waiting) for kind in kinds.values()] == [len(paths)], 20)
        return threads

    def _start(
        self, paths: Sequence[str], size_gib: float | None, before: Callable[[], None]
    ) -> list[threading.Thread]:
        def run(path: str) -> None:
            try:
                self.came[path] = self.disks.create_overlay(
                    path, self.backing, size_gib, before=before
                )
            except (EngineError, ArithmeticError) as error:
                self.came[path] = error

        threads = [threading.Thread(target=run, args=(path,), daemon=True) for path in paths]
        for thread in threads:
            thread.start()
        return threads

    @staticmethod
    def _wait(go_on: threading.Event) -> None:
        assert go_on.wait(60)


def new_path(pool: str) -> str:
    return f"{pool}/{uuid.uuid4()}/disk0.qcow2"


def lock_of(path: str) -> Path:
    domain = Path(path).parent
    return domain.parent / ".isard-locks" / INSTALLATION / f"{domain.name}.disk0"


def names_beside(path: str) -> list[str]:
    return sorted(entry.name for entry in Path(path).parent.iterdir())


def test_those_wanted_at_the_same_time_are_made_by_one_command(
    together: Together, pool: str, shared_host: LabHost
) -> None:
    paths = [new_path(pool) for _ in range(TOGETHER)]
    assert together.make(*paths, size_gib=2) == [
        DiskFacts(path, together.backing, 2 * GIB) for path in paths
    ]
    assert together.ssh.locks == [None] * (AT_ONCE + 1)
    for path in paths:
        assert names_beside(path) == ["disk0.qcow2"]
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert Path(path).parent.stat().st_mode & 0o777 == 0o711
        shared_host.exec(["qemu-img", "check", "-q", path])
    # Done again, it finds them done.
    written = [Path(path).stat().st_ino for path in paths]
    together.make(*paths, size_gib=2)
    assert [Path(path).stat().st_ino for path in paths] == written
    for path in paths:
        assert together.disks.delete(path)
        assert not Path(path).parent.exists()


def test_one_that_cannot_be_made_keeps_its_reason_and_none_of_its_neighbours_has_it(
    together: Together, pool: str
) -> None:
    other, foreign, linked = new_path(pool), new_path(pool), new_path(pool)
    left, right = new_path(pool), new_path(pool)
    together.disks.create_empty(other, 1)
    Path(foreign).parent.mkdir()
    Path(foreign).write_text("somebody's notes")
    Path(linked).parent.symlink_to("/tmp")
    came = together.make(left, other, foreign, linked, right)
    assert [facts.path for facts in came if isinstance(facts, DiskFacts)] == [left, right]
    reasons = [str(error) for error in came if isinstance(error, EngineError)]
    for reason, words in zip(
        reasons, ("not based on anything", "is no qcow2 file", "is a link"), strict=True
    ):
        assert words in reason
    assert Path(foreign).read_text() == "somebody's notes"
    assert names_beside(foreign) == ["disk0.qcow2"]


def test_one_whose_lock_is_held_waits_alone(together: Together, pool: str, ssh: SshSession) -> None:
    """What a dead engine left behind works on it: the neighbours are made, and it is not touched
    before that has ended.
    """
    held, *others = [new_path(pool) for _ in range(3)]
    line, is_made = Path(pool, "line"), threading.Event()

    def hold() -> None:
        program = 'echo held >"$1"; until [ -e "$1.end" ]; do sleep 0.05; done; echo end >>"$1"'
        ssh.run_locked(str(lock_of(held)), ["sh", "-c", program, "x", str(line)], timeout_s=60)

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    wait_until(line.exists, 20)

    def see() -> None:
        wait_until(lambda: all(path in together.came for path in others), 20)
        assert not Path(held).parent.exists()
        is_made.set()
        Path(f"{line}.end").touch()

    seer = threading.Thread(target=see, daemon=True)
    seer.start()
    came = together.make(held, *others)
    assert is_made.is_set()
    assert [facts.path for facts in came if isinstance(facts, DiskFacts)] == [held, *others]
    assert line.read_text().split() == ["held", "end"]
    assert sorted(together.ssh.locks, key=str) == [str(lock_of(held)), *[None] * (AT_ONCE + 1)]
    holder.join(30)


class Slow:
    """The program for two disks in the middle of the first: what makes a disk waits for a file."""

    def __init__(self, ssh: SshSession, pool: str, backing: str) -> None:
        self.ssh, self.paths = ssh, [new_path(pool) for _ in range(2)]
        self.go_on = Path(pool, "go-on")
        begun = Path(pool, "begun")
        names = [f"{Path(path).parent.name}/disk0/0123456789abcdef" for path in self.paths]
        line = 'touch "$1"; until [ -e "$2" ]; do sleep 0.05; done; shift 2; exec "$@"'
        self._argv = [
            *("sh", "-c", programs.MAKE_ALIKE, programs.CREATED_WITH, pool, INSTALLATION),
            *(locks_folder(pool, INSTALLATION), backing, "4", " ".join(names)),
            *("sh", "-c", line, "isard", str(begun), str(self.go_on)),
            *qemu_img.create_overlay("", backing)[:-1],
        ]
        self.answer = b""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_until(begun.exists, 20)

    def _run(self) -> None:
        with contextlib.suppress(HostLost):
            self.answer = self.ssh.run_locked(None, self._argv, timeout_s=60).stdout

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def is_locked(host: LabHost, path: str) -> bool:
    tried = host.exec(["flock", "-n", "-E", "75", str(lock_of(path)), "true"], check=False)
    assert tried.returncode in (0, 75)
    return tried.returncode == 75


def test_all_locks_are_held_from_the_first_to_the_last_step(
    telling: Telling, pool: str, tiny_base: str, shared_host: LabHost
) -> None:
    """So a command that was left behind never comes to a disk made and removed meanwhile."""
    slow = Slow(telling, pool, tiny_base)
    assert [is_locked(shared_host, path) for path in slow.paths] == [True, True]
    slow.go_on.touch()
    slow.join()
    assert slow.answer.endswith(b"\n" + 2 * b"QFI\xfb")
    assert [names_beside(path) for path in slow.paths] == [["disk0.qcow2"]] * 2
    assert [is_locked(shared_host, path) for path in slow.paths] == [False, False]


def test_cut_off_in_the_middle_it_makes_none_of_the_rest(
    telling: Telling, disks: DiskHost, pool: str, tiny_base: str, shared_host: LabHost
) -> None:
    slow = Slow(telling, pool, tiny_base)
    telling.close()
    slow.join()
    wait_until(lambda: not any(is_locked(shared_host, path) for path in slow.paths), 20)
    slow.go_on.touch()
    assert not any(Path(path).exists() for path in slow.paths)
    for path in slow.paths:
        assert disks.create_overlay(path, tiny_base).backing == tiny_base
        assert names_beside(path) == ["disk0.qcow2"]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_any_shell_of_a_host_understands_the_program(shell: list[str], tmp_path: Path) -> None:
    pool, backing = tmp_path / "a pool", tmp_path / "a base.qcow2"
    locks = Path(locks_folder(str(pool), INSTALLATION))
    locks.mkdir(parents=True)
    (pool / ".isard-storage.json").write_text(f'{{"installation": "{INSTALLATION}"}}')
    subprocess.run(qemu_img.create_empty(str(backing), 1), check=True, timeout=60)
    ids = [str(uuid.uuid4()) for _ in range(TOGETHER)]
    (pool / ids[1]).symlink_to(tmp_path)
    wanted = [f"{id}/disk0/0123456789abcdef" for id in ids]
    done = subprocess.run(
        [
            *(*shell, "-c", programs.MAKE_ALIKE, programs.CREATED_WITH, str(pool), INSTALLATION),
            *(str(locks), str(backing), "4", " ".join(wanted)),
            *qemu_img.create_overlay("", str(backing))[:-1],
        ],
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    names, _, heads = done.stdout.partition(b"\n")
    made = [name for name in wanted if name != wanted[1]]
    assert names.decode().split() == made
    assert heads == len(made) * b"QFI\xfb"
    for id in ids[:1] + ids[2:]:
        assert names_beside(str(pool / id / "disk0.qcow2")) == ["disk0.qcow2"]


def test_variables_of_the_template_come_with_each(together: Together, pool: str) -> None:
    variables = Path(together.backing).with_name("nvram.fd")
    variables.write_bytes(b"boot entries")
    paths = [new_path(pool) for _ in range(3)]
    assert all(isinstance(facts, DiskFacts) for facts in together.make(*paths))
    assert together.ssh.locks == [None] * (AT_ONCE + 1)
    for path in paths:
        assert names_beside(path) == ["disk0.qcow2", "nvram.fd"]
        assert Path(path).with_name("nvram.fd").read_bytes() == b"boot entries"


def test_what_was_left_of_an_earlier_try_goes(together: Together, pool: str) -> None:
    """Also of one that came as far as to publish the file."""
    paths = [new_path(pool) for _ in range(2)]
    together.disks.create_overlay(paths[1], together.backing)
    Path(paths[0]).parent.mkdir()
    for path in paths:
        Path(path).with_name(".disk0.0123456789abcdef.part").write_text("half")
    together.make(*paths)
    assert [names_beside(path) for path in paths] == [["disk0.qcow2"]] * 2
    assert together.ssh.locks == [None] * (AT_ONCE + 1)


def test_nothing_is_made_on_another_storage(together: Together, pool: str) -> None:
    paths = [new_path(pool) for _ in range(3)]
    mark = Path(pool, ".isard-storage.json")

    def unmount() -> None:
        with contextlib.suppress(FileNotFoundError):
            mark.rename(mark.with_name("elsewhere"))

    came = together.make(*paths, before=unmount)
    assert [getattr(error, "reason", None) for error in came] == ["WrongStorage"] * 3
    assert not any(Path(path).parent.exists() for path in paths)


def test_without_its_template_each_is_told_so(together: Together, pool: str) -> None:
    paths = [new_path(pool) for _ in range(3)]
    came = together.make(*paths, before=lambda: Path(together.backing).unlink(missing_ok=True))
    assert [getattr(error, "reason", None) for error in came] == ["DiskMissing"] * 3
    assert not any(Path(path).parent.exists() for path in paths)


def test_an_engine_that_lost_its_lease_makes_none(together: Together, pool: str) -> None:
    class Lost(ArithmeticError):
        pass

    def check() -> None:
        raise Lost

    paths = [new_path(pool) for _ in range(3)]
    came = together.make(*paths, before=check)
    assert [type(error) for error in came] == [Lost] * 3
    assert not any(Path(path).parent.exists() for path in paths)


def test_all_are_told_of_a_host_that_is_lost(together: Together, pool: str) -> None:
    came = together.make(*[new_path(pool) for _ in range(3)], before=together.ssh.close)
    assert [type(error) for error in came] == [HostLost] * 3
    assert set(together.ssh.locks) == {None}  # and nobody asks it again alone
