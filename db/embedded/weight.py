"""How large a datum is when it is written out, and the bound on that.

Data share structure, so a query of a few terms can make a value of a few kilobytes that would be
terabytes as JSON: `fold` over `[a, a]` doubles with each step. Whatever walks a whole value (JSON,
keys, comparison, merging, messages) asks here first. Each list or object is weighed once however
often it stands in the value, so weighing costs what the value takes in memory.
"""

from __future__ import annotations

from typing import Any, Final

from db.embedded.errors import ResourceLimitError

# A unit is a scalar or eight characters: about eight bytes of JSON.
MOST_WRITTEN: Final = 16 * 1024 * 1024
MOST_WALKED: Final = 2 * 1024 * 1024  # by Python code, which is slower
DEEPEST: Final = 250


def weigh(value: Any, depth: int = 0, known: dict[int, int] | None = None) -> int:
    """The units of a list or an object with all that is in it."""
    known = {} if known is None else known
    total = 1
    for item in value if type(value) is list else value.values():
        kind = type(item)
        if kind is list or kind is dict:
            weight = known.get(id(item))
            if weight is None:
                if depth == DEEPEST:
                    raise ResourceLimitError(f"Value nested deeper than {DEEPEST} levels.")
                weight = known[id(item)] = weigh(item, depth + 1, known)
            total += weight
        elif kind is str or kind is bytes:
            total += 1 + (len(item) >> 3)
        else:
            total += 1
    return total


def check_weight(value: Any, most: int = MOST_WALKED) -> None:
    """Refuse a value (of any kind) that would be too large."""
    if (type(value) is list or type(value) is dict) and weigh(value) > most:
        raise ResourceLimitError(f"Value over size limit: more than {most} elements in all.")
