"""The words, and what each state allows. Pure: no input or output.

Three small vocabularies and nothing else: what is wanted (Desired), what is seen (Observed), and
what is being done (Activity). `ACTIONS` is the one table of what a person may do with a desktop in
which condition; webapp draws its buttons and refuses requests from it, so a button that is shown is
an action that is allowed. `read_wish` is how every reader understands `desired`, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    DESKTOP = "desktop"
    TEMPLATE = "template"
    BASE = "base"


class Desired(StrEnum):
    """What is wanted of a domain. `deleted` is final once begun."""

    STOPPED = "stopped"
    STARTED = "started"
    PAUSED = "paused"
    DELETED = "deleted"


class Observed(StrEnum):
    """What a domain is, as last seen. `absent`: its disks were never made. `unknown`: its host
    cannot be asked.
    """

    ABSENT = "absent"
    STOPPED = "stopped"
    STARTED = "started"
    PAUSED = "paused"
    UNKNOWN = "unknown"


class Activity(StrEnum):
    """What the engine is doing with a domain. Each has a deadline."""

    CREATING = "creating"
    STARTING = "starting"
    STOPPING = "stopping"
    PAUSING = "pausing"
    RESUMING = "resuming"
    DELETING = "deleting"
    TEMPLATING = "templating"


class Condition(StrEnum):
    """The one word shown to people, folded from wish, sight, activity and failure by
    `condition_of`.
    """

    CREATING = "creating"
    STOPPED = "stopped"
    WAITING = "waiting"
    STARTING = "starting"
    STARTED = "started"
    STOPPING = "stopping"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    DELETING = "deleting"
    FAILED = "failed"
    UNKNOWN = "unknown"


class HypervisorDesired(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"
    MAINTENANCE = "maintenance"
    DELETED = "deleted"


class HypervisorState(StrEnum):
    OFFLINE = "offline"
    CONNECTING = "connecting"
    ONLINE = "online"
    ERROR = "error"


class EnrolmentState(StrEnum):
    """How far it is to get access to a host. `waiting`: for a person to accept its key."""

    WORKING = "working"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


class MediaDesired(StrEnum):
    """`absent`: the row stays, with nothing of it on any storage (a download called off)."""

    AVAILABLE = "available"
    ABSENT = "absent"
    DELETED = "deleted"


class MediaState(StrEnum):
    """What a medium is. `absent`: nothing of it is on any storage yet."""

    ABSENT = "absent"
    DOWNLOADING = "downloading"
    AVAILABLE = "available"
    FAILED = "failed"
    DELETING = "deleting"


class TaskKind(StrEnum):
    """What can be ordered of disks (db/taskcheck.py has the arguments)."""

    RESIZE = "resize"
    MOVE = "move"
    CONVERT = "convert"
    SPARSIFY = "sparsify"
    FLATTEN = "flatten"
    VERIFY = "verify"
    DUPLICATE = "duplicate"
    EXPORT = "export"
    IMPORT = "import"
    DELIVER = "deliver"


class TaskDesired(StrEnum):
    DONE = "done"
    CANCELLED = "cancelled"


class TaskState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


TARGETS_MEDIUM = frozenset({TaskKind.IMPORT, TaskKind.DELIVER})
TARGETS_DOMAIN = frozenset(TaskKind) - TARGETS_MEDIUM
"""Work on the disks of a desktop or template; the others begin with a medium."""
TASK_ENDED = frozenset({TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED})


class Reason(StrEnum):
    """Why something is as it is: `observed.reason` and `observed.failure.reason`. One CamelCase
    word each.
    """

    INVALID_ROW = "InvalidRow"
    NO_CAPACITY = "NoCapacity"
    NO_HYPERVISOR = "NoHypervisor"
    NO_DISK_HOST = "NoDiskHost"
    NO_NETWORK = "NoNetwork"
    NETWORK_REFUSED = "NetworkRefused"
    POOL_REFUSED = "PoolRefused"
    ADDRESS_TAKEN = "AddressTaken"
    PATH_REMOVED = "PathRemoved"
    PARENT_NOT_READY = "ParentNotReady"
    MAKING_TEMPLATE = "MakingTemplate"
    DISK_MISSING = "DiskMissing"
    DISK_FAILED = "DiskFailed"
    WRONG_STORAGE = "WrongStorage"
    START_FAILED = "StartFailed"
    STOP_FAILED = "StopFailed"
    HOST_UNREACHABLE = "HostUnreachable"
    HOST_RESTARTED = "HostRestarted"
    HOST_KEY_CHANGED = "HostKeyChanged"
    HOST_KEY_UNKNOWN = "HostKeyUnknown"
    LOGIN_REFUSED = "LoginRefused"
    FINGERPRINT_DIFFERS = "FingerprintDiffers"
    PASSWORD_REFUSED = "PasswordRefused"  # noqa: S105 (a word)
    NO_LIBVIRT = "NoLibvirt"
    BAD_ENROLMENT = "BadEnrolment"
    ENROLMENT_FAILED = "EnrolmentFailed"
    ENROLMENT_EXPIRED = "EnrolmentExpired"
    GUEST_SHUTDOWN = "GuestShutdown"
    GUEST_CRASHED = "GuestCrashed"
    STOPPED_UNSEEN = "StoppedUnseen"
    POWERED_OFF = "PoweredOff"
    DEADLINE = "DeadlineExceeded"
    CALLED_OFF = "CalledOff"
    IN_USE = "InUse"
    DOWNLOAD_FAILED = "DownloadFailed"
    ADDRESS_REFUSED = "AddressRefused"
    NO_SPACE = "NoSpace"
    CHECKSUM_DIFFERS = "ChecksumDiffers"
    NOT_AN_IMAGE = "NotAnImage"
    MEDIA_NOT_READY = "MediaNotReady"
    MEDIA_FAILED = "MediaFailed"
    WAITING_ITS_TURN = "WaitingItsTurn"
    HARDWARE_MISSING = "HardwareMissing"
    NOT_STOPPED = "NotStopped"
    TARGET_GONE = "TargetGone"
    WORKED_ON = "WorkedOn"
    DRAINED = "Drained"
    CHECK_FAILED = "CheckFailed"


class Action(StrEnum):
    """What a person can ask of a domain."""

    START = "start"
    SHUTDOWN = "shutdown"
    POWER_OFF = "power_off"
    PAUSE = "pause"
    RESUME = "resume"
    DELETE = "delete"
    EDIT = "edit"
    VIEW = "view"
    RETRY = "retry"
    CALL_OFF = "call_off"


_ALWAYS = frozenset({Action.DELETE})

ACTIONS: dict[Condition, frozenset[Action]] = {
    Condition.CREATING: _ALWAYS | {Action.EDIT},
    Condition.STOPPED: _ALWAYS | {Action.START, Action.EDIT},
    Condition.WAITING: _ALWAYS | {Action.CALL_OFF, Action.EDIT},
    Condition.STARTING: _ALWAYS | {Action.POWER_OFF},
    Condition.STARTED: _ALWAYS | {Action.SHUTDOWN, Action.POWER_OFF, Action.PAUSE, Action.VIEW},
    Condition.STOPPING: _ALWAYS | {Action.POWER_OFF, Action.VIEW},
    Condition.PAUSING: _ALWAYS | {Action.POWER_OFF},
    Condition.PAUSED: _ALWAYS | {Action.RESUME, Action.POWER_OFF, Action.VIEW},
    Condition.RESUMING: _ALWAYS | {Action.POWER_OFF},
    Condition.DELETING: frozenset(),
    Condition.FAILED: _ALWAYS | {Action.RETRY, Action.START, Action.POWER_OFF, Action.EDIT},
    Condition.UNKNOWN: _ALWAYS | {Action.POWER_OFF},
}

WISH_OF_ACTION: dict[Action, tuple[Desired, bool]] = {
    Action.START: (Desired.STARTED, False),
    Action.SHUTDOWN: (Desired.STOPPED, False),
    Action.POWER_OFF: (Desired.STOPPED, True),
    Action.PAUSE: (Desired.PAUSED, False),
    Action.RESUME: (Desired.STARTED, False),
    Action.DELETE: (Desired.DELETED, False),
    Action.CALL_OFF: (Desired.STOPPED, False),
}
"""The wish (state, force) that an action writes. `retry` repeats the present wish with a new time;
`edit` and `view` write none.
"""


@dataclass(frozen=True)
class Wish:
    """`desired` as everyone reads it. `at` is None where a script never gave one."""

    state: Desired
    at: datetime | None
    force: bool = False
    by: str = ""


def read_wish(desired: Mapping[str, Any]) -> Wish:
    """The wish in a `desired` field. Raises ValueError for an unknown state.

    A script's update merges into what the web UI wrote before, so `by` and `force` count only with
    their own `at`: the UI writes them as `{"id": …, "at": …}` and as the time itself. A script may
    write `force: True` (it counts until taken back) and `by` as a plain string.
    """
    at = desired.get("at")
    by = desired.get("by")
    if isinstance(by, Mapping):
        by = by.get("id") if by.get("at") == at else None
    force = desired.get("force")
    return Wish(
        state=Desired(str(desired.get("state"))),
        at=at if isinstance(at, datetime) else None,
        force=force is True or (isinstance(force, datetime) and force == at),
        by=by if isinstance(by, str) else "script",
    )


def is_handled(wish: Wish, observed: Mapping[str, Any]) -> bool:
    """True where this wish was finished once (reached, or failed terminally): `observed.for` names
    it.
    """
    done = observed.get("for") or {}
    return bool(done) and done.get("state") == wish.state and done.get("at") == wish.at


_TRANSIT: dict[tuple[Desired, Observed], Condition] = {
    (Desired.STOPPED, Observed.ABSENT): Condition.CREATING,
    (Desired.STARTED, Observed.ABSENT): Condition.CREATING,
    (Desired.PAUSED, Observed.ABSENT): Condition.CREATING,
    (Desired.STOPPED, Observed.STARTED): Condition.STOPPING,
    (Desired.STOPPED, Observed.PAUSED): Condition.STOPPING,
    (Desired.STARTED, Observed.STOPPED): Condition.STARTING,
    (Desired.STARTED, Observed.PAUSED): Condition.RESUMING,
    (Desired.PAUSED, Observed.STARTED): Condition.PAUSING,
}

_WAITING_REASONS = frozenset(
    {
        Reason.NO_CAPACITY,
        Reason.NO_HYPERVISOR,
        Reason.NO_DISK_HOST,
        Reason.NO_NETWORK,
        Reason.NETWORK_REFUSED,
        Reason.POOL_REFUSED,
        Reason.ADDRESS_TAKEN,
        Reason.PATH_REMOVED,
        Reason.PARENT_NOT_READY,
        Reason.MEDIA_NOT_READY,
        Reason.HARDWARE_MISSING,
        Reason.WORKED_ON,
        Reason.DRAINED,
    }
)


def condition_of(row: Mapping[str, Any]) -> Condition:
    """The one word for people. Rows a script damaged still get a word: `failed`."""
    observed = row.get("observed") or {}
    try:
        wish = read_wish(row.get("desired") or {})
        seen = Observed(observed.get("state", Observed.ABSENT))
    except ValueError:
        return Condition.FAILED
    if wish.state is Desired.DELETED:
        failure = observed.get("failure") or {}
        return Condition.FAILED if failure.get("terminal") else Condition.DELETING
    failure = observed.get("failure") or {}
    if failure.get("terminal"):
        return Condition.FAILED
    if seen is Observed.UNKNOWN:
        return Condition.UNKNOWN
    if _is_being_stopped(seen, observed):
        return Condition.STOPPING
    if is_handled(wish, observed) and seen is not Observed.ABSENT:
        return Condition(seen.value)
    if observed.get("reason") == Reason.MAKING_TEMPLATE:
        return Condition.WAITING
    if str(observed.get("reason")) in _WAITING_REASONS and not observed.get("activity"):
        return Condition.WAITING
    transit = _TRANSIT.get((wish.state, seen))
    return transit or (Condition.CREATING if seen is Observed.ABSENT else Condition(seen.value))


def _is_being_stopped(seen: Observed, observed: Mapping[str, Any]) -> bool:
    """Also where nobody wished it: its hypervisor is being emptied."""
    activity = observed.get("activity")
    name = activity.get("name") if isinstance(activity, Mapping) else None
    return seen in (Observed.STARTED, Observed.PAUSED) and name == Activity.STOPPING


def actions_of(row: Mapping[str, Any]) -> frozenset[Action]:
    """What may be asked of this row now (permissions are another question)."""
    allowed = ACTIONS[condition_of(row)]
    if row.get("kind") != Kind.DESKTOP:
        allowed &= {Action.DELETE, Action.EDIT, Action.RETRY}
    elif condition_of(row) is Condition.FAILED:
        seen = (row.get("observed") or {}).get("state")
        running = seen in (Observed.STARTED, Observed.PAUSED)
        allowed -= {Action.START} if running else {Action.POWER_OFF}
        if running:
            allowed |= {Action.VIEW}
    return allowed
