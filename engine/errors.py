"""What can go wrong while the engine acts, in the two kinds the reconcilers know.

A Transient is tried again by itself; a Terminal waits for a new wish or "retry". The kind is chosen
where the failure happens, because only there is it known whether waiting can help. Every error
carries what `observed.failure` shows: a reason (one word), a sentence a person can act on, the
step, and the command with its answer where there was one. Raised by engine.hypervisor and
engine.storage, turned into rows by engine.reconcilers.
"""

from __future__ import annotations

from collections.abc import Sequence

from db.errors import IsardError
from db.states import Reason

ANSWER_MAX = 2000
"""An answer is kept whole up to this many characters: rows are read by browsers."""


class EngineError(IsardError):
    """Base. `command` is shown to people: callers never put a secret on a command line."""

    terminal = False

    def __init__(
        self,
        reason: Reason | str,
        message: str,
        *,
        step: str = "",
        command: str = "",
        answer: str = "",
    ) -> None:
        super().__init__(message)
        self.reason = str(reason)
        self.message = message
        self.step = step
        self.command = command
        self.answer = answer if len(answer) <= ANSWER_MAX else answer[:ANSWER_MAX] + " …"


class Transient(EngineError):
    """Will be tried again. `retry_after_s` is a hint; None leaves the pace to the caller."""

    def __init__(
        self,
        reason: Reason | str,
        message: str,
        *,
        step: str = "",
        command: str = "",
        answer: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason, message, step=step, command=command, answer=answer)
        self.retry_after_s = retry_after_s


class Terminal(EngineError):
    """Trying again alone cannot help: waits for a new wish or "retry"."""

    terminal = True


class CalledOff(Terminal):
    """Somebody took the wish back while a command for it ran; the command was ended."""

    def __init__(self) -> None:
        super().__init__(Reason.CALLED_OFF, "It was called off.")


class HostLost(Transient):
    """The connection to the host is gone, or a call passed its deadline: what is true there is
    unknown until it has been listed afresh."""


class HostKeyRefused(Terminal):
    """The host offered another key than the accepted one (HostKeyChanged), or none was accepted yet
    (HostKeyUnknown).

    Nothing was sent to it. `offered` is its key as `ssh-ed25519 AAAA…`, for a person to accept with
    a button.
    """

    def __init__(self, reason: Reason, message: str, *, offered: str | None) -> None:
        super().__init__(reason, message, step="host_key")
        self.offered = offered


class CommandFailed(EngineError):
    """A command ran on the host and said no. Neither kind by itself: engine.storage decides what it
    means.
    """

    def __init__(self, argv: Sequence[str], exit_status: int, *, command: str, answer: str) -> None:
        first = answer.strip().splitlines()[-1] if answer.strip() else f"exit status {exit_status}"
        super().__init__(
            "CommandFailed", f"{argv[0]} failed: {first}", command=command, answer=answer
        )
        self.argv = tuple(argv)
        self.exit_status = exit_status


class WrongStorage(Transient):
    """The path does not hold this installation's storage (not mounted, or another's). Nothing was
    touched; it is looked at again, because mounting the right one heals it."""

    def __init__(self, message: str, *, answer: str = "") -> None:
        super().__init__(
            Reason.WRONG_STORAGE, message, step="storage", answer=answer, retry_after_s=30.0
        )
