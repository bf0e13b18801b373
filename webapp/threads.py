"""Work that would keep the one gevent loop from everything else: hashing, waiting for a disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import get_hub


def off_the_loop(function: Callable[..., Any], *arguments: Any) -> Any:
    """In a thread; the others go on meanwhile. What it raises is raised here."""
    return get_hub().threadpool.apply(function, arguments)
