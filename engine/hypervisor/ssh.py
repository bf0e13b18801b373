"""Commands on a hypervisor host over SSH. The only place that quotes a remote command.

One paramiko connection per host, kept open and opened again when lost. The host's key is pinned:
what the row accepted is the only key we talk to, and a host that offers another is refused before
anything is sent. sshd hands a command to the user's shell, so an argument vector becomes text
exactly once, here, by `shlex.join`; what needs several steps is a small constant `sh -c` program
that gets its values as "$1", "$2" …, never by insertion. Called by engine.storage.disks and
engine.hypervisor.checks.
"""

from __future__ import annotations

import contextlib
import select
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import paramiko

from db.logs import get_logger
from db.states import Reason
from engine.errors import CalledOff, CommandFailed, HostLost, Transient
from engine.hypervisor.guard import GUARD_BUSY, GUARD_LATE, GUARD_NO_LOCK, WITH_INPUT, guarded
from engine.hypervisor.host import HostAddress
from engine.hypervisor.login import open_transport
from engine.settings import EngineSettings

log = get_logger(__name__)

STOP_LOOK_S = 0.5
"""How often a command that may be called off asks whether it was."""
DROP_WAIT_S = 0.5
CONNECTIONS_TRIED = 5
"""A connection carries so many commands at once and no more (sshd's MaxSessions, often ten). One
that is full refuses the next before anything is run, and that goes over a new one.
"""
OUTPUT_MAX_BYTES = 16 * 1024 * 1024
"""A command that says more than this is ended: nothing of ours does."""


@dataclass(frozen=True)
class Completed:
    """A command that ended with `exit_status`."""

    argv: tuple[str, ...]
    exit_status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace")

    @property
    def error_text(self) -> str:
        return self.stderr.decode(errors="replace").strip()


class SshSession:
    """All commands for one host. Any thread may call; each command has a channel of its own.

    `password`: for a host that may not know our key yet (see open_transport).
    """

    def __init__(
        self, address: HostAddress, settings: EngineSettings, *, password: str = ""
    ) -> None:
        self.address = address
        self.settings = settings
        self._password = password
        self._lock = threading.Lock()
        self._link: _Link | None = None
        self._closed = False

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        input: bytes = b"",
        check: bool = True,
        on_output: Callable[[bytes], None] | None = None,
        hold_input: bool = False,
        is_stopped: Callable[[], bool] | None = None,
        label: str = "",
    ) -> Completed:
        """Run and wait. `on_output` gets chunks of standard output as they come.

        `hold_input` leaves the command's standard input open while it runs, so that it ends with us
        (see run_locked). `is_stopped` is asked now and then; once it says so the channel is closed
        and CalledOff raised. `label` replaces the command line in errors (a program text explains
        nothing to people). Raises HostLost when the connection or the deadline is lost,
        HostKeyRefused or Transient(LoginRefused) when the host does not let us in, CommandFailed
        when `check` and the command failed.
        """
        deadline = time.monotonic() + timeout_s
        command = shlex.join(argv)
        for left in reversed(range(CONNECTIONS_TRIED)):
            with self._borrow(deadline) as link:
                try:
                    completed = self._converse(
                        link,
                        tuple(argv),
                        command,
                        deadline,
                        input,
                        on_output,
                        hold_input,
                        is_stopped,
                    )
                    break
                except _Refused as error:
                    link.retire()
                    if not left:
                        raise self._lost(f"{self.address} runs no command: {error}") from error
                except (paramiko.SSHException, OSError, EOFError) as error:
                    link.retire()
                    raise self._lost(f"The connection to {self.address} broke: {error}") from error
                except _DeadlinePassed:
                    link.retire()
                    raise self._lost(
                        f"{self.address} did not finish a command within {timeout_s:g} seconds."
                    ) from None
        if check and completed.exit_status != 0:
            raise CommandFailed(
                completed.argv,
                completed.exit_status,
                command=label or command,
                answer=completed.error_text or completed.text.strip(),
            )
        return completed

    def run_locked(
        self,
        target: str | None,
        argv: Sequence[str],
        *,
        timeout_s: float,
        wait_s: float = 15.0,
        check: bool = True,
        on_output: Callable[[bytes], None] | None = None,
        is_stopped: Callable[[], bool] | None = None,
        label: str = "",
        secret: bytes = b"",
    ) -> Completed:
        """Run under the lock file `target` on the host, within `timeout_s` there, and no longer
        than this channel lives.

        So a command left behind by a dead engine is ended (its channel closed) or waited for
        (`wait_s`), never doubled, whichever host of a shared storage runs it. One that is called
        off ends the same way: who works on the target next waits for its end. `target` is the lock
        file's own path; its folder must exist. None: the command takes its locks itself. `secret`
        reaches the command as $ISARD_INPUT and is in no argument vector. Raises, besides what `run`
        does, Transient(InUse) when another holds the lock, and Transient(DeadlineExceeded).
        """
        before = ("sh", "-c", WITH_INPUT, "isard", str(len(secret))) if secret else ()
        completed = self.run(
            [*before, *guarded(argv, target, wait_s=wait_s, limit_s=timeout_s)],
            timeout_s=timeout_s + 10.0,
            input=secret,
            check=False,
            on_output=on_output,
            hold_input=True,
            is_stopped=is_stopped,
        )
        command = label or shlex.join(argv)
        answer = completed.error_text or completed.text.strip()
        if completed.exit_status == GUARD_BUSY:
            raise Transient(
                Reason.IN_USE,
                f"Another command still works on {target} on {self.address}.",
                command=command,
                retry_after_s=5.0,
            )
        if completed.exit_status == GUARD_LATE:
            raise Transient(
                Reason.DEADLINE,
                f"A command on {self.address} was ended after {timeout_s:g} seconds.",
                command=command,
                answer=answer,
            )
        failed = check and completed.exit_status != 0
        if failed or completed.exit_status == GUARD_NO_LOCK:
            raise CommandFailed(tuple(argv), completed.exit_status, command=command, answer=answer)
        return completed

    def close(self) -> None:
        """Ends what runs. Calls after this raise HostLost."""
        with self._lock:
            self._closed = True
            link, self._link = self._link, None
        if link is not None:
            link.transport.close()

    def drop(self) -> None:
        """The host was found silent: end what waits for it, now. The next call connects anew."""
        if not self._lock.acquire(timeout=DROP_WAIT_S):
            return  # somebody is connecting: nothing waits in an older connection
        link, self._link = self._link, None
        self._lock.release()
        if link is not None:
            link.transport.close()

    @property
    def connected(self) -> bool:
        link = self._link
        return link is not None and link.usable

    @contextlib.contextmanager
    def _borrow(self, deadline: float) -> Iterator[_Link]:
        link = self._take(deadline)
        try:
            yield link
        finally:
            link.give_back()

    def _take(self, deadline: float) -> _Link:
        # One thread opens, the others wait for it: their deadline counts meanwhile.
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise self._lost(f"{self.address} did not answer in time.")
        try:
            if self._closed:
                raise self._lost(f"The connection to {self.address} was closed.")
            if self._link is None or not self._link.usable:
                if self._link is not None:
                    self._link.retire()
                remaining_s = max(0.1, deadline - time.monotonic())
                self._link = _Link(
                    open_transport(
                        self.address,
                        self.settings.ssh_key,
                        min(self.settings.connect_timeout_s, remaining_s),
                        password=self._password,
                    )
                )
            self._link.lend()
            return self._link
        finally:
            self._lock.release()

    def _converse(
        self,
        link: _Link,
        argv: tuple[str, ...],
        command: str,
        deadline: float,
        input: bytes,
        on_output: Callable[[bytes], None] | None,
        hold_input: bool,
        is_stopped: Callable[[], bool] | None,
    ) -> Completed:
        channel = self._open_channel(link, deadline)
        try:
            channel.settimeout(max(0.1, deadline - time.monotonic()))
            channel.exec_command(command.encode())
            if input:
                channel.sendall(input)
            if not hold_input:
                channel.shutdown_write()
            stdout, stderr = _read_all(channel, deadline, on_output, is_stopped)
            if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
                raise _DeadlinePassed
            status = channel.recv_exit_status()
            if status < 0 and not link.transport.is_active():
                raise EOFError("it ended while the command ran")
            return Completed(argv, status, stdout, stderr)
        finally:
            channel.close()

    def _open_channel(self, link: _Link, deadline: float) -> paramiko.Channel:
        """Raises _Refused where the connection is well and takes no more commands."""
        try:
            return link.transport.open_session(timeout=max(0.1, deadline - time.monotonic()))
        except paramiko.SSHException as error:
            # Of several refused at once paramiko tells only one why.
            if link.transport.is_active() and time.monotonic() < deadline:
                raise _Refused(str(error)) from error
            raise

    def _lost(self, message: str) -> HostLost:
        return HostLost(Reason.HOST_UNREACHABLE, message, step="ssh")


