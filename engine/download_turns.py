"""Who may take up a worker of a lane for hours, so that what waits is not stuck inside the lane.

A job that waits in a lane holds its key and cannot be called off. So what may last long takes a
turn first, outside; without one it waits for the topic that is called like the lane. Used by
engine/reconcilers/media.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from engine.executor import download_lane


class Turns:
    """As many downloads on a host at once as its lane has workers. The others wait for the topic
    that is called like the lane.
    """

    def __init__(self, size: int, fire: Callable[[str], None]) -> None:
        self._size, self._fire = size, fire
        self._lock = threading.Lock()
        self._taken: dict[Any, str] = {}

    def take(self, hypervisor: str, media_id: Any) -> bool:
        with self._lock:
            if self._taken.get(media_id) == hypervisor:
                return True
            if list(self._taken.values()).count(hypervisor) >= self._size:
                return False
            self._taken[media_id] = hypervisor
            return True

    def give_back(self, media_id: Any) -> None:
        with self._lock:
            hypervisor = self._taken.pop(media_id, None)
        if hypervisor is not None:
            self._fire(download_lane(hypervisor))
