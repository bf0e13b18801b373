"""What hardware suits which system: the first rows of table `os_profiles`.

A desktop made from an ISO image takes the `spec` of a profile and then goes its own way: editing a
profile changes no desktop. `drivers` is a word in the name of the image that such a system wants in
a second drive. Rows are made once and may be edited, removed or added to (docs/media.md).
"""

from __future__ import annotations

import re
from typing import Any

_DRIVES = ["disk", "cdrom"]
"""The disk first: while it is empty the firmware goes on to the image, and then no longer."""


def _linux(id: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "name": name,
        "family": "linux",
        "rank": more.pop("rank", 20),
        "size_gib": more.pop("size_gib", 20),
        "drivers": "",
        "spec": {
            "vcpus": 2,
            "memory_mib": 2048,
            "firmware": "bios",
            "boot": _DRIVES,
            "disks": [{"id": "system", "bus": "virtio"}],
            "interfaces": [{"id": "default"}],
            "video": "virtio",
            **more,
        },
    }


def _windows(id: str, name: str, **more: Any) -> dict[str, Any]:
    """SATA, because Setup brings no virtio driver; with the drivers' image in the second drive the
    disk may be virtio as well.
    """
    return {
        "id": id,
        "name": name,
        "family": "windows",
        "rank": 10,
        "size_gib": 64,
        "drivers": "virtio",
        "spec": {
            "vcpus": 2,
            "memory_mib": 4096,
            "firmware": "uefi",
            "boot": _DRIVES,
            "disks": [{"id": "system", "bus": "sata"}],
            "interfaces": [{"id": "default"}],
            "hyperv": True,
            "clock": "localtime",
            "video": "vga",
            "sound": "ich9",
            **more,
        },
    }


OS_PROFILES: list[dict[str, Any]] = [
    _windows("windows-11", "Windows 11", secure_boot=True, tpm=True),
    _windows("windows-10", "Windows 10"),
    _linux("debian", "Debian"),
    _linux("ubuntu", "Ubuntu", memory_mib=4096, size_gib=30),
    _linux("fedora", "Fedora", memory_mib=4096, size_gib=30, firmware="uefi"),
    _linux("alpine", "Alpine", vcpus=1, memory_mib=512, size_gib=8),
    _linux("linux", "Other Linux", rank=30),
    {
        **_linux("other", "Something else", rank=40, video="vga"),
        "family": "other",
    },
]

SYSTEMS: tuple[tuple[str, str], ...] = (
    (r"windows ?11", "windows-11"),
    # What older ones need is what Windows 10 needs: no drivers of ours, and the local clock.
    (r"windows", "windows-10"),
    (r"debian", "debian"),
    (r"ubuntu", "ubuntu"),
    (r"fedora", "fedora"),
    (r"alpine", "alpine"),
    (r"linux|suse|red ?hat|rhel|cent ?os|mint|gentoo", "linux"),
)


def guess_profile(system: str) -> str | None:
    """The id of the profile above that suits a system by what others call it (`Debian_64`,
    `Microsoft Windows 10 (64-bit)`).
    """
    plain = re.sub(r"[^a-z0-9]+", " ", system.lower())
    return next((profile for text, profile in SYSTEMS if re.search(text, plain)), None)
