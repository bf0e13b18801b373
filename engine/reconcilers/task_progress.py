"""How far a task is: percent of the whole, speed and time left, shown about once a second.

A task is a row of steps (copy, then compare, for each disk), each with its share of the whole.
qemu-img tells the percent of what is allocated, so bytes and speed follow from what the disk takes
on its storage. Used by the task reconcilers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from db.errors import DatabaseUnavailable
from db.logs import get_logger

log = get_logger(__name__)

SHOW_S = 1.0


class Progress:
    def __init__(
        self,
        show: Callable[[Mapping[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._show, self._clock = show, clock
        self._begun_at = clock()
        self._shown_at = float("-inf")
        self._base = self._share = 0.0
        self._step = ""
        self._total_bytes: int | None = None
        self._step_at = self._begun_at
        self.host: str | None = None

    def begin(
        self, step: str, base: float = 0.0, share: float = 0.0, total_bytes: int | None = None
    ) -> None:
        """A step that makes `share` percent of the whole, after `base` percent of it."""
        self._step, self._base, self._share = step, base, share
        self._total_bytes = total_bytes
        self._step_at = self._clock()
        self._shown_at = self._step_at
        self._show({"hypervisor": self.host, "step": step, "progress": self._field(0.0)})

    def hear(self, percent: float) -> None:
        """Of the present step."""
        now = self._clock()
        if now - self._shown_at < SHOW_S:
            return
        self._shown_at = now
        changes = {"hypervisor": self.host, "step": self._step, "progress": self._field(percent)}
        try:
            self._show(changes)
        except DatabaseUnavailable as error:
            # The work goes on; how far it is can be said later.
            log.warning("progress_not_written", error=str(error))

    def _field(self, percent: float) -> dict[str, Any] | None:
        if not self._share:
            return None
        now = self._clock()
        whole = min(100.0, self._base + self._share * percent / 100)
        field: dict[str, Any] = {"percent": round(whole, 1)}
        elapsed_s = now - self._begun_at
        if whole > 0 and elapsed_s > SHOW_S:
            field["eta_s"] = round(elapsed_s * (100 - whole) / whole, 1)
        if self._total_bytes:
            done = int(self._total_bytes * percent / 100)
            field |= {"bytes": done, "total_bytes": self._total_bytes}
            if now > self._step_at:
                field["speed_bytes_s"] = round(done / (now - self._step_at))
        return field
