"""What a pool's row shows of its storage: for each path who owns it, who sees it, what is wrong and
what to do. Pure.

Composed from what the hosts last saw (engine/storage/path_facts.py), the marks by which storage is
known, and the ledger's count of disks. The same sentences stand on the pool's page and in the row,
for a script. Called by engine/reconcilers/pool.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from db.rowcheck import RowProblem, paths_of
from db.sentences import counted
from db.states import Reason
from engine.storage.path_facts import PathFacts

OK, DEGRADED, FAILED = "ok", "degraded", "failed"


@dataclass(frozen=True)
class HostView:
    """A hypervisor as a pool sees it."""

    id: str
    runs_desktops: bool
    works_on_disks: bool
    away: str | None = None
    """Why it is not asked now."""
    facts: Mapping[str, PathFacts] = field(default_factory=dict)


@dataclass(frozen=True)
class _Finding:
    message: str
    remedy: str = ""
    is_known: bool = True
    """False: not looked at yet, which is no fault."""


def describe_pool(
    row: Mapping[str, Any],
    hosts: Sequence[HostView],
    marks: Mapping[str, str],
    disks: Mapping[str, int],
    waiting: int,
) -> dict[str, Any]:
    """`observed` of a valid pool. `marks`: path -> recorded mark; `disks`: path -> how many."""
    paths = [
        describe_path(use, entry, hosts, marks.get(str(entry["path"])), disks)
        for use in row["paths"]
        for entry in paths_of(row, use)
    ]
    listed = {path["path"] for path in paths}
    removed = [
        {"path": path, "disks": count}
        for path, count in sorted(disks.items())
        if path not in listed
    ]
    worst = next((path for path in paths if path["state"] == FAILED), None)
    worst = worst or next((path for path in paths if path["state"] == DEGRADED), None)
    message = f"{worst['path']}: {worst['message']}" if worst else None
    if worst is None and removed:
        first = str(removed[0]["path"])
        disks_lie = counted(disks[first], "disk lies", "disks lie")
        message = f"{disks_lie} in {first}, which is not listed."
    state = worst["state"] if worst else DEGRADED if removed else OK
    return {
        "state": state,
        "reason": _reason(state, bool(worst)),
        "message": message,
        "paths": paths,
        "removed": removed,
        "waiting": waiting,
    }


def describe_invalid(problem: RowProblem) -> dict[str, Any]:
    return {
        "state": FAILED,
        "reason": Reason.INVALID_ROW.value,
        "message": problem.message,
        "paths": [],
        "removed": [],
        "waiting": 0,
    }


def describe_path(
    use: str,
    entry: Mapping[str, Any],
    hosts: Sequence[HostView],
    recorded: str | None,
    disks: Mapping[str, int],
) -> dict[str, Any]:
    path = str(entry["path"])
    named = [str(name) for name in entry.get("disk_operations") or []]
    owners = set(named) or {host.id for host in hosts if host.works_on_disks}
    known = {host.id: host for host in hosts}
    shown: list[dict[str, Any]] = []
    problems: list[_Finding] = []
    working = 0
    for name in sorted(owners | set(known)):
        is_owner = name in owners
        if not is_owner and not known[name].runs_desktops:
            continue
        found = _look(path, known.get(name), is_owner, recorded)
        faulty = found.remedy != ""
        working += is_owner and not faulty and found.is_known
        if faulty:
            problems.append(_Finding(f"{name} {found.message}", found.remedy))
        shown.append({"id": name, "owner": is_owner, "ok": not faulty, "message": found.message})
    seen = [host.facts[path] for host in hosts if path in host.facts]
    if not owners:
        problems.append(
            _Finding("no host of the pool works on disks", "Add a host that does disk operations.")
        )
    failed = bool(problems) and not working
    first = problems[0] if problems else _Finding("")
    sizes = [one for one in seen if one.size_bytes and one.free_bytes is not None]
    tightest = min(sizes, key=lambda one: one.free_bytes or 0, default=None)
    return {
        "use": use,
        "path": path,
        "state": FAILED if failed else DEGRADED if problems else OK,
        "hosts": shown,
        "same_storage": all(one.path_id == recorded for one in seen) if recorded and seen else None,
        "free_bytes": tightest.free_bytes if tightest else None,
        "size_bytes": tightest.size_bytes if tightest else None,
        "disks": disks.get(path, 0),
        "message": first.message,
        "remedy": first.remedy,
    }


def _look(path: str, host: HostView | None, is_owner: bool, recorded: str | None) -> _Finding:
    """A remedy is given exactly where something is wrong."""
    if host is None:
        return _Finding(
            "is named as an owner, but is no hypervisor of this pool",
            "Correct the path's owners, or add that hypervisor to the pool.",
        )
    if is_owner and not host.works_on_disks:
        return _Finding(
            "is named as an owner, but does no disk operations",
            "Let it do disk operations, or name other owners.",
        )
    if host.away is not None:
        return _Finding(host.away, "See the hypervisor's own page.")
    facts = host.facts.get(path)
    if facts is None:
        return _Finding("has not been looked at yet", is_known=False)
    problem = facts.problem(recorded)
    if problem is not None and (is_owner or facts.foreign or recorded is not None):
        if problem == "cannot write there" and not is_owner:
            return _Finding("sees it, read-only")
        return _Finding(problem, f"Mount the pool's storage at {path} on it, read-write.")
    if not facts.there:
        return _Finding("will make it at first use" if is_owner else "does not have it yet")
    if is_owner and facts.is_full:
        return _Finding("has less than 1 GiB free there", "Free some space, or add a path.")
    return _Finding("works on it" if is_owner else "sees it")


def _reason(state: str, of_path: bool) -> str | None:
    if state == OK:
        return None
    return Reason.NO_DISK_HOST.value if of_path else Reason.PATH_REMOVED.value
