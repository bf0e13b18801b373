"""How far a transfer is and how fast it goes, from sizes noted along the way. Used for what
`observed.progress` shows of a download.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

WINDOW_S = 6.0
"""The speed shown is that of the last seconds: neither jumpy nor an average of the whole night."""


class Pace:
    def __init__(self, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock = total, clock
        self._noted: deque[tuple[float, int]] = deque()
        self.now_s = clock()

    def note(self, size: int) -> None:
        self.now_s = self._clock()
        self._noted.append((self.now_s, size))
        while len(self._noted) > 2 and self._noted[0][0] < self.now_s - WINDOW_S:
            self._noted.popleft()

    def as_progress(self) -> dict[str, Any]:
        """What is not known is left out."""
        (first_s, first), (last_s, last) = self._noted[0], self._noted[-1]
        speed = (last - first) / (last_s - first_s) if last_s > first_s else 0.0
        progress: dict[str, Any] = {"bytes": last, "speed_bytes_s": round(max(0.0, speed))}
        if self._total:
            progress |= {
                "total_bytes": self._total,
                "percent": round(min(100.0, last * 100 / self._total), 1),
            }
            if speed > 0:
                progress["eta_s"] = round((self._total - last) / speed)
        return progress
