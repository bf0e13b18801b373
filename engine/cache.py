"""What the engine keeps in memory of the tables it follows: enough to know whom to wake and who
takes how much room, and nothing that a decision is taken from (that is read anew each time).

A domain is kept as a small Digest, read with suspicion because a script may have written anything.
Written by engine/watcher.py, and by the reconcilers right after they have written `observed`, so
that two placements in a row count each other without waiting for the feed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from db.states import Desired, Kind, Reason
from engine.capacity import Request
from engine.storage.paths import derive_mac
from engine.turns import Waiting

QUEUED = frozenset({Reason.NO_CAPACITY, Reason.NO_HYPERVISOR})
"""Reasons to wait in the queue of the pool: hosts that are away come back, as after a restart."""
OWN_WRITES = 4
"""How many of our last writes to a row are known again when the feed brings them back."""


@dataclass(frozen=True, slots=True)
class Digest:
    """One domain. `wishes` changes when anything but `observed` does; `sight` when `observed` does
    in a way that matters.
    """

    id: Hashable
    kind: str
    template: str | None
    hypervisor: str | None
    memory_mib: int
    vcpus: int
    wishes: int
    sight: Hashable
    wished_at: datetime | None
    request: Request
    """What it needs, as far as the row alone says."""
    queue: tuple[datetime, int, int] | None = None
    """(since, place, of how many) while it waits for room."""
    macs: tuple[str, ...] = ()
    is_new: bool = False
    """No engine has written what it saw of it."""


@dataclass(frozen=True)
class Usage:
    """What the desktops placed on one host take."""

    domains: int = 0
    memory_mib: int = 0
    vcpus: int = 0


@dataclass(frozen=True)
class DomainChange:
    """What a change of one domain row means to others. `ours`: it is only what we wrote."""

    before: Digest | None
    after: Digest | None
    ours: bool

    @property
    def frees_room(self) -> bool:
        host = self.before.hypervisor if self.before else None
        return host is not None and (self.after is None or self.after.hypervisor != host)


def digest_row(row: Mapping[str, Any]) -> Digest:
    observed = _mapping(row.get("observed"))
    spec = _mapping(row.get("spec"))
    origin = _mapping(row.get("origin"))
    at = _mapping(row.get("desired")).get("at")
    rest = {key: value for key, value in row.items() if key not in ("observed", "accessed_at")}
    return Digest(
        id=row["id"],
        kind=str(row.get("kind")),
        template=_text(origin.get("template")),
        hypervisor=_text(observed.get("hypervisor")),
        memory_mib=_count(spec.get("memory_mib"), 512),
        vcpus=_count(spec.get("vcpus"), 1),
        wishes=hash(repr(sorted(rest.items(), key=str))),
        sight=_sight(row.get("observed")),
        wished_at=at if isinstance(at, datetime) else None,
        request=_request(row, spec),
        queue=_queue(row, observed),
        macs=_macs(row["id"], spec),
        is_new="epoch" not in observed,
    )


def _request(row: Mapping[str, Any], spec: Mapping[str, Any]) -> Request:
    placement, cards = _mapping(row.get("placement")), spec.get("interfaces")
    return Request(
        pool=_text(placement.get("pool")) or "default",
        memory_mib=_count(spec.get("memory_mib"), 512),
        vcpus=_count(spec.get("vcpus"), 1),
        forced=_text(placement.get("forced_hypervisor")),
        favourite=_text(placement.get("favourite_hypervisor")),
        networks=tuple(
            str(_mapping(card).get("id")) for card in (cards if isinstance(cards, list) else ())
        ),
    )


def _queue(row: Mapping[str, Any], observed: Mapping[str, Any]) -> tuple[datetime, int, int] | None:
    shown = _mapping(observed.get("queue"))
    wished = _mapping(row.get("desired")).get("state") == Desired.STARTED
    waits = wished and str(observed.get("reason")) in QUEUED
    since = shown.get("since")
    if not waits or observed.get("hypervisor") or not isinstance(since, datetime):
        return None
    return since, _count(shown.get("position"), 0), _count(shown.get("of"), 0)


def _macs(domain_id: Hashable, spec: Mapping[str, Any]) -> tuple[str, ...]:
    cards = spec.get("interfaces")
    return tuple(
        (_text(_mapping(card).get("mac")) or derive_mac(str(domain_id), at)).lower()
        for at, card in enumerate(cards if isinstance(cards, list) else ())
    )


def _sight(observed: Any) -> Hashable:
    if not isinstance(observed, Mapping):
        return repr(observed)
    failure, activity = _mapping(observed.get("failure")), _mapping(observed.get("activity"))
    parts = [observed.get(key) for key in ("state", "hypervisor", "reason", "epoch", "message")]
    parts += [failure.get("reason"), failure.get("attempts"), activity.get("name")]
    parts += [repr(observed.get("queue"))]
    return repr(parts)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any, default: int) -> int:
    return int(value) if isinstance(value, int | float) and 0 < value < 2**40 else default


class Domains:
    """Digests of table `domains`. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[Hashable, Digest] = {}
        self._on_host: dict[str, set[Hashable]] = {}
        self._children: dict[str, set[Hashable]] = {}
        self._waiting: set[Hashable] = set()
        self._own: dict[Hashable, deque[Hashable]] = {}

    def put(self, row: Mapping[str, Any]) -> DomainChange:
        """A row as the feed brought it."""
        digest = digest_row(row)
        with self._lock:
            before = self._rows.get(digest.id)
            echoed = digest.sight in self._own.get(digest.id, ())
            if before and echoed:
                # The feed may still be behind what we have written since.
                kept = before.queue if digest.queue or before.wishes == digest.wishes else None
                digest = replace(
                    digest, hypervisor=before.hypervisor, sight=before.sight, queue=kept
                )
            self._store(digest)
            unchanged = before is not None and before.sight == digest.sight
            ours = before is not None and before.wishes == digest.wishes and (echoed or unchanged)
            return DomainChange(before, digest, ours)

    def note_written(self, row: Mapping[str, Any], observed: Mapping[str, Any]) -> DomainChange:
        """What this engine has just written, ahead of the feed."""
        with self._lock:
            before = self._rows.get(row["id"])
            known = digest_row({**row, "observed": observed})
            digest = replace(known, wishes=before.wishes) if before else known
            own = self._own.setdefault(digest.id, deque(maxlen=OWN_WRITES))
            own.append(digest.sight)
            self._store(digest)
            return DomainChange(before, digest, True)

    def remove(self, row_id: Hashable) -> DomainChange:
        with self._lock:
            before = self._rows.pop(row_id, None)
            self._own.pop(row_id, None)
            if before:
                self._unlink(before)
            return DomainChange(before, None, False)

    def get(self, row_id: Hashable) -> Digest | None:
        with self._lock:
            return self._rows.get(row_id)

    def ids(self) -> list[Hashable]:
        with self._lock:
            return list(self._rows)

    def on_host(self, hypervisor: str) -> list[Hashable]:
        with self._lock:
            return list(self._on_host.get(hypervisor, ()))

    def children_of(self, template: str) -> list[Hashable]:
        with self._lock:
            return list(self._children.get(template, ()))

    def waiting(self, pool: str) -> list[Waiting]:
        """Who waits for room in this pool, in no order."""
        with self._lock:
            digests = [self._rows[row_id] for row_id in self._waiting]
        return [
            Waiting(digest.id, digest.request, digest.queue[0])
            for digest in digests
            if digest.queue and digest.request.pool == pool
        ]

    def pools_waited_for(self) -> set[str]:
        with self._lock:
            return {self._rows[row_id].request.pool for row_id in self._waiting}

    def using_mac(self, macs: Collection[str], without: Hashable) -> list[Digest]:
        """Other domains that are placed somewhere and have one of these hardware addresses."""
        wanted = set(macs)
        with self._lock:
            placed = [row_id for ids in self._on_host.values() for row_id in ids]
            return [
                self._rows[row_id]
                for row_id in placed
                if row_id != without and wanted.intersection(self._rows[row_id].macs)
            ]

    def usage(self, hypervisor: str, without: Hashable = None) -> Usage:
        with self._lock:
            digests = [
                self._rows[row_id]
                for row_id in self._on_host.get(hypervisor, ())
                if row_id != without
            ]
        return Usage(
            len(digests),
            sum(digest.memory_mib for digest in digests),
            sum(digest.vcpus for digest in digests),
        )

    def _store(self, digest: Digest) -> None:
        before = self._rows.get(digest.id)
        if before:
            self._unlink(before)
        self._rows[digest.id] = digest
        if digest.hypervisor:
            self._on_host.setdefault(digest.hypervisor, set()).add(digest.id)
        if digest.template and digest.kind == Kind.DESKTOP:
            self._children.setdefault(digest.template, set()).add(digest.id)
        if digest.queue:
            self._waiting.add(digest.id)

    def _unlink(self, digest: Digest) -> None:
        self._waiting.discard(digest.id)
        for index, key in ((self._on_host, digest.hypervisor), (self._children, digest.template)):
            members = index.get(key) if key else None
            if key and members is not None:
                members.discard(digest.id)
                if not members:
                    del index[key]


class Rows:
    """Whole rows of a small table (pools, hypervisors, interfaces, interests). Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[Hashable, dict[str, Any]] = {}

    def put(self, row: dict[str, Any]) -> None:
        with self._lock:
            self._rows[row["id"]] = row

    def remove(self, row_id: Hashable) -> None:
        with self._lock:
            self._rows.pop(row_id, None)

    def get(self, row_id: Hashable) -> dict[str, Any] | None:
        with self._lock:
            return self._rows.get(row_id)

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._rows.values())
