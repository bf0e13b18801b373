"""What is to be in a domain's drives, and whether it is there: between desktops and media.

A drive holds an ISO or floppy image by its medium's id; the path comes from what the engine itself
has observed of that medium and must be the computed one. A desktop that leaves `spec.media` out has
the medium it is installed from in its one drive; one made of a disk image has a copy of that as its
first disk. Used by the domain reconcilers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.states import MediaDesired, MediaState
from engine.domain_xml.builder import MediaFile
from engine.errors import Terminal
from engine.hypervisor.seen import SeenDomain
from engine.reconcilers import Context
from engine.reconcilers.disk_places import all_paths
from engine.storage.media_paths import check_media_path


@dataclass(frozen=True)
class Drives:
    """`files` in the row's order. `problem`: why not all of them can be used now."""

    files: tuple[MediaFile, ...] = ()
    ids: tuple[str | None, ...] = ()
    pools: frozenset[str] = frozenset()
    problem: str | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """What fires when one of them changes, or where they may lie."""
        found = [f"media/{media_id}" for media_id in dict.fromkeys(self.ids) if media_id]
        return (*found, "disk-host") if found else ()

    def wanted_in(self, seen: SeenDomain) -> tuple[str | None, ...]:
        """For each drive the guest was started with, what is to be in it. Others come with the next
        start.
        """
        isos = [file.path for file in self.files if file.kind == "iso"]
        return tuple([*isos, *([None] * len(seen.drives))][: len(seen.drives)])

    def shown_in(self, seen: SeenDomain) -> list[dict[str, Any]]:
        """For `observed.media`."""
        by_path = {
            file.path: media_id
            for file, media_id in zip(self.files, self.ids, strict=False)
            if file.path
        }
        return [{"id": by_path.get(path) if path else None} for path in seen.drives]


def find_drives(context: Context, row: Mapping[str, Any]) -> Drives:
    ids = drive_ids(context, row)
    files: list[MediaFile] = []
    pools: set[str] = set()
    problem = None
    for at, media_id in enumerate(ids):
        name = f"drive{at}"
        if media_id is None:
            files.append(MediaFile(name, None))
            continue
        medium = context.watcher.media.get(media_id)
        why = why_not_ready(medium, media_id, "iso", "floppy")
        if why is not None or medium is None:
            problem = problem or why
            continue
        try:
            pool, path = path_of(context, medium)
        except Terminal as error:
            problem = problem or error.message
            continue
        pools.add(pool)
        files.append(MediaFile(name, path, "floppy" if medium.get("kind") == "floppy" else "iso"))
    return Drives(tuple(files), tuple(ids), frozenset(pools), problem)


def drive_ids(context: Context, row: Mapping[str, Any]) -> list[str | None]:
    """The media of its drives, in order; None for an empty one. Of a valid row."""
    spec = row.get("spec")
    listed = spec.get("media") if isinstance(spec, Mapping) else None
    if isinstance(listed, list):
        return [drive.get("id") for drive in listed]
    origin = medium_of_origin(context, row)
    if origin is None or (origin[1] or {}).get("kind") == "disk":
        return []
    return [origin[0]]


def medium_of_origin(
    context: Context, row: Mapping[str, Any]
) -> tuple[str, dict[str, Any] | None] | None:
    """(id, row) of the medium it is made from, where it is."""
    media_id = (row.get("origin") or {}).get("media")
    if not isinstance(media_id, str):
        return None
    return media_id, context.watcher.media.get(media_id)


def why_not_ready(medium: Mapping[str, Any] | None, media_id: str, *kinds: str) -> str | None:
    if medium is None:
        return f"There is no medium {media_id}."
    name = medium.get("name") or media_id
    if kinds and medium.get("kind") not in kinds:
        return f"The medium {name!r} is a {medium.get('kind')} image and goes into no drive."
    observed, desired = medium.get("observed"), medium.get("desired")
    state = observed.get("state") if isinstance(observed, Mapping) else None
    wished = desired.get("state") if isinstance(desired, Mapping) else None
    if state == MediaState.AVAILABLE:
        return None
    if wished == MediaDesired.DELETED:
        return f"The medium {name!r} is being deleted."
    return f"The medium {name!r} is not available yet."


def path_of(context: Context, medium: Mapping[str, Any]) -> tuple[str, str]:
    """(pool, path) of an available medium. Raises Terminal(InvalidRow) for a path that is not the
    computed one.
    """
    observed = medium["observed"]
    pool = str(observed.get("pool") or medium.get("pool") or "default")
    allowed = all_paths(context.watcher.pools.get(pool))
    return pool, check_media_path(observed.get("path"), str(medium["id"]), allowed)
