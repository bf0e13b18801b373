"""Commands on a real host: quoting, input, output, failures, locks, and a key that is not the
accepted one.
"""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.errors import CalledOff, CommandFailed, HostKeyRefused, HostLost, Terminal, Transient
from engine.hypervisor.login import describe_fingerprint, read_offered_host_key
from engine.hypervisor.ssh import SshSession
from engine.settings import EngineSettings
from tests.engine.hosts import address_of, engine_settings
from tests.lab import Lab, LabHost, free_ports, wait_until

WORD = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
    st.sampled_from(
        ["$(id)", "`id`", "'", '"', "a\nb", "; rm -rf x", "\\", "*", "~", "", "--", "!!"]
    ),
)


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORD, max_size=4))
def test_words_arrive_as_they_are(ssh: SshSession, words: list[str]) -> None:
    done = ssh.run(["printf", r"%s\0", *words, "end"], timeout_s=20)
    assert done.stdout.split(b"\0")[:-1] == [word.encode() for word in [*words, "end"]]


def test_input_output_and_status(ssh: SshSession) -> None:
    done = ssh.run(
        ["sh", "-c", "cat; echo problem >&2; exit 3"],
        timeout_s=20,
        input=b"x" * 300_000,
        check=False,
    )
    assert done.stdout == b"x" * 300_000
    assert done.error_text == "problem"
    assert done.exit_status == 3


def test_much_output_on_both_streams_does_not_block(ssh: SshSession) -> None:
    chunks: list[bytes] = []
    program = "head -c 3000000 /dev/zero & head -c 3000000 /dev/zero >&2; wait"
    done = ssh.run(["sh", "-c", program], timeout_s=60, on_output=chunks.append)
    assert (len(done.stdout), len(done.stderr)) == (3_000_000, 3_000_000)
    assert b"".join(chunks) == done.stdout


def test_more_commands_at_once_than_one_connection_may_carry(lab: Lab) -> None:
    """An ordinary sshd takes ten. None fails; the connection that is full serves what it has."""
    host = lab.start("full")
    config = "/etc/isard/ssh/sshd_config"
    host.exec(["sed", "-i", "s/^MaxSessions .*/MaxSessions 2/", config])
    host.exec(["sh", "-c", "kill -HUP $(cat /run/isard/sshd.pid)"])
    time.sleep(1)  # it starts itself anew
    wait_until(lambda: can_connect(host.ssh_port), 20)
    session = SshSession(address_of(host), engine_settings(host, host.settings.data / "engine"))
    try:
        with ThreadPoolExecutor(7) as threads:
            program = ["sh", "-c", 'sleep 1; echo "$1"', "x"]
            asked = [
                threads.submit(session.run, [*program, str(number)], timeout_s=60)
                for number in range(7)
            ]
            assert [one.result(60).text for one in asked] == [f"{number}\n" for number in range(7)]
    finally:
        session.close()


