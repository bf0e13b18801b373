"""`python -m hyper_image.demo_guest --folder DIR`: build demo.qcow2, vmlinuz and initramfs there,
once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hyper_image.demo_guest import disk, initramfs, packages


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hyper_image.demo_guest", description=__doc__)
    parser.add_argument("--folder", required=True, type=Path, help="where the files are to be")
    parser.add_argument("--cache", required=True, type=Path, help="where packages are kept")
    arguments = parser.parse_args()
    try:
        build(arguments.folder.resolve(), arguments.cache.resolve())
    except packages.PackagesUnavailable as problem:
        print(f"The demo desktop could not be built: {problem}", file=sys.stderr)
        return 1
    return 0


def build(folder: Path, cache: Path) -> None:
    """Does nothing where everything is there."""
    image, kernel, archive = (folder / name for name in ("demo.qcow2", "vmlinuz", "initramfs"))
    if image.exists() and kernel.exists() and archive.exists():
        return
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    unpacked = packages.fetch(cache)
    content = initramfs.build(unpacked)
    replace(kernel, unpacked.kernel.read_bytes())
    replace(archive, content)
    if not image.exists():
        disk.build(unpacked, content, image)


def replace(file: Path, content: bytes) -> None:
    unfinished = file.with_name(f".new-{file.name}")
    unfinished.write_bytes(content)
    unfinished.chmod(0o644)
    unfinished.replace(file)


if __name__ == "__main__":
    sys.exit(main())
