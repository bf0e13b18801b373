"""The ssh script of a host: its files follow the row, and what a killed engine left is cleared
away.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from engine.hypervisor.host import HostAddress
from engine.hypervisor.ssh_program import SshProgram
from engine.settings import EngineSettings

ADDRESS = HostAddress("hv-1", "hv1.example", 2022, "root", "ssh-ed25519 AAAAkey")


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    return EngineSettings.from_environment({"ISARD_DATA": str(tmp_path / 'a %d "folder" ${HOME}')})


def script_of(program: SshProgram) -> Path:
    (path,) = parse_qs(urlsplit(program.uri).query)["command"]
    return Path(path)


def test_the_address_names_the_script_and_nothing_secret(settings: EngineSettings) -> None:
    program = SshProgram(ADDRESS, settings)
    parts = urlsplit(program.uri)
    assert (parts.scheme, parts.username, parts.port) == ("qemu+ssh", "root", 2022)
    assert parts.hostname == "hv1.example"
    assert "no_verify" not in parts.query
    assert script_of(program).is_symlink()
    assert (
        urlsplit(SshProgram(replace(ADDRESS, hostname="fe80::1"), settings).uri).hostname
        == "fe80::1"
    )


def test_only_the_accepted_key_is_known(settings: EngineSettings) -> None:
    folder = script_of(SshProgram(ADDRESS, settings)).parent
    assert (folder / "known_hosts").read_text() == "isard-hv-1 ssh-ed25519 AAAAkey\n"
    SshProgram(replace(ADDRESS, host_key="ssh-ed25519 BBBB"), settings)
    assert (folder / "known_hosts").read_text() == "isard-hv-1 ssh-ed25519 BBBB\n"
    assert (folder / "known_hosts").stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0


def test_ssh_itself_understands_every_option(settings: EngineSettings) -> None:
    """`ssh -G` prints what it would do, without doing it."""
    settings.ssh_key.parent.mkdir(parents=True)
    settings.ssh_key.touch()
    script = script_of(SshProgram(ADDRESS, settings))
    shown = subprocess.run(
        [script, "-G", "-p", "2022", "hv1.example"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    ).stdout.splitlines()
    for line in (
        "batchmode yes",
        "stricthostkeychecking true",
        "userknownhostsfile known_hosts",
        "hostkeyalias isard-hv-1",
        "identityfile key",
        "identitiesonly yes",
        "connecttimeout 8",
        "preferredauthentications publickey",
        "serveraliveinterval 2",
    ):
        assert line in shown, line
    assert "port 2022" in shown


def test_what_a_killed_engine_left_is_cleared_away(settings: EngineSettings) -> None:
    first = SshProgram(ADDRESS, settings)
    left = script_of(first)
    pid_file = Path(f"{left}.pid")
    gone = subprocess.Popen(["true"])
    gone.wait(20)
    pid_file.write_text(str(gone.pid))
    live = SshProgram(ADDRESS, settings)
    assert not left.is_symlink()
    assert not pid_file.exists()
    assert script_of(live).is_symlink()
    live.forget()
    assert not script_of(live).is_symlink()


def test_ending_touches_no_process_that_is_not_ours(settings: EngineSettings) -> None:
    program = SshProgram(ADDRESS, settings)
    Path(f"{script_of(program)}.pid").write_text("1")
    program.end()  # init is nobody's child of ours
    Path(f"{script_of(program)}.pid").write_text("nonsense")
    program.end()
    child = subprocess.Popen(["sleep", "300"])
    Path(f"{script_of(program)}.pid").write_text(str(child.pid))
    program.end()
    assert child.wait(20) == -9
