"""Terms on times."""

from __future__ import annotations

from db.embedded.datum import Time
from db.embedded.env import Env
from db.embedded.registry import term


@term("NOW", 103)
def now(env: Env) -> Time:
    return env.now
