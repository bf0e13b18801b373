"""Judges what was gathered: one finding for everything looked at, with what to do about it. Pure.

The words are those of the pages: a check's own remedy, a failure's sentence, command and answer,
and the remedies of db/remedies.py. Rows are read with suspicion: a script may have written what it
liked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from db.remedies import remedy_for
from db.rowcheck import check_domain, check_hypervisor
from db.states import Condition, HypervisorDesired, TaskState, condition_of
from engine.doctor.gathered import Gathered

OK, NOTE, WRONG = "ok", "note", "wrong"
"""A note is worth knowing and heals or waits by itself; only what is wrong counts as a failure."""

SHOWN = ("step", "hypervisor", "command", "answer")


@dataclass(frozen=True)
class Finding:
    section: str
    subject: str
    level: str
    message: str
    remedy: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    """step, hypervisor, command, answer: where something was tried."""


def judge(found: Gathered) -> list[Finding]:
    return [finding for section in SECTIONS for finding in section(found)]


def _database(found: Gathered) -> Iterator[Finding]:
    subject = found.address
    if found.problem is not None:
        remedy = "Start the database, or correct ISARD_DB_HOST, ISARD_DB_PORT and ISARD_DB_NAME."
        yield Finding("Database", subject, WRONG, found.problem, remedy)
    elif found.version != found.newest:
        older = (found.version or 0) < found.newest
        remedy = "Run `python -m db init`." if older else "Install the newer program again."
        message = f"Its schema is {found.version}, not {found.newest}."
        yield Finding("Database", subject, WRONG, message, remedy)
    else:
        yield Finding("Database", subject, OK, f"Answers; schema {found.version}.")


def _keys(found: Gathered) -> Iterator[Finding]:
    for key in found.keys:
        if not key.is_there:
            remedy = "Start the engine again by its launcher: what is missing is made then."
            yield Finding("Keys", key.title, WRONG, f"There is no file {key.path}.", remedy)
        elif key.is_open:
            message = f"Others may read {key.path}."
            yield Finding("Keys", key.title, WRONG, message, f"chmod 600 {key.path}")
        else:
            yield Finding("Keys", key.title, OK, f"{key.path}, readable by its owner alone.")


def _engine(found: Gathered) -> Iterator[Finding]:
    if found.problem is not None:
        return
    if not found.is_moving:
        yield Finding(
            "Engine",
            "lease",
            WRONG,
            "No engine is at work: wishes are kept, and what is told below may be old.",
            "Start it (`make run`, or the container `engine`) and read its log if it ends again.",
        )
        return
    holder = str(_mapping(found.lease).get("holder"))
    yield Finding("Engine", "lease", OK, f"{holder} is active.")
    loops = _mapping(_mapping(found.ticks).get("loops"))
    stuck = {
        name: loop for name, loop in loops.items() if _mapping(loop).get("healthy") is not True
    }
    for name, loop in sorted(stuck.items()):
        message = f"Has not moved for {_mapping(loop).get('age_s')} seconds."
        remedy = "It is started again by itself; if that does not help, restart the engine."
        yield Finding("Engine", f"loop {name}", WRONG, message, remedy)
    if loops and not stuck:
        yield Finding("Engine", "loops", OK, f"All {len(loops)} are alive.")


def _hypervisors(found: Gathered) -> Iterator[Finding]:
    if found.problem is None and not found.hypervisors:
        remedy = "Add one on the page Hypervisors."
        yield Finding("Hypervisors", "", WRONG, "There is none.", remedy)
    for row in sorted(found.hypervisors, key=lambda row: str(row["id"])):
        yield from _hypervisor(row)


def _hypervisor(row: Mapping[str, Any]) -> Iterator[Finding]:
    name = str(row["id"])
    problem = check_hypervisor(dict(row))
    if problem is not None:
        remedy = remedy_for("InvalidRow", administrator=True) or ""
        yield Finding("Hypervisors", name, WRONG, f"{problem.field}: {problem.message}", remedy)
        return
    seen = _mapping(row.get("observed"))
    if row["desired"]["state"] == HypervisorDesired.DISABLED:
        yield Finding("Hypervisors", name, NOTE, "It is disabled.")
        return
    failed = [
        check
        for check in _mappings(seen.get("checks"))
        if check.get("ok") is not True or check.get("level") == "warning"
    ]
    for check in failed:
        subject = f"{name}: {check.get('title') or check.get('name')}"
        remedy, level = str(check.get("remedy") or ""), check.get("level")
        level = NOTE if level == "warning" else WRONG
        yield Finding("Hypervisors", subject, level, str(check.get("message") or ""), remedy)
    state, message = str(seen.get("state") or "offline"), str(seen.get("message") or "")
    if state == "online":
        yield Finding("Hypervisors", name, OK, "Online." if failed else "Online; all checks pass.")
    elif not failed:
        remedy = remedy_for(seen.get("reason"), administrator=True) or ""
        level = NOTE if state == "connecting" else WRONG
        yield Finding("Hypervisors", name, level, message or f"It is {state}.", remedy)


def _storage(found: Gathered) -> Iterator[Finding]:
    for row in sorted(found.pools, key=lambda row: str(row["id"])):
        seen = _mapping(row.get("observed"))
        paths = _mappings(seen.get("paths"))
        for path in paths:
            subject = f"{row['id']}: {path.get('path')}"
            state, message = path.get("state"), str(path.get("message") or "")
            if state == "ok":
                yield Finding("Storage", subject, OK, f"For {path.get('use')}.")
            else:
                level = NOTE if state == "degraded" else WRONG
                remedy = str(path.get("remedy") or "")
                yield Finding("Storage", subject, level, message, remedy)
        if not paths and seen.get("message"):
            yield Finding("Storage", str(row["id"]), WRONG, str(seen["message"]))


def _desktops(found: Gathered) -> Iterator[Finding]:
    well = 0
    for row in sorted(found.domains, key=lambda row: (str(row.get("name")), str(row["id"]))):
        finding = _domain(row)
        if finding is None:
            well += 1
        else:
            yield finding
    if well:
        yield Finding("Desktops and templates", "", OK, f"{well} are as they were wished.")


def _domain(row: Mapping[str, Any]) -> Finding | None:
    section, subject = "Desktops and templates", f"{row.get('name')} ({row['id']})"
    problem = check_domain({**row, "observed": {}})
    if problem is not None:
        remedy = remedy_for("InvalidRow", administrator=True) or ""
        return Finding(section, subject, WRONG, f"{problem.field}: {problem.message}", remedy)
    seen = _mapping(row.get("observed"))
    failure = _mapping(seen.get("failure"))
    condition = condition_of({**row, "observed": {**seen, "failure": failure}})
    reason = failure.get("reason") or seen.get("reason")
    remedy = remedy_for(reason, administrator=True) or ""
    if failure:
        details = {key: str(failure[key]) for key in SHOWN if failure.get(key)}
        message = str(failure.get("message") or reason)
        return Finding(section, subject, WRONG, message, remedy, details)
    if condition in (Condition.WAITING, Condition.UNKNOWN):
        message = str(seen.get("message") or reason or condition.value)
        level = WRONG if condition is Condition.UNKNOWN else NOTE
        return Finding(section, subject, level, message, remedy)
    return None


def _media(found: Gathered) -> Iterator[Finding]:
    for row in found.media:
        failure = _mapping(_mapping(row.get("observed")).get("failure"))
        if failure:
            details = {key: str(failure[key]) for key in SHOWN if failure.get(key)}
            remedy = remedy_for(failure.get("reason"), administrator=True) or ""
            message = str(failure.get("message") or failure.get("reason"))
            subject = f"{row.get('name')} ({row['id']})"
            yield Finding("Media", subject, WRONG, message, remedy, details)


def _tasks(found: Gathered) -> Iterator[Finding]:
    """An order that failed is over: it is a note, and its target has its own say."""
    for row in found.tasks:
        seen = _mapping(row.get("observed"))
        if seen.get("state") == TaskState.FAILED:
            failure = _mapping(seen.get("failure"))
            details = {key: str(failure[key]) for key in SHOWN if failure.get(key)}
            reason = failure.get("reason") or seen.get("reason")
            message = str(failure.get("message") or seen.get("message") or reason)
            remedy = remedy_for(reason, administrator=True) or ""
            subject = f"{row.get('kind')} of {row.get('target')}"
            yield Finding("Orders", subject, NOTE, message, remedy, details)


def _orphans(found: Gathered) -> Iterator[Finding]:
    for row in sorted(found.orphans, key=lambda row: str(row["id"])):
        place = f"{row.get('hypervisor')}: {row.get('path') or row.get('domain')}"
        remedy = (
            "Remove it on the page System, or leave it: nothing is removed by itself."
            if row.get("ours") is True
            else "It is never touched."
        )
        yield Finding("Left behind", place, NOTE, str(row.get("message") or ""), remedy)


SECTIONS: tuple[Callable[[Gathered], Iterator[Finding]], ...] = (
    _database,
    _keys,
    _engine,
    _hypervisors,
    _storage,
    _desktops,
    _media,
    _tasks,
    _orphans,
)


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[dict[str, Any]]:
    return (
        [dict(one) for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
    )
