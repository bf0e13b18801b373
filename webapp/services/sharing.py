"""With whom templates, media, pools and networks are shared: only with who is there.

A name that is mistyped would share with nobody, and say nothing. What a row names already may stay:
its group may have gone, or a script may have written it before the group was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db import queries
from webapp.auth.permissions import ROLES
from webapp.errors import Problem
from webapp.extensions import database
from webapp.pool_payloads import SHARING
from webapp.tidy import as_list, as_mapping

TOLD = 5
"""So many names that are missing are told at most."""


def require_known(changes: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
    """Raises 422, naming the list, where the `allowed` of what is written names somebody who is not
    there. `before`: the row as it is, if there is one.
    """
    allowed = as_mapping(changes.get("allowed"))
    present = as_mapping((before or {}).get("allowed"))
    for kind, word in SHARING.items():
        kept = as_list(present.get(kind))
        named = [one for one in as_list(allowed.get(kind)) if one not in kept]
        known = _known(kind, named)
        missing = [repr(one) for one in dict.fromkeys(named) if one not in known]
        if missing:
            text = f"There is no {word} {' or '.join(missing[:TOLD])}."
            reason = f"NoSuch{word.capitalize()}"
            raise Problem(422, reason, text, field=f"allowed.{kind}")


def _known(kind: str, ids: list[str]) -> set[str]:
    if kind == "roles":
        return set(ROLES)
    return {row["id"] for row in queries.get_rows(database(), kind, ids)}
