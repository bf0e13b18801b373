"""What one host sees at a pool's paths: there, writable, how much is free, whose storage it is.

One command for all paths of a host; reading its answer is pure. A path counts as usable unless
something speaks against it, so a host that was not looked at yet is not kept from working. Used by
engine/loops/storage.py, which looks every few seconds, and by whoever chooses a host for a disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.storage.paths import MARKER_NAME

FREE_MIN_BYTES = 1024**3
"""With less than this nothing new is put there."""
ROUND_BYTES = 64 * 1024**2
"""Numbers are rounded to this, so that a busy storage does not rewrite its pool's row all day."""

PROGRAM = f"""
for path do
  there=no writable=no
  [ -d "$path" ] && there=yes
  [ -w "$path" ] && writable=yes
  near=$path
  while [ ! -d "$near" ]; do near=${{near%/*}}; [ -n "$near" ] || near=/; done
  space=$(df -Pk -- "$near" | awk 'NR == 2 {{print $2, $4}}')
  mark=$(head -c 4096 -- "$path/{MARKER_NAME}" 2>/dev/null | tr -d '\\n\\t')
  printf '%s\\t%s\\t%s\\t%s\\n' "$there" "$writable" "$space" "$mark"
done
"""
"""PATH … -> a line each, in order."""


@dataclass(frozen=True)
class PathFacts:
    there: bool
    writable: bool
    size_bytes: int | None
    free_bytes: int | None
    path_id: str | None
    """From its mark, where that is this installation's."""
    foreign: bool = False
    """It carries another installation's mark."""

    def problem(self, recorded: str | None) -> str | None:
        """Why no disk can be worked on here; None where nothing speaks against it. `recorded`: the
        mark the path is known by, if it was used before.
        """
        if self.foreign:
            return "holds the storage of another installation"
        if recorded is not None and self.path_id is None:
            return "does not have the storage mounted: its mark is not there"
        if recorded is not None and self.path_id != recorded:
            return "has another storage mounted there: its mark is not the recorded one"
        if self.there and not self.writable:
            return "cannot write there"
        return None

    @property
    def is_full(self) -> bool:
        return self.free_bytes is not None and self.free_bytes < FREE_MIN_BYTES


def look_argv(paths: Sequence[str]) -> list[str]:
    return ["sh", "-c", PROGRAM, "isard", *paths]


def read_facts(text: str, paths: Sequence[str], installation: str) -> dict[str, PathFacts]:
    """What PROGRAM printed. Lines that are missing say nothing."""
    return {
        path: _read_line(line, installation)
        for path, line in zip(paths, text.splitlines(), strict=False)
    }


def _read_line(line: str, installation: str) -> PathFacts:
    there, writable, space, mark = [*line.split("\t"), "", "", "", ""][:4]
    size, free = [*space.split(), "", ""][:2]
    owner, path_id = _read_mark(mark)
    ours = owner == installation
    return PathFacts(
        there=there == "yes",
        writable=writable == "yes",
        size_bytes=_bytes_of_kib(size),
        free_bytes=_bytes_of_kib(free),
        path_id=path_id if ours else None,
        foreign=bool(owner) and not ours,
    )


def _read_mark(text: str) -> tuple[str, str | None]:
    try:
        mark = json.loads(text)
    except ValueError:
        return "", None
    if not isinstance(mark, Mapping):
        return "", None
    path_id = mark.get("path_id")
    return str(mark.get("installation") or ""), path_id if isinstance(path_id, str) else None


def _bytes_of_kib(text: str) -> int | None:
    return int(text) * 1024 // ROUND_BYTES * ROUND_BYTES if text.isdigit() else None
