"""The guest's root file system: busybox, a few kernel modules and `init.sh`, as the archive the
kernel unpacks.

Written here in the "newc" format rather than by cpio and depmod, so no tool is needed and nothing
depends on who builds: modules name what they need in themselves, and they are loaded in that
order by `init.sh`.
"""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hyper_image.demo_guest.packages import COMMAND_TIMEOUT_S, PackagesUnavailable, Unpacked

INIT = Path(__file__).with_name("init.sh")
WANTED_MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_net", "button", "evdev"),
    *("vfat", "nls_cp437", "nls_ascii", "nls_utf8"),
)
SUFFIXES = (".ko", ".ko.xz", ".ko.gz", ".ko.zst")
COMPRESSION_LEVEL = 6
FOLDERS = (
    *(
        "bin",
        "dev",
        "etc",
        "etc/acpi",
        "etc/acpi/PWRF",
        "lib",
        "lib/modules",
        "disk",
        "proc",
        "run",
        "sbin",
    ),
    *("sys", "tmp", "usr", "usr/bin", "var", "var/log", "var/run"),
)
POWER_OFF = "#!/bin/sh\nexec /init poweroff\n"


@dataclass(frozen=True)
class Entry:
    """One file, folder (no content) or symbolic link (content is its target)."""

    path: str
    mode: int
    content: bytes = b""


def build(packages: Unpacked) -> bytes:
    """The compressed archive."""
    modules = ordered_modules(packages.modules)
    entries = [Entry(folder, stat.S_IFDIR | 0o755) for folder in FOLDERS]
    entries += [
        Entry("bin/busybox", stat.S_IFREG | 0o755, packages.program("busybox").read_bytes()),
        Entry("bin/sh", stat.S_IFLNK | 0o777, b"busybox"),
        Entry("init", stat.S_IFREG | 0o755, INIT.read_bytes()),
        Entry("etc/acpi/PWRF/00000080", stat.S_IFREG | 0o755, POWER_OFF.encode()),
        Entry("etc/lease", stat.S_IFREG | 0o755, b'#!/bin/sh\nexec /init lease "$1"\n'),
        Entry(
            "etc/modules", stat.S_IFREG | 0o644, "".join(f"{name}\n" for name in modules).encode()
        ),
    ]
    for name, content in modules.items():
        entries.append(Entry(f"lib/modules/{name}.ko", stat.S_IFREG | 0o644, content))
    return gzip.compress(archive(entries), COMPRESSION_LEVEL, mtime=0)


def archive(entries: list[Entry]) -> bytes:
    """In the kernel's "newc" format: everything belongs to root. Pure."""
    written = io.BytesIO()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.path.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
        written.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
        written.write(b"\0" * (-written.tell() % 4))
        written.write(entry.content)
        written.write(b"\0" * (-written.tell() % 4))
    return written.getvalue()


def ordered_modules(folder: Path) -> dict[str, bytes]:
    """The wanted modules and all they need, each after what it needs; built-in ones left out."""
    files = {module_name(file): file for file in folder.rglob("*") if file.name.endswith(SUFFIXES)}
    built_in = {
        module_name(Path(line)) for line in (folder / "modules.builtin").read_text().split()
    }
    loaded: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in loaded or name in built_in:
            return
        if name not in files:
            raise PackagesUnavailable(f"The kernel in {folder} has no module {name}.")
        content = decompress(files[name])
        for needed in needed_by(content):
            add(needed)
        loaded[name] = content

    for name in WANTED_MODULES:
        add(name)
    return loaded


def module_name(file: Path) -> str:
    return file.name.partition(".")[0].replace("-", "_")


def needed_by(module: bytes) -> list[str]:
    """The names in the module's own `depends=` line."""
    _, found, rest = module.partition(b"\0depends=")
    names = rest.partition(b"\0")[0].decode() if found else ""
    return [name.replace("-", "_") for name in names.split(",") if name]


def decompress(file: Path) -> bytes:
    if file.suffix == ".xz":
        return lzma.decompress(file.read_bytes())
    if file.suffix == ".gz":
        return gzip.decompress(file.read_bytes())
    if file.suffix == ".zst":
        if shutil.which("zstd") is None:
            raise PackagesUnavailable(
                "This kernel's modules need the program zstd; install the package zstd."
            )
        unpack = ["zstd", "-dcq", str(file)]
        return subprocess.run(
            unpack, capture_output=True, check=True, timeout=COMMAND_TIMEOUT_S
        ).stdout
    return file.read_bytes()