class _DeadlinePassed(Exception):
    pass


class _Refused(Exception):
    pass


class _Link:
    """A transport that several commands share. One that is retired serves those it has, takes no
    more, and closes.
    """

    def __init__(self, transport: paramiko.Transport) -> None:
        self.transport = transport
        self._users = 0
        self._retired = False
        self._lock = threading.Lock()

    @property
    def usable(self) -> bool:
        return not self._retired and self.transport.is_active()

    def lend(self) -> None:
        with self._lock:
            self._users += 1

    def give_back(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._retired and self._users == 0
        if last:
            self.transport.close()

    def retire(self) -> None:
        with self._lock:
            self._retired = True
            unused = self._users == 0
        if unused:
            self.transport.close()


def _read_all(
    channel: paramiko.Channel,
    deadline: float,
    on_output: Callable[[bytes], None] | None,
    is_stopped: Callable[[], bool] | None,
) -> tuple[bytes, bytes]:
    """Both streams until the command closes them. The channel's descriptor is readable when either
    has something.
    """
    out, err, size = [], [], 0
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while True:
        ended = channel.eof_received or channel.closed
        while channel.recv_ready():
            chunk = channel.recv(65536)
            out.append(chunk)
            size += len(chunk)
            if on_output is not None:
                on_output(chunk)
        while channel.recv_stderr_ready():
            chunk = channel.recv_stderr(65536)
            err.append(chunk)
            size += len(chunk)
        if size > OUTPUT_MAX_BYTES:
            raise OSError("the command says far too much")
        if ended:
            return b"".join(out), b"".join(err)
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise _DeadlinePassed
        if is_stopped is not None:
            if is_stopped():
                raise CalledOff()
            remaining_s = min(remaining_s, STOP_LOOK_S)
        with contextlib.suppress(socket.timeout):
            poll.poll(remaining_s * 1000)
