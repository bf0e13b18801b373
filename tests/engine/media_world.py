"""A World whose disk host fetches media from a server of the test's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from db.connection import r
from tests.engine.file_server import FileServer
from tests.engine.world import World


class MediaWorld:
    """A World with media rows, as a script would write them."""

    def __init__(self, world: World, server: FileServer) -> None:
        self.world, self.server = world, server

    def add(self, url: str, kind: str = "iso", sha256: str | None = None, **more: Any) -> str:
        media_id = str(uuid.uuid4())
        row = {
            "id": media_id,
            "kind": kind,
            "name": f"medium {media_id[:4]}",
            "user": "ana",
            "group": "default",
            "category": "default",
            "source": {"url": url} | ({"sha256": sha256} if sha256 else {}),
            "desired": {"state": "available"},
            **more,
        }
        assert self.world.database.run(r.table("media").insert(row))["inserted"] == 1
        return media_id

    def wish(self, media_id: str, state: str) -> None:
        desired = {"state": state, "at": r.now()}
        self.world.database.run(r.table("media").get(media_id).update({"desired": desired}))

    def observed(self, media_id: str) -> dict[str, Any]:
        row = self.world.database.run(r.table("media").get(media_id))
        return dict((row or {}).get("observed") or {})

    def wait(self, media_id: str, **fields: Any) -> dict[str, Any]:
        def is_so() -> bool:
            seen = self.observed(media_id)
            return all(seen.get(key) == value for key, value in fields.items())

        try:
            self.world.wait_until(is_so, f"the medium is {fields}", 60)
        except AssertionError as error:
            raise AssertionError(f"{self.observed(media_id)}\n{error}") from error
        return self.observed(media_id)

    def wait_failure(self, media_id: str, reason: str) -> dict[str, Any]:
        def has_failed() -> bool:
            return (self.observed(media_id).get("failure") or {}).get("reason") == reason

        self.world.wait_until(has_failed, f"fails with {reason}: {self.observed(media_id)}", 60)
        return dict(self.observed(media_id)["failure"])

    def wait_gone(self, media_id: str) -> None:
        table = r.table("media")
        self.world.wait_until(
            lambda: self.world.database.run(table.get(media_id)) is None, "the row is gone", 60
        )

    def folder(self, media_id: str) -> Path:
        return self.world.folder / "storage" / "media" / media_id

    def files(self, media_id: str) -> list[str]:
        folder = self.folder(media_id)
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def run_world() -> Iterator[MediaWorld]:
    with FileServer() as server, World() as world:
        allow = {"id": "downloads", "allow": ["127.0.0.0/8"]}
        world.database.run(r.table("config").insert(allow, conflict="replace"))
        yield MediaWorld(world, server)
