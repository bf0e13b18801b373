"""The windows that statistics are kept in, and how their rows are named. Pure.

One row holds the points of one subject over one stretch of time (a chunk), so a new point is one
small append, a window is read by its few keys, and what is too old goes by a range of keys. Each
window has its own step: fine for the last minutes, coarse for the month. The engine writes them
(engine/loops/windows.py), webapp draws them (webapp/services/stats.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    name: str
    step_s: int
    """What one point stands for."""
    chunk_s: int
    """What one row stands for."""
    keep_s: int

    def chunk_of(self, at_s: float) -> int:
        """Where the chunk that a moment falls into begins."""
        return int(at_s) // self.chunk_s * self.chunk_s

    def row_id(self, chunk: int, subject: str) -> str:
        return f"{self.name}/{chunk:012d}/{subject}"

    def ids_since(self, subject: str, now_s: float) -> Iterator[str]:
        """The rows that hold the whole window as it is now, oldest first."""
        first = self.chunk_of(now_s - self.keep_s)
        for chunk in range(first, int(now_s) + 1, self.chunk_s):
            yield self.row_id(chunk, subject)

    def expired_ids(self, now_s: float) -> tuple[str, str]:
        """The range of keys (from, up to but not with) in which every point is too old."""
        return f"{self.name}/", f"{self.name}/{self.chunk_of(now_s - self.keep_s):012d}/"


WINDOWS: dict[str, Window] = {
    window.name: window
    for window in (
        Window("10m", 5, 120, 600),
        Window("24h", 60, 7_200, 86_400),
        Window("30d", 900, 86_400, 30 * 86_400),
    )
}

DOMAIN_METRICS = (
    "cpu_percent",
    "memory_mib",
    "resident_mib",
    "net_received_bytes_s",
    "net_sent_bytes_s",
    "disk_read_bytes_s",
    "disk_written_bytes_s",
    "viewers",
)
"""`cpu_percent`: 100 is one processor. `memory_mib` is what the guest was given, `resident_mib`
what its process holds. `viewers`: open connections to its screen.
"""
HYPERVISOR_METRICS = (
    "cpu_percent",
    "memory_mib",
    "memory_used_mib",
    "net_received_bytes_s",
    "net_sent_bytes_s",
    "disk_read_bytes_s",
    "disk_written_bytes_s",
    "viewers",
    "domains",
)
"""`cpu_percent`: 100 is all processors of the host. Network, disk and viewers are the sums over its
desktops.
"""
