"""Where disks and media lie: made if missing, never touched if there (they may be mounts)."""

from __future__ import annotations

from pathlib import Path

from hyper_image.manual.finding import Change, Finding, Options, missing, ok

STORAGE = Path("/opt/isard")
NAMES = ("bases", "templates", "groups", "media")


def look_at_folders(_: Options) -> list[Finding]:
    return [look_at_folder(STORAGE / name) for name in NAMES]


def look_at_folder(folder: Path) -> Finding:
    if folder.is_dir():
        return ok(f"{folder}")
    if folder.is_symlink() or folder.exists():
        return missing(f"{folder} is no folder", "move it away, or mount what it should lead to")
    todo = f"mkdir -p {folder}, or mount the shared storage there"
    return missing(
        f"{folder}",
        todo,
        Change(f"mkdir -p {folder}", lambda: folder.mkdir(mode=0o755, parents=True, exist_ok=True)),
    )
