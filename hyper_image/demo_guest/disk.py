"""The guest's disk: one FAT partition with boot loader, kernel, initramfs and room for what the
user keeps.

Made without root, loop devices or mounts: mtools and syslinux write into the image file.
"""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

from hyper_image.demo_guest.packages import Unpacked, run

DISK_BYTES = 1 << 30
SECTOR = 512
FIRST_SECTOR = 2048
HEADS, SECTORS_PER_TRACK = 255, 63
FAT16_LBA_TYPE = 0x0E
ACTIVE = 0x80
BOOT_CODE_BYTES = 440
SIGNATURE = b"\x55\xaa"
# Clocks and mitigations that make a start under emulation quicker; nothing else depends on them.
KERNEL_OPTIONS = (
    "quiet loglevel=3 console=tty0 mitigations=off nokaslr audit=0 edd=off"
    " no_timer_check tsc=reliable noreplace-smp cryptomgr.notests"
)
LOADER_CONFIG = f"""DEFAULT demo
PROMPT 0
TIMEOUT 1
LABEL demo
  KERNEL vmlinuz
  INITRD initrd
  APPEND {KERNEL_OPTIONS}
"""


def build(packages: Unpacked, initramfs: bytes, image: Path) -> None:
    """Write the qcow2 image, put in place whole."""
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        raw, unfinished = Path(folder, "demo.raw"), Path(folder, "demo.qcow2")
        write_partition_table(raw, (packages.root / "usr/lib/syslinux/mbr/mbr.bin").read_bytes())
        partition = f"{raw}@@{FIRST_SECTOR * SECTOR}"
        tools = {
            "PATH": f"{packages.program('mtools').parent}:{os.environ['PATH']}",
            "MTOOLS_SKIP_CHECK": "1",
        }
        here = Path(folder)
        sectors = str(DISK_BYTES // SECTOR - FIRST_SECTOR)
        geometry = ("-h", str(HEADS), "-s", str(SECTORS_PER_TRACK), "-H", str(FIRST_SECTOR))
        run(
            "mformat",
            "-i",
            partition,
            "-T",
            sectors,
            *geometry,
            "-v",
            "DEMO",
            "::",
            cwd=here,
            env=tools,
        )
        (here / "vmlinuz").write_bytes(packages.kernel.read_bytes())
        (here / "initrd").write_bytes(initramfs)
        (here / "syslinux.cfg").write_text(LOADER_CONFIG)
        run("mmd", "-i", partition, "::home", cwd=here, env=tools)
        for name in ("vmlinuz", "initrd", "syslinux.cfg"):
            run("mcopy", "-i", partition, name, "::", cwd=here, env=tools)
        loader = str(packages.program("syslinux"))
        run(
            loader,
            "--install",
            "--offset",
            str(FIRST_SECTOR * SECTOR),
            str(raw),
            cwd=here,
            env=tools,
        )
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(unfinished), cwd=here)
        unfinished.chmod(0o644)
        unfinished.replace(image)


def write_partition_table(raw: Path, boot_code: bytes) -> None:
    """A sparse file with a master boot record: one active partition to the end of the disk."""
    chs_unused = b"\xfe\xff\xff"
    entry = struct.pack(
        "<B3sB3sII",
        *(ACTIVE, chs_unused, FAT16_LBA_TYPE, chs_unused),
        *(FIRST_SECTOR, DISK_BYTES // SECTOR - FIRST_SECTOR),
    )
    record = boot_code[:BOOT_CODE_BYTES].ljust(446, b"\0") + entry.ljust(64, b"\0") + SIGNATURE
    with raw.open("wb") as file:
        file.write(record)
        file.truncate(DISK_BYTES)
