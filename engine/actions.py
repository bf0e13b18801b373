"""What can be done next about one domain: the answers of `engine.decisions`, one small class each.
Pure.

A decision names exactly one of them; engine/reconcilers/domain.py has the place where each is
performed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.states import Activity, Reason


@dataclass(frozen=True)
class Rest:
    """Nothing to do on any host. `finished`: the wish is reached. `until`: look again then."""

    finished: bool = False
    until: datetime | None = None


@dataclass(frozen=True)
class Hold:
    """Write nothing, do nothing, until one of the topics fires."""

    topics: tuple[str, ...]


@dataclass(frozen=True)
class Wait:
    """Something else has to change first; `topics` name it and wake the key."""

    reason: Reason
    message: str
    topics: tuple[str, ...]
    during: Activity | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Settle:
    """Take back, or finish, the template that was begun."""


@dataclass(frozen=True)
class CreateDisks:
    disks: tuple[str, ...]


@dataclass(frozen=True)
class Renew:
    """What was reached was lost: the wish is as good as new, and is carried out again."""


@dataclass(frozen=True)
class Start:
    hypervisor: str


@dataclass(frozen=True)
class Resume:
    hypervisor: str


@dataclass(frozen=True)
class Suspend:
    hypervisor: str


@dataclass(frozen=True)
class ChangeMedia:
    """Have in its drives what should be there; it goes on running."""

    hypervisor: str


@dataclass(frozen=True)
class AskShutdown:
    """`deadline` is None where the asking begins now. `drain`: its hypervisor is to be emptied."""

    hypervisor: str
    deadline: datetime | None
    drain: bool = False


@dataclass(frozen=True)
class PowerOff:
    hypervisor: str


@dataclass(frozen=True)
class DeleteDisks:
    pass


@dataclass(frozen=True)
class RemoveRow:
    pass


@dataclass(frozen=True)
class Forget:
    """Remove the row although its host cannot be asked, and list what is left there."""

    hypervisor: str


@dataclass(frozen=True)
class Fail:
    """Terminal: waits for a new wish."""

    reason: Reason
    message: str


Action = (
    Rest
    | Hold
    | Wait
    | Settle
    | CreateDisks
    | Renew
    | Start
    | Resume
    | Suspend
    | ChangeMedia
    | AskShutdown
    | PowerOff
    | DeleteDisks
    | RemoveRow
    | Forget
    | Fail
)


NEEDS_DISKS = (CreateDisks, Start, DeleteDisks, RemoveRow, Forget)
