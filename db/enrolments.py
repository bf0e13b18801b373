"""One-time passwords on their way to the engine: table `enrolments`, written and emptied here.

webapp and the command line put a sealed order, the engine drops it when it has opened it, and both
sweep what is too old, so that none outlives the other side's death. A row is replaced as a whole:
the newest order for a hypervisor counts.
"""

from __future__ import annotations

from typing import Any

from db.connection import Database, r

TABLE = "enrolments"
LIFE_S = 100.0
"""How long an order may wait, for a person to accept a key or for an engine to take over."""
LONGEST_LIFE_S = 115.0


def put(database: Database, hypervisor_id: str, sealed: bytes, order: str, by: str) -> None:
    row = {
        "id": hypervisor_id,
        "sealed": r.binary(sealed),
        "order": order,
        "by": by,
        "at": r.now(),
        "expires_at": r.now().add(LIFE_S),
    }
    database.run(r.table(TABLE).insert(row, conflict="replace", durability="hard"))


def drop(database: Database, row_id: Any, sealed: Any) -> None:
    """Forget this order; one put in its place meanwhile stays."""
    database.run(
        r.table(TABLE)
        .get(row_id)
        .replace(
            lambda row: r.branch(
                r.or_(row.eq(None), row["sealed"].default(None).eq(sealed)), None, row
            ),
            durability="hard",
        )
    )


def sweep(database: Database) -> int:
    """Remove those whose time is over, by the database's clock, or whose `expires_at` is no time of
    the near future. How many there were.
    """

    def is_over(row: Any) -> Any:
        expires_at = row["expires_at"].default(None)
        return r.or_(
            expires_at.type_of().ne("PTYPE<TIME>"),
            expires_at.lt(r.now()),
            expires_at.gt(r.now().add(LONGEST_LIFE_S)),
        )

    answer = database.run(r.table(TABLE).filter(is_over).delete(durability="hard"))
    return int(answer["deleted"])