def can_connect(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_command_that_never_stops_talking_is_ended(ssh: SshSession) -> None:
    with pytest.raises(HostLost, match="far too much"):
        ssh.run(["yes"], timeout_s=60)
    assert ssh.run(["true"], timeout_s=20).exit_status == 0


def test_a_failure_carries_command_and_answer(ssh: SshSession) -> None:
    with pytest.raises(CommandFailed, match="No such file") as raised:
        ssh.run(["ls", "/no/such file"], timeout_s=20)
    assert raised.value.command == "ls '/no/such file'"
    assert raised.value.exit_status == 2
    assert "No such file" in raised.value.answer
    with pytest.raises(CommandFailed) as raised:
        ssh.run(["no-such-program"], timeout_s=20, label="a label")
    assert raised.value.command == "a label"
    assert raised.value.exit_status == 127


def test_a_command_past_its_deadline_is_given_up(ssh: SshSession) -> None:
    with pytest.raises(HostLost, match=r"within 0\.5 seconds"):
        ssh.run(["sleep", "30"], timeout_s=0.5)
    assert ssh.run(["echo", "again"], timeout_s=20).text == "again\n"


def test_giving_one_up_does_not_cut_the_others(ssh: SshSession) -> None:
    answers: list[str] = []
    started = threading.Event()

    def slow() -> None:
        program = "echo begun; sleep 2; echo done"
        done = ssh.run(["sh", "-c", program], timeout_s=30, on_output=lambda _chunk: started.set())
        answers.append(done.text)

    other = threading.Thread(target=slow)
    other.start()
    assert started.wait(20)
    with pytest.raises(HostLost):
        ssh.run(["sleep", "30"], timeout_s=0.3)
    other.join(30)
    assert answers == ["begun\ndone\n"]


def test_many_commands_at_once_share_one_connection(ssh: SshSession, shared_host: LabHost) -> None:
    answers: list[str] = []
    threads = [
        threading.Thread(
            target=lambda n=n: answers.append(ssh.run(["echo", str(n)], timeout_s=30).text)
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == [f"{n}\n" for n in range(8)]
    assert ssh.connected


def test_a_lost_connection_is_opened_again(ssh: SshSession, shared_host: LabHost) -> None:
    ssh.run(["true"], timeout_s=20)
    assert ssh.connected
    link = ssh._link
    assert link is not None
    link.transport.close()
    assert ssh.run(["echo", "back"], timeout_s=20).text == "back\n"


def test_a_closed_session_stays_closed(ssh: SshSession) -> None:
    ssh.close()
    with pytest.raises(HostLost, match="was closed"):
        ssh.run(["true"], timeout_s=20)


def test_locked_commands_on_one_target_come_one_after_the_other(
    ssh: SshSession, shared_host: LabHost
) -> None:
    lock = str(shared_host.storage_root / "a lock")
    log = str(shared_host.storage_root / "locked.log")
    program = 'echo in >>"$1"; sleep 0.2; echo out >>"$1"'
    threads = [
        threading.Thread(
            target=lambda: ssh.run_locked(lock, ["sh", "-c", program, "x", log], timeout_s=20)
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Path(log).read_text().split() == ["in", "out"] * 3


def test_a_locked_command_says_when_it_was_too_slow_or_had_to_wait(
    ssh: SshSession, shared_host: LabHost
) -> None:
    lock = str(shared_host.storage_root / "another lock")
    with pytest.raises(Transient, match=r"was ended after 0\.3 seconds") as raised:
        ssh.run_locked(lock, ["sleep", "60"], timeout_s=0.3)
    assert raised.value.reason == "DeadlineExceeded"
    holder = SshSession(ssh.address, ssh.settings)
    held = threading.Event()

    def hold() -> None:
        with pytest.raises(HostLost):
            holder.run_locked(
                lock,
                ["sh", "-c", "echo held; sleep 60"],
                timeout_s=90,
                on_output=lambda _chunk: held.set(),
            )

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(20)
    with pytest.raises(Transient, match="still works on") as raised:
        ssh.run_locked(lock, ["true"], timeout_s=20, wait_s=0.2)
    assert raised.value.reason == "InUse"
    # The holder's engine dies: its command does too, and the lock is free.
    holder.close()
    other.join(20)
    assert not other.is_alive()
    ssh.run_locked(lock, ["true"], timeout_s=20, wait_s=20)
    wait_until(lambda: not shared_host.exec(["pgrep", "-f", "echo held"], check=False).stdout, 20)


def test_a_command_that_is_called_off_is_ended_on_the_host(
    ssh: SshSession, shared_host: LabHost
) -> None:
    lock = str(shared_host.storage_root / "a third lock")
    begun = threading.Event()
    with pytest.raises(CalledOff):
        ssh.run_locked(
            lock,
            ["sh", "-c", "echo begun; sleep 4711"],
            timeout_s=90,
            on_output=lambda _chunk: begun.set(),
            is_stopped=begun.is_set,
        )
    # Who comes next waits for its end, and the connection serves on.
    ssh.run_locked(lock, ["true"], timeout_s=20, wait_s=20)
    assert not shared_host.exec(["pgrep", "-xf", "sleep 4711"], check=False).stdout


def test_a_changed_host_key_is_refused_before_anything_is_sent(
    shared_host: LabHost, settings: EngineSettings
) -> None:
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7kC2Jx1PZ9m0aH5n5l0pXk8Vf6d1s2u3w4y5z6A7B8"
    session = SshSession(replace(address_of(shared_host), host_key=other), settings)
    with pytest.raises(HostKeyRefused, match="another key") as raised:
        session.run(["true"], timeout_s=20)
    assert raised.value.reason == "HostKeyChanged"
    assert raised.value.offered == shared_host.host_key


def test_a_key_of_a_type_the_host_no_longer_has_is_a_changed_key(
    shared_host: LabHost, settings: EngineSettings
) -> None:
    gone = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmK"
    session = SshSession(replace(address_of(shared_host), host_key=gone), settings)
    with pytest.raises(HostKeyRefused) as raised:
        session.run(["true"], timeout_s=20)
    assert raised.value.offered == shared_host.host_key


def test_an_unknown_host_is_refused_with_its_key(
    shared_host: LabHost, settings: EngineSettings
) -> None:
    session = SshSession(replace(address_of(shared_host), host_key=None), settings)
    with pytest.raises(HostKeyRefused, match="not been trusted") as raised:
        session.run(["true"], timeout_s=20)
    assert raised.value.reason == "HostKeyUnknown"
    assert raised.value.offered == read_offered_host_key("127.0.0.1", shared_host.ssh_port, 10)
    assert describe_fingerprint(raised.value.offered or "").startswith("ssh-ed25519 SHA256:")


def test_a_host_that_does_not_let_us_in(shared_host: LabHost, settings: EngineSettings) -> None:
    session = SshSession(replace(address_of(shared_host), user="nobody"), settings)
    with pytest.raises(Transient, match="does not let the engine in as nobody") as raised:
        session.run(["true"], timeout_s=20)
    assert raised.value.reason == "LoginRefused"


def test_an_engine_without_its_key_says_so(shared_host: LabHost, settings: EngineSettings) -> None:
    settings = replace(settings, ssh_key=settings.db.data / "no-key")
    with pytest.raises(Terminal, match="own SSH key"):
        SshSession(address_of(shared_host), settings).run(["true"], timeout_s=20)


def test_a_port_where_nobody_listens(shared_host: LabHost, settings: EngineSettings) -> None:
    address = replace(address_of(shared_host), port=free_ports(1)[0])
    with pytest.raises(HostLost, match="Nothing answers at"):
        SshSession(address, settings).run(["true"], timeout_s=20)


def test_a_name_that_cannot_be_resolved(shared_host: LabHost, settings: EngineSettings) -> None:
    address = replace(address_of(shared_host), hostname="no-such-host.invalid")
    with pytest.raises(HostLost, match="cannot be resolved"):
        SshSession(address, settings).run(["true"], timeout_s=30)


def test_a_port_that_is_no_ssh(shared_host: LabHost, settings: EngineSettings) -> None:
    address = replace(address_of(shared_host), port=shared_host.viewer_port)
    settings = replace(settings, connect_timeout_s=2)
    with pytest.raises(HostLost, match="not as an SSH server"):
        SshSession(address, settings).run(["true"], timeout_s=20)
