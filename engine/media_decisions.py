"""Decides what to do about one medium: (row, facts, now) -> action. Pure.

The table has every wish against every state; what the facts add is whether the storage can be
worked on, what the ledger says was begun, and who uses the medium. engine/reconcilers/media.py
gathers the facts, performs the action and writes what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.media_states import MediaWish, is_media_handled, read_media_wish
from db.sentences import counted
from db.states import MediaDesired, MediaState, Reason


@dataclass(frozen=True)
class MediaFacts:
    host_problem: str | None = None
    """Why no host can work on its storage now."""
    pool_refused: str | None = None
    """Why its owner may bring nothing into its pool."""
    recorded: bool = False
    """The ledger says that there may be something of it on a storage."""
    deletion_begun: bool = False
    users: tuple[str, ...] = ()
    """Names of the desktops and templates that use it; looked for only where it is to go."""


@dataclass(frozen=True)
class Rest:
    """Nothing to do. `finished`: the wish is reached. `until`: look again then."""

    finished: bool = False
    until: datetime | None = None


@dataclass(frozen=True)
class Wait:
    reason: Reason
    message: str
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Fetch:
    """Have its file on the storage: found there, or fetched."""


@dataclass(frozen=True)
class RemoveFiles:
    """Whatever is there of it; the row stays."""


@dataclass(frozen=True)
class RemoveRow:
    pass


@dataclass(frozen=True)
class Fail:
    """Terminal: waits for a new wish."""

    reason: Reason
    message: str


MediaActionToDo = Rest | Wait | Fetch | RemoveFiles | RemoveRow | Fail


@dataclass(frozen=True)
class MediaDecision:
    wish: MediaWish
    state: MediaState
    action: MediaActionToDo


@dataclass(frozen=True)
class _Case:
    observed: Mapping[str, Any]
    wish: MediaWish
    is_new: bool
    facts: MediaFacts


def decide_media(row: Mapping[str, Any], facts: MediaFacts, now: datetime) -> MediaDecision:
    """For a valid row (db/rowcheck.py has judged it)."""
    observed = row.get("observed")
    observed = observed if isinstance(observed, Mapping) else {}
    wish = read_media_wish(row["desired"])
    if facts.deletion_begun:
        # Once begun it is final, whatever a script wishes since.
        wish = MediaWish(MediaDesired.DELETED, wish.at)
    state = seen_state(observed)
    case = _Case(observed, wish, not is_media_handled(wish, observed), facts)
    return MediaDecision(wish, state, _gate(case, now) or RULES[wish.state, state](case))


def seen_state(observed: Mapping[str, Any]) -> MediaState:
    try:
        return MediaState(str(observed.get("state")))
    except ValueError:
        return MediaState.ABSENT


def _gate(case: _Case, now: datetime) -> MediaActionToDo | None:
    """Failures come first: a terminal one waits for a new wish, the other for its time."""
    failure = case.observed.get("failure")
    if not isinstance(failure, Mapping) or failure.get("reason") == Reason.INVALID_ROW:
        return None
    if failure.get("terminal") is True:
        return None if case.is_new or case.facts.deletion_begun else Rest()
    retry_at = failure.get("retry_at")
    same = failure.get("wish") == {"state": case.wish.state.value, "at": case.wish.at}
    if isinstance(retry_at, datetime) and now < retry_at and same:
        return Rest(until=retry_at)
    return None


def _fetch(case: _Case) -> MediaActionToDo:
    if case.facts.pool_refused:
        return Wait(Reason.POOL_REFUSED, case.facts.pool_refused, ("disk-host",))
    if case.facts.host_problem:
        return Wait(Reason.NO_DISK_HOST, case.facts.host_problem, ("disk-host",))
    return Fetch()


def _keep(case: _Case) -> MediaActionToDo:
    """Available already: a new wish has the file looked at again."""
    return _fetch(case) if case.is_new else Rest()


def _clear(case: _Case) -> MediaActionToDo:
    """Wished absent."""
    if not case.facts.recorded:
        return Rest(finished=True)
    return _free(case) or RemoveFiles()


def _delete(case: _Case) -> MediaActionToDo:
    if not case.facts.recorded:
        return _used(case) or RemoveRow()
    return _free(case) or RemoveFiles()


def _free(case: _Case) -> MediaActionToDo | None:
    """Why its files cannot go now."""
    used = None if case.facts.deletion_begun else _used(case)
    if used is None and case.facts.host_problem:
        return Wait(Reason.NO_DISK_HOST, case.facts.host_problem, ("disk-host",))
    return used


def _used(case: _Case) -> MediaActionToDo | None:
    users = case.facts.users
    if not users:
        return None
    names = ", ".join(repr(name) for name in users[:3]) + (" and others" if users[3:] else "")
    use = counted(len(users), "desktop or template uses", "desktops or templates use")
    what = f"{use} it: {names}."
    return Fail(Reason.IN_USE, f"{what} Take it out there first; nothing was deleted.")


RULES: dict[tuple[MediaDesired, MediaState], Callable[[_Case], MediaActionToDo]] = {
    **{(MediaDesired.AVAILABLE, state): _fetch for state in MediaState},
    (MediaDesired.AVAILABLE, MediaState.AVAILABLE): _keep,
    **{(MediaDesired.ABSENT, state): _clear for state in MediaState},
    **{(MediaDesired.DELETED, state): _delete for state in MediaState},
}
"""Every wish against every state. Downloading, failed or half deleted, a medium that is wanted is
fetched (what is there already is found), and one that is not wanted is cleared away.
"""
