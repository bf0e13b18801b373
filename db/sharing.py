"""Who may use what is shared: the one reading of every `allowed` field. Pure.

Each of its four lists is False (nobody), empty (everybody) or some ids; one that fits is enough. A
row without `allowed` is shared with nobody; a pool without it is everybody's. Asked by webapp for
people, and by the engine for the owner of a row that a script may have written.
"""

from __future__ import annotations

from collections.abc import Mapping


def is_allowed(allowed: object, *, role: str, category: str, group: str, user: str) -> bool:
    if not isinstance(allowed, Mapping):
        return False
    mine = {"roles": role, "categories": category, "groups": group, "users": user}
    return any(
        isinstance(allowed.get(key), list) and (not allowed[key] or value in allowed[key])
        for key, value in mine.items()
    )


def pool_allowed(pool: Mapping[str, object]) -> object:
    """The `allowed` of a pool. One that says nothing of it is everybody's: what is in a pool comes
    from a template or medium that was shared already.
    """
    allowed = pool.get("allowed")
    return {"roles": []} if allowed is None else allowed
