"""The wish `stopped` for the desktops of one hypervisor at once: all, or those nobody watches.

A door for wishes beside `db.desired`, for webapp (scripts write the same with ReQL). Which desktops
are meant is told by one predicate, used by the question beforehand and by the write; the write is
one query and looks at each row once more as it changes it.

Nobody watches a desktop where the engine counted no viewer in the last minute and none was let
in within the last half minute. Where that cannot be said (just started, host lost, a count that
failed) it is kept: stopping what somebody works in is the worse mistake.
"""

from __future__ import annotations

from typing import Any

from db.connection import Database, r
from db.desired import wish_fields
from db.queries import field
from db.states import Activity, Desired, Kind, Observed

ON_IT = (Observed.STARTED.value, Observed.PAUSED.value, Observed.UNKNOWN.value)
COUNT_KEPT_S = 60
"""How long a count of viewers is believed: the engine counts every fifteen seconds."""
LET_IN_S = 30
"""Who was let in so lately may not be counted yet."""


def count_on(database: Database, hypervisor_id: str) -> dict[str, int]:
    """{"all": how many desktops would be asked to stop, "unwatched": of these nobody watches}"""
    answer: dict[str, int] = database.run(
        r.expr(
            {
                "all": _placed(hypervisor_id).count(),
                "unwatched": _unwatched(hypervisor_id).count(),
            }
        )
    )
    return answer


def stop_on(
    database: Database, hypervisor_id: str, by: str, *, unwatched_only: bool = False
) -> list[str]:
    """Write the wish; the ids of those that have it now. What is being stopped or deleted already
    is left as it is.
    """
    chosen = _unwatched(hypervisor_id) if unwatched_only else _placed(hypervisor_id)
    wish = {"desired": r.literal(wish_fields(Desired.STOPPED, by, False))}
    answer = database.run(
        chosen.update(
            lambda row: r.branch(_is_placed(row, hypervisor_id), wish, {}),
            durability="hard",
            return_changes=True,
        )
    )
    return sorted(str(change["new_val"]["id"]) for change in answer["changes"])


def _placed(hypervisor_id: str) -> Any:
    rows = r.table("domains").get_all(Kind.DESKTOP.value, index="kind")
    return rows.filter(lambda row: _is_placed(row, hypervisor_id))


def _unwatched(hypervisor_id: str) -> Any:
    lately = r.table("events").between(r.now() - LET_IN_S, r.maxval, index="at")
    let_in = lately.filter({"what": "desktop.view"})["target"].coerce_to("array")
    return _placed(hypervisor_id).filter(
        lambda row: r.and_(
            _counted_nobody(r.table("domain_stats").get(row["id"]).default({}), hypervisor_id),
            r.not_(let_in.contains(r.expr("domain/").add(row["id"]))),
        )
    )


def _counted_nobody(stats: Any, hypervisor_id: str) -> Any:
    return r.and_(
        stats["viewers"].default(None).eq(0),
        stats["hypervisor"].default(None).eq(hypervisor_id),
        stats["at"].default(r.epoch_time(0)).gt(r.now() - COUNT_KEPT_S),
    )


def _is_placed(row: Any, hypervisor_id: str) -> Any:
    """On it, or being started there; and to be up, or not to be stopped so far."""
    wished = field(row, "desired", "state")
    failure = field(row, "observed", "failure")
    has_failed = r.branch(failure.type_of().eq("OBJECT"), failure["terminal"].default(False), False)
    activity = field(row, "observed", "activity")
    name = r.branch(activity.type_of().eq("OBJECT"), activity["name"].default(""), "")
    return r.and_(
        field(row, "observed", "hypervisor").eq(hypervisor_id),
        r.or_(
            r.expr(list(ON_IT)).contains(field(row, "observed", "state")),
            name.eq(Activity.STARTING.value),
        ),
        wished.ne(Desired.DELETED.value),
        r.or_(wished.ne(Desired.STOPPED.value), has_failed.eq(True)),
    )
