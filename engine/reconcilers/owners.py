"""May the owner of this row use what it names? Networks and pools are asked about here.

Webapp asks the same before it writes, but a script may have written anything. What may not be used
is a reason to wait, not a failure: the row goes on by itself once it is shared with its owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db import queries
from db.sharing import is_allowed, pool_allowed
from engine.reconcilers import Context

EVERYBODYS = "roles"
"""Where this list is empty it is everybody's, and the owner need not be looked up."""


def may_use(context: Context, row: Mapping[str, Any], allowed: object) -> bool:
    """`row`: a domain or medium; `allowed`: of what it names. Administrators use everything. What
    the row does not say of group and category its owner's account does.
    """
    if isinstance(allowed, Mapping) and allowed.get(EVERYBODYS) == []:
        return True
    user = str(row.get("user") or "")
    owner = queries.get_row(context.database, "users", user) or {}
    role = str(owner.get("role") or "")
    return role == "admin" or is_allowed(
        allowed,
        role=role,
        category=str(row.get("category") or owner.get("category") or ""),
        group=str(row.get("group") or owner.get("group") or ""),
        user=user,
    )


def pool_refused(context: Context, row: Mapping[str, Any], pool_id: str) -> str | None:
    """Why this domain or medium may not be in that pool, or None. A pool that is not there is told
    by whoever looks for its storage.
    """
    pool = context.watcher.pools.get(pool_id)
    if pool is None or may_use(context, row, pool_allowed(pool)):
        return None
    return f"The pool {str(pool.get('name') or pool_id)!r} is not shared with its owner."
