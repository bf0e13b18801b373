"""The distribution's packages the guest is made of, fetched and unpacked into a folder of ours.

`apt-get download` and `dpkg -x` neither install nor configure anything, so a kernel's hooks do
not run and a package that conflicts with one of the machine's (busybox-static does) does no harm.
Debian and Ubuntu name their kernel for virtual machines differently, and Ubuntu keeps modules in
a package of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

KERNEL_PACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual", "linux-image-amd64")
TOOL_PACKAGES = ("busybox-static", "syslinux", "syslinux-common", "mtools")
KERNEL_NAME = re.compile(r"linux-(image|modules)-\d\S+")
COMMAND_TIMEOUT_S = 600.0
DONE = ".complete"


class PackagesUnavailable(Exception):
    """The message says what to do."""


@dataclass(frozen=True)
class Unpacked:
    """Folders below which the packages' files lie as they would on a system."""

    root: Path

    @property
    def kernel(self) -> Path:
        kernels = sorted((self.root / "boot").glob("vmlinuz-*"))
        if not kernels:
            raise PackagesUnavailable(
                f"There is no kernel in {self.root}; remove the folder and start again."
            )
        return kernels[-1]

    @property
    def modules(self) -> Path:
        release = self.kernel.name.removeprefix("vmlinuz-")
        for folder in ("lib/modules", "usr/lib/modules"):
            if (self.root / folder / release).is_dir():
                return self.root / folder / release
        raise PackagesUnavailable(f"The modules of kernel {release} are missing in {self.root}.")

    def program(self, name: str) -> Path:
        for folder in ("usr/bin", "bin", "usr/sbin", "sbin"):
            if (self.root / folder / name).exists():
                return self.root / folder / name
        raise PackagesUnavailable(
            f"{name} is missing in {self.root}; remove the folder and start again."
        )


def fetch(cache: Path) -> Unpacked:
    """Everything, unpacked below `cache`; done once, then found there."""
    complete = cache / "packages"
    if (complete / DONE).exists():
        return Unpacked(complete)
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        archives, root = Path(folder, "archives"), Path(folder, "root")
        archives.mkdir()
        root.mkdir()
        run("apt-get", "download", *kernel_packages(), *TOOL_PACKAGES, cwd=archives)
        for archive in sorted(archives.glob("*.deb")):
            run("dpkg", "-x", str(archive), str(root), cwd=archives)
        (root / DONE).touch()
        shutil.rmtree(complete, ignore_errors=True)
        root.rename(complete)
    return Unpacked(complete)


def kernel_packages() -> list[str]:
    """The packages that hold this distribution's newest kernel for virtual machines, and its
    modules.
    """
    for name in KERNEL_PACKAGES:
        images = depends(name)
        if images:
            modules = [
                m for image in images for m in depends(image) if m.startswith("linux-modules")
            ]
            return [*images, *modules]
    raise PackagesUnavailable(
        f"apt knows none of {', '.join(KERNEL_PACKAGES)}; run apt-get update and start again."
    )


def depends(package: str) -> list[str]:
    """Kernel packages that a package depends on."""
    listing = subprocess.run(
        ["apt-cache", "depends", "--important", package],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout
    words = [line.split()[-1] for line in listing.splitlines() if "Depends:" in line]
    return [word for word in words if KERNEL_NAME.fullmatch(word)]


def run(*argv: str, cwd: Path, env: dict[str, str] | None = None) -> None:
    """Run a tool; its own words come with the error."""
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise PackagesUnavailable(
            f"{' '.join(argv[:2])} failed: {(done.stderr or done.stdout).strip()}"
        )
