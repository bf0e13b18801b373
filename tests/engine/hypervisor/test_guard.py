"""The guard program in the shells a host may have: one at a time, ended in time, gone with its
channel.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from engine.hypervisor.guard import GUARD_BUSY, GUARD_LATE, GUARD_NO_LOCK, guarded
from tests.lab import wait_until

SHELLS = [
    [name, *options]
    for name, options in (("dash", []), ("bash", ["--posix"]))
    if shutil.which(name)
]


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def shell(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


class Guarded:
    """A guarded command under way; its standard input is its life line."""

    def __init__(
        self, shell: Sequence[str], lock: Path | None, argv: Sequence[str], wait: str, limit: str
    ) -> None:
        target = None if lock is None else str(lock)
        self.process = subprocess.Popen(
            guarded(argv, target, wait_s=float(wait), limit_s=float(limit), shell=shell),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def hang_up(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def status(self) -> int:
        return self.process.wait(30)

    def output(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()


class Guards:
    def __init__(self, shell: Sequence[str], lock: Path | None) -> None:
        self.shell, self.lock = shell, lock
        self.started: list[Guarded] = []

    def start(self, *argv: str, wait: str = "20", limit: str = "60") -> Guarded:
        self.started.append(Guarded(self.shell, self.lock, argv, wait, limit))
        return self.started[-1]


@pytest.fixture
def guards(shell: list[str], tmp_path: Path) -> Iterator[Guards]:
    started = Guards(shell, tmp_path / "it's $(the) lock")
    yield started
    for one in started.started:
        one.process.kill()
        one.process.wait(30)


def test_status_and_output_are_the_commands(guards: Guards) -> None:
    done = guards.start("sh", "-c", 'printf "%s|" "$@"; exit 7', "x", "a b", "$(id)", "'")
    assert done.status() == 7
    assert done.output() == "a b|$(id)|'|"


def test_one_without_a_lock_waits_for_nobody_and_dies_with_its_line(guards: Guards) -> None:
    first = guards.start("sh", "-c", "echo ready; sleep 300")
    assert first.process.stdout is not None
    assert first.process.stdout.readline() == b"ready\n"
    guards.lock = None
    for argv in (["printf", "%s|", "a b"], ["sh", "-c", 'printf "%s|" "$@"', "x", "a b"]):
        done = guards.start(*argv)
        assert done.status() == 0
        assert done.output() == "a b|"
    assert guards.start("sleep", "300", limit="0.2").status() == GUARD_LATE
    second = guards.start("sh", "-c", "echo ready; sleep 300")
    assert second.process.stdout is not None
    assert second.process.stdout.readline() == b"ready\n"
    second.hang_up()
    assert second.status() != 0
    assert first.process.poll() is None


def test_it_ends_though_the_line_stays_open(guards: Guards) -> None:
    assert guards.start("true").status() == 0


def test_it_dies_when_the_line_is_cut(guards: Guards, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    guarded = guards.start("sh", "-c", 'sleep 300 & echo $! >"$1"; wait', "x", str(pid_file))
    wait_until(lambda: pid_file.exists() and bool(pid_file.read_text().strip()), 20)
    guarded.hang_up()
    assert guarded.status() != 0
    sleeper = Path("/proc", pid_file.read_text().strip())
    wait_until(lambda: not sleeper.exists(), 20)


def test_cut_at_any_moment_it_leaves_nothing(guards: Guards, tmp_path: Path) -> None:
    """Also between the fork of the command and its exec, when a shell's child swallows signals."""
    moments = random.Random(7)
    mark = f"sleep-{tmp_path.name}-{guards.shell[0]}"
    for _ in range(40):
        guarded = guards.start("sh", "-c", "sleep 300; exit", mark)
        time.sleep(moments.uniform(0, 0.03))  # any moment will do: that is the point
        guarded.hang_up()
        assert guarded.status() != 0
    wait_until(lambda: not commands_with(mark), 20)


def commands_with(word: str) -> list[str]:
    """Running commands that have this word among theirs, but for the guards that were asked."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in file.read_bytes().split(b"\0"):
                found.append(str(file))
    return found


def test_the_second_waits_for_the_first(guards: Guards, tmp_path: Path) -> None:
    log = tmp_path / "log"
    line = 'echo in >>"$1"; sleep 0.2; echo out >>"$1"'
    both = [guards.start("sh", "-c", line, "x", str(log)) for _ in range(2)]
    assert [guarded.status() for guarded in both] == [0, 0]
    assert log.read_text().split() == ["in", "out", "in", "out"]


def test_who_waits_too_long_is_told(guards: Guards) -> None:
    first = guards.start("sh", "-c", "echo ready; sleep 300")
    assert first.process.stdout is not None
    assert first.process.stdout.readline() == b"ready\n"
    assert guards.start("true", wait="0.1").status() == GUARD_BUSY
    first.hang_up()
    assert first.status() != 0
    assert guards.start("true").status() == 0


def test_who_waits_dies_when_its_line_is_cut(guards: Guards, tmp_path: Path) -> None:
    first = guards.start("sh", "-c", "echo ready; sleep 300")
    assert first.process.stdout is not None
    assert first.process.stdout.readline() == b"ready\n"
    mark = tmp_path / "mark"
    second = guards.start("touch", str(mark))
    second.hang_up()
    assert second.status() != 0
    first.hang_up()
    first.status()
    assert not mark.exists()


def test_what_takes_too_long_is_ended(guards: Guards) -> None:
    assert guards.start("sleep", "300", limit="0.2").status() == GUARD_LATE


def test_without_its_folder_there_is_no_lock(guards: Guards, tmp_path: Path) -> None:
    guards.lock = tmp_path / "nowhere" / "lock"
    assert guards.start("true").status() == GUARD_NO_LOCK


def test_a_lock_file_that_was_removed_protects_nothing(guards: Guards, tmp_path: Path) -> None:
    """The first removes the lock file as its last deed; who waited on it takes a new one."""
    log = tmp_path / "log"
    remove = 'echo ready; sleep 0.3; rm "$1"; echo removed >>"$2"'
    first = guards.start("sh", "-c", remove, "x", str(guards.lock), str(log))
    assert first.process.stdout is not None
    assert first.process.stdout.readline() == b"ready\n"
    second = guards.start(
        "sh", "-c", 'echo second >>"$1"; test -e "$2"', "x", str(log), str(guards.lock)
    )
    assert first.status() == 0
    assert second.status() == 0
    assert log.read_text().split() == ["removed", "second"]
