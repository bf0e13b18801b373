"""Start our own processes for tests on free ports, wait until they answer, and stop them by pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A TCP port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    check: Callable[[], object], timeout_s: float, what: str, every_s: float = 0.05
) -> object:
    """The first true answer of `check`; fails the test by name when it never comes."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = check()
        if answer:
            return answer
        time.sleep(every_s)
    raise AssertionError(f"{what}: not within {timeout_s:g} s")


def answers(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


class ManagedProcess:
    """One process of ours, in its own session, with its output in a file."""

    def __init__(
        self, argv: Sequence[str], log_path: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.argv, self.log_path = list(argv), log_path
        self.environment = dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, timeout_s: float = 15) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait(timeout_s)

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def log_text(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


class EmbeddedServer(ManagedProcess):
    """`python -m db.embedded` on a free port."""

    def __init__(self, data: Path, port: int | None = None, password: str = "") -> None:
        self.port = port or free_port()
        self.data = data
        super().__init__(
            [sys.executable, "-m", "db.embedded", "--data", str(data), "--port", str(self.port)],
            data.parent / f"{data.name}.log",
            {"ISARD_DB_PASSWORD": password},
        )

    def start(self) -> None:
        super().start()

        def is_up() -> bool:
            assert self.is_running(), f"the database ended at start:\n{self.log_text()}"
            return answers(self.port)

        wait_until(is_up, 20, "the embedded database answers")
