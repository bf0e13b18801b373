"""Pid files: a process is known again only if it is the very same one."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local import identity

TIMEOUT_S = 10


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "300"], start_new_session=True)
    yield process
    process.kill()
    process.wait(TIMEOUT_S)


def identify(process: subprocess.Popen[bytes]) -> identity.Identity:
    known = identity.identify(process.pid, "plan")
    assert known is not None
    return known


def test_a_running_process_is_found_again(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    identity.write(tmp_path / "pid", identify(sleeper))
    handle = identity.find(tmp_path / "pid")
    assert handle is not None
    assert not handle.has_ended()
    handle.send(signal.SIGTERM)
    assert handle.wait(TIMEOUT_S)


def test_another_process_with_the_same_number_is_not_taken_for_it(
    sleeper: subprocess.Popen[bytes],
) -> None:
    known = identify(sleeper)
    assert identity.open_process(replace(known, started=known.started - 1)) is None


def test_a_file_of_an_earlier_boot_counts_for_nothing(sleeper: subprocess.Popen[bytes]) -> None:
    known = identify(sleeper)
    assert identity.open_process(replace(known, boot="another")) is None


def test_a_process_that_has_ended_is_not_found(sleeper: subprocess.Popen[bytes]) -> None:
    known = identify(sleeper)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert identity.open_process(known) is None, "still a zombie, but ended"


@pytest.mark.parametrize("text", ["", "12", "{}", '{"pid": "x"}', '["pid"]'])
def test_a_broken_file_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert identity.find(tmp_path / "pid") is None


def test_a_name_with_parentheses_and_spaces_does_not_confuse(tmp_path: Path) -> None:
    odd = tmp_path / "a ) S 1 (b"
    odd.symlink_to("/usr/bin/sleep")
    process = subprocess.Popen([str(odd), "300"])
    try:
        known = identify(process)
        handle = identity.open_process(known)
        assert handle is not None
        assert handle.identity.started == identity.start_time(process.pid)
    finally:
        process.kill()
        process.wait(TIMEOUT_S)
