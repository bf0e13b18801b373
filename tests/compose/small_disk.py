"""A disk of its own for a stack: it can be filled, made read-only and mended while everything runs.

A tmpfs where the tests' Docker engine runs; the machine's own disks are not touched.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.compose.docker_engine import DockerEngine

SIZE_MIB = 3072
"""Only a bound: what is not written takes no memory."""
BLOCK = bytes(64 * 1024)


class SmallDisk:
    def __init__(self, engine: DockerEngine, folder: Path) -> None:
        self._engine, self.folder = engine, folder
        self.here = engine.seen_from_here(folder)
        """The same folder as this process reaches it."""

    def mount(self) -> None:
        options = f"size={SIZE_MIB}m,mode=755"
        self._engine.on_its_disks("mount", "-t", "tmpfs", "-o", options, "disk", str(self.folder))

    def unmount(self) -> None:
        self._engine.on_its_disks("umount", "--lazy", str(self.folder))

    def fill(self) -> None:
        """Not one block is left."""
        used_kib = (self._stat().f_blocks - self._stat().f_bfree) * self._stat().f_frsize // 1024
        self._remount(f"size={used_kib + 512}k")
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            self._write_on_and_on()

    def free(self) -> None:
        (self.here / "filler").unlink(missing_ok=True)
        self._remount(f"size={SIZE_MIB}m")

    def make_read_only(self) -> None:
        """Nobody may have a file open for writing."""
        self._remount("ro")

    def make_writable(self) -> None:
        self._remount("rw")

    def _remount(self, options: str) -> None:
        self._engine.on_its_disks("mount", "-o", f"remount,{options}", str(self.folder))

    def _write_on_and_on(self) -> None:
        with (self.here / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(BLOCK)

    def _stat(self) -> os.statvfs_result:
        return os.statvfs(self.here)
