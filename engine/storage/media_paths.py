"""Where the file of a medium lies: `<pool path>/<media id>/<media id>.<extension>`. Pure.

Nothing of the name comes from an address or from a person. The same rules as for disks
(engine.storage.paths): a path from anywhere else must have exactly this shape. Called by the media
reconciler, engine.storage.downloads and whoever puts a medium into a desktop.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from db.rowcheck import is_uuid
from db.states import Reason
from engine.errors import Terminal
from engine.storage.paths import check_pool_path, locks_folder

EXTENSIONS = ("iso", "img", "qcow2", "vmdk", "vdi", "ova")


@dataclass(frozen=True)
class MediaPlace:
    """The folder of one medium. `unfinished` keeps its name, so that a download goes on."""

    pool_path: str
    media_id: str

    @property
    def folder(self) -> str:
        return f"{self.pool_path}/{self.media_id}"

    @property
    def unfinished(self) -> str:
        return f"{self.folder}/.{self.media_id}.part"

    def path(self, extension: str) -> str:
        if extension not in EXTENSIONS:
            raise ValueError(f"no medium is a .{extension}")
        return f"{self.folder}/{self.media_id}.{extension}"

    def lock(self, installation: str) -> str:
        return f"{locks_folder(self.pool_path, installation)}/{self.media_id}.media"


def place_media(pool_path: str, media_id: str) -> MediaPlace:
    """Raises Terminal(InvalidRow) for what cannot be part of a path."""
    check_pool_path(pool_path)
    if not is_uuid(media_id):
        raise Terminal(Reason.INVALID_ROW, f"{media_id!r} is not a medium's id.", step="paths")
    return MediaPlace(pool_path, media_id)


def check_media_path(path: object, media_id: str, pool_paths: Collection[str]) -> str:
    """A path that a row recorded: of this medium, and inside one of the pool's paths."""
    for pool_path in pool_paths:
        place = place_media(pool_path, media_id)
        if path in [place.path(extension) for extension in EXTENSIONS]:
            return str(path)
    raise Terminal(
        Reason.INVALID_ROW, f"The medium's file {path!r} is outside the pool's paths.", step="paths"
    )
