"""Turns samples into the points of the windows: as they are for the finest, means for the others.

Kept in memory is only what a mean still lacks, so a restarted engine goes on where it was, and a
write never grows with what is kept: the database appends each point to the row of its chunk
(db/windows.py). One for each sampler; no input or output.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from db.windows import WINDOWS, Window

FINEST, *COARSER = sorted(WINDOWS.values(), key=lambda window: window.step_s)

Row = dict[str, Any]


@dataclass
class _Mean:
    """Of one subject over one step of a window."""

    step: int
    sums: list[float]
    counts: list[int]

    def add(self, values: Sequence[float | None]) -> None:
        for at, value in enumerate(values):
            if value is not None:
                self.sums[at] += value
                self.counts[at] += 1

    def values(self) -> list[float | None]:
        """None for a metric that no sample had."""
        return [
            round(total / count, 2) if count else None
            for total, count in zip(self.sums, self.counts, strict=True)
        ]


@dataclass
class Windows:
    """`key` names the subject's column: `domain` or `hypervisor`."""

    key: str
    metrics: tuple[str, ...]
    _means: dict[tuple[str, str], _Mean] = field(default_factory=dict)

    def add(self, subject: str, at_s: float, sample: Mapping[str, float | None]) -> list[Row]:
        """The rows to append: the sample's own point, and each mean that it completes."""
        values = [sample.get(metric) for metric in self.metrics]
        rows = [self._row(FINEST, subject, int(at_s), values)]
        for window in COARSER:
            step = int(at_s) // window.step_s * window.step_s
            mean = self._means.get((window.name, subject))
            if mean is None or mean.step != step:
                if mean is not None:
                    rows.append(self._row(window, subject, mean.step, mean.values()))
                mean = _Mean(step, [0.0] * len(values), [0] * len(values))
                self._means[window.name, subject] = mean
            mean.add(values)
        return rows

    def keep(self, subjects: Collection[str]) -> list[Row]:
        """Close the means of all others: a guest that ended has its last minutes shown too."""
        ended = [key for key in self._means if key[1] not in subjects]
        return [
            self._row(WINDOWS[name], subject, mean.step, mean.values())
            for name, subject in ended
            if (mean := self._means.pop((name, subject)))
        ]

    def _row(self, window: Window, subject: str, at_s: int, values: Sequence[float | None]) -> Row:
        return {
            "id": window.row_id(window.chunk_of(at_s), subject),
            self.key: subject,
            "window": window.name,
            "metrics": list(self.metrics),
            "points": [[at_s, *values]],
        }
