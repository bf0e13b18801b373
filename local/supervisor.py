"""The small process that keeps the product's processes: starts them in order, starts the dead
again, stops them in order.

`python -m local supervise`, detached by `start`; it holds a lock, so there is one per data
folder. Each child has a pid file (`identity.py`). If the supervisor itself is killed its children
go on; the next one adopts those that were started exactly as it would, and ends the others first.
What it is doing stands in `run/progress.json` for whoever waits.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from local import identity
from local.identity import ProcessHandle
from local.plan import Process, processes
from local.settings import REPOSITORY, LocalSettings

SHORTEST_PAUSE_S, LONGEST_PAUSE_S, CALM_AFTER_S = 0.25, 4.0, 10.0
SEED_TIMEOUT_S = 120.0
SEED_RETRY_S = 3.0
LOOK_EVERY_S = 0.05
IDLE_S = 3600.0
LONGEST_PROBLEM = 200
LARGEST_LOG_BYTES = 20_000_000


class StopAsked(Exception):
    """SIGTERM or SIGINT came while something was waited for."""


@dataclass
class Kept:
    """One row of the plan with its running process, or when it is to be started."""

    process: Process
    handle: ProcessHandle | None = None
    started_at: float = 0.0
    pause_s: float = SHORTEST_PAUSE_S
    start_at: float = field(default=0.0)


class Supervisor:
    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._environment = settings.environment()
        self._as_owner = settings.owner.process_options()
        self._kept = [Kept(process) for process in processes(settings)]
        self._stop_asked = False
        self._wakeup = self._listen_to_signals()

    def run(self) -> int:
        try:
            self._adopt()
            self._bring_up([kept for kept in self._kept if not kept.process.after_seed])
            self._seed()
            self._bring_up([kept for kept in self._kept if kept.process.after_seed])
            self._progress("waiting for the hypervisor to come online")
            while True:
                self._wait(self._pause())
                self._revive()
        except StopAsked:
            self._say("stopping")
        finally:
            self._stop_all()
        return 0

    def _adopt(self) -> None:
        """Take over what a killed supervisor left; end what would now be started differently."""
        strangers = []
        for kept in self._kept:
            handle = identity.find(self._file(kept.process))
            if handle is None:
                continue
            if handle.identity.plan == kept.process.digest(self._environment):
                kept.handle, kept.started_at = handle, time.monotonic()
                self._say(f"adopted {kept.process.name} ({handle.identity.pid})")
            else:
                strangers.append((kept.process, handle))
        for process, handle in reversed(strangers):
            self._end(process, handle)

    def _bring_up(self, several: list[Kept]) -> None:
        """Start at once what was not adopted, and wait until all of it is up."""
        for kept in several:
            if kept.handle is None:
                self._start(kept)
        for kept in several:
            self._await_up(kept)

    def _await_up(self, kept: Kept) -> None:
        self._progress(f"starting the {kept.process.title}")
        if kept.process.is_up is None:
            return
        late_at = time.monotonic() + kept.process.up_timeout_s
        while not (kept.handle is not None and kept.process.is_up(kept.handle.identity.pid)):
            self._wait(LOOK_EVERY_S)
            self._revive()
            if time.monotonic() > late_at:
                late_at = float("inf")
                self._progress(
                    f"waiting for the {kept.process.title}",
                    f"The {kept.process.title} does not come up: {self._last_words(kept.process)}",
                )

    def _seed(self) -> None:
        """The first rows; tried until it succeeds, as the database may be restarting."""
        self._progress("preparing the database")
        file = self._settings.first_password_file
        while True:
            password = file.read_text() if file.exists() else "\n"
            with self._append("local") as log:
                done = subprocess.run(
                    [sys.executable, "-m", "local.seed"],
                    cwd=REPOSITORY,
                    env=self._environment,
                    input=password.encode(),
                    stdout=log,
                    stderr=subprocess.PIPE,
                    timeout=SEED_TIMEOUT_S,
                    **self._as_owner,
                )
            if done.returncode == 0:
                (self._settings.data / "db" / "seeded").touch()
                return
            problem = done.stderr.decode(errors="replace").strip()
            self._say(problem)
            self._progress(
                "preparing the database",
                f"The database cannot be prepared yet: {last_words(problem)}",
            )
            self._wait(SEED_RETRY_S)
            self._revive()

    def _start(self, kept: Kept) -> None:
        process = kept.process
        with self._append(process.name) as log:
            child = subprocess.Popen(
                process.argv,
                cwd=REPOSITORY,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **({} if process.needs_root else self._as_owner),
            )
        known = identity.identify(child.pid, process.digest(self._environment))
        kept.handle = identity.open_process(known) if known else None
        kept.started_at = time.monotonic()
        if known is None or kept.handle is None:
            child.wait()
            self._plan_again(kept)
            return
        child.returncode = 0  # buried through its descriptor, not by this object
        identity.write(self._file(process), known)

    def _revive(self) -> None:
        for kept in self._kept:
            if kept.handle is not None and kept.handle.has_ended():
                self._say(f"{kept.process.name} ended; it is started again")
                kept.handle.close()
                self._plan_again(kept)
            elif kept.handle is None and 0 < kept.start_at <= time.monotonic():
                self._start(kept)

    def _plan_again(self, kept: Kept) -> None:
        now = time.monotonic()
        kept.handle = None
        if now - kept.started_at > CALM_AFTER_S:
            kept.pause_s = SHORTEST_PAUSE_S
        kept.start_at = now + kept.pause_s
        kept.pause_s = min(LONGEST_PAUSE_S, kept.pause_s * 2)

    def _pause(self) -> float:
        due = [k.start_at - time.monotonic() for k in self._kept if k.handle is None and k.start_at]
        return max(0.0, min([IDLE_S, *due]))

    def _wait(self, timeout_s: float) -> None:
        """Until a child ends, a signal comes or the time is over. Raises StopAsked."""
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._wakeup, selectors.EVENT_READ)
            for kept in self._kept:
                if kept.handle is not None:
                    waiting.register(kept.handle, selectors.EVENT_READ)
            for key, _ in waiting.select(timeout_s):
                if key.fileobj is self._wakeup:
                    self._wakeup.recv(64)
        if self._stop_asked:
            raise StopAsked

    def _stop_all(self) -> None:
        for kept in reversed(self._kept):
            if kept.handle is not None:
                self._progress(f"stopping the {kept.process.title}")
                self._end(kept.process, kept.handle)
                kept.handle = None
        self._progress("stopped")

    def _end(self, process: Process, handle: ProcessHandle) -> None:
        end(process, handle, self._file(process))

    def _listen_to_signals(self) -> socket.socket:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return reader

    def _note_stop(self, _number: int, _frame: object) -> None:
        self._stop_asked = True

    def _file(self, process: Process) -> Path:
        return pid_file(self._settings, process.name)

    def _last_words(self, process: Process) -> str:
        log = self._settings.logs / f"{process.name}.log"
        return f"{last_words(log.read_text(errors='replace'))} ({log})"

    @contextlib.contextmanager
    def _append(self, name: str) -> Iterator[int]:
        """A log, open for appending; a very large one is put aside first."""
        file = self._settings.logs / f"{name}.log"
        if file.exists() and file.stat().st_size > LARGEST_LOG_BYTES:
            file.replace(file.with_suffix(".log.1"))
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _progress(self, step: str, problem: str = "") -> None:
        write_progress(self._settings, step, problem)

    def _say(self, sentence: str) -> None:
        print(f"{datetime.now().isoformat(timespec='seconds')} {sentence}", flush=True)


def end(process: Process, handle: ProcessHandle, file: Path) -> None:
    """Ask one process to end, end it after its time, forget it."""
    handle.send(signal.SIGTERM)
    if not handle.wait(process.stop_timeout_s):
        handle.kill_group()
        handle.wait(process.stop_timeout_s)
    handle.close()
    file.unlink(missing_ok=True)


def last_words(text: str) -> str:
    """The last line of an error's text that says something."""
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalpha, line))]
    return lines[-1][:LONGEST_PROBLEM] if lines else "no reason given"


def pid_file(settings: LocalSettings, name: str) -> Path:
    return settings.run / f"{name}.pid.json"


def write_progress(settings: LocalSettings, step: str, problem: str = "") -> None:
    file = settings.run / "progress.json"
    unfinished = file.with_name(f".new-{file.name}")
    unfinished.write_text(json.dumps({"step": step, "problem": problem}))
    unfinished.replace(file)


def supervise(settings: LocalSettings) -> int:
    """The detached process's main program."""
    lock = os.open(settings.run / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another supervisor keeps this data folder.", file=sys.stderr)
        return 1
    file = pid_file(settings, "supervisor")
    mine = identity.identify(os.getpid(), "")
    if mine is not None:
        identity.write(file, mine)
    try:
        return Supervisor(settings).run()
    finally:
        file.unlink(missing_ok=True)
