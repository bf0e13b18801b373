"""ISO 9660 images made by hand, for tests: a volume that can be recognised and, if wanted, booted.

`make_iso(boot=…)` puts a boot image on it as El Torito describes (no emulation): the BIOS loads it
to 0x7c00 and jumps there. No file system is inside; nothing in the tests reads one.
"""

from __future__ import annotations

import struct

SECTOR = 2048
VOLUME_SECTOR = 16
BOOT_RECORD_SECTOR = 17
END_SECTOR = 18
CATALOGUE_SECTOR = 19
BOOT_IMAGE_SECTOR = 20


def make_iso(*, boot: bytes = b"", size: int = 64 * 1024, label: str = "TEST") -> bytes:
    """The image, at least `size` bytes long; what follows the volume differs from place to place,
    so that a piece that is missing or doubled changes the checksum.
    """
    image = bytearray(max(size, (BOOT_IMAGE_SECTOR + 1) * SECTOR + len(boot)) // SECTOR * SECTOR)
    for at in range((BOOT_IMAGE_SECTOR + 8) * SECTOR + len(boot), len(image) - 8, SECTOR):
        struct.pack_into("<Q", image, at, at * 2654435761 % 2**64)
    volume = b"\x01CD001\x01\0" + b" " * 32 + label.encode().ljust(32)
    _put(image, VOLUME_SECTOR, volume)
    if boot:
        record = b"\0CD001\x01" + b"EL TORITO SPECIFICATION".ljust(64, b"\0")
        _put(image, BOOT_RECORD_SECTOR, record + struct.pack("<I", CATALOGUE_SECTOR))
        _put(image, CATALOGUE_SECTOR, _catalogue(len(boot)))
        _put(image, BOOT_IMAGE_SECTOR, boot)
    _put(image, END_SECTOR, b"\xffCD001\x01")
    return bytes(image)


def _catalogue(boot_bytes: int) -> bytes:
    entry = struct.pack("<BBH24sHBB", 1, 0, 0, b"TEST", 0, 0x55, 0xAA)
    total = sum(struct.unpack("<16H", entry)) & 0xFFFF
    entry = struct.pack("<BBH24sHBB", 1, 0, 0, b"TEST", (0x10000 - total) & 0xFFFF, 0x55, 0xAA)
    sectors = -(-boot_bytes // 512)
    start = struct.pack("<BBHBBHI20s", 0x88, 0, 0, 0, 0, sectors, BOOT_IMAGE_SECTOR, b"")
    return entry + start


def _put(image: bytearray, sector: int, content: bytes) -> None:
    image[sector * SECTOR : sector * SECTOR + len(content)] = content
