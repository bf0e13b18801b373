"""What the description in an OVA says of its machine: for payloads, and for what is made of it.
Pure.

The engine reads the description and writes `observed.hardware` of the medium; a script may have
written anything there. Used by `webapp.media_payloads` and
`webapp.services.made_by_tasks`.

hardware {name, vcpus, memory_mib, firmware, os, controller: each null where it is not stated,
          disks, notes: [sentences], summary: "2 processors, 4 GiB, UEFI, Debian_64, 1 disk"}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from db.os_profiles import guess_profile
from db.rowcheck import MEMORY_MIB_MIN
from db.sentences import counted
from webapp.tidy import as_list, as_mapping, as_number, as_text

IMPORT_VCPUS_MAX = 64
IMPORT_MEMORY_MIB_MAX = 262144
"""What an import gives at the most, whatever is asked for."""

FIRMWARE = {"bios": "BIOS", "uefi": "UEFI"}
BUSES: dict[str, Literal["virtio", "sata"]] = {"sata": "sata", "ide": "sata", "virtio": "virtio"}
"""Controllers whose driver the system has for sure, and ours that it works with."""


STATED = ("name", "vcpus", "memory_mib", "firmware", "os")
"""Where none of it is known, the description could not be read."""


@dataclass(frozen=True)
class Described:
    """What goes into an import that leaves it out; None where nothing is stated."""

    vcpus: int | None = None
    memory_mib: int | None = None
    firmware: Literal["bios", "uefi"] | None = None
    os: str | None = None
    """Id of a system profile, which may have been removed."""
    disk_bus: Literal["virtio", "sata"] | None = None


def hardware_of(observed: Mapping[str, Any]) -> dict[str, Any] | None:
    """The payload; None where there is no description."""
    seen = as_mapping(observed.get("hardware"))
    if not seen:
        return None
    texts = {key: as_text(seen.get(key)) for key in ("name", "firmware", "os", "controller")}
    numbers = {key: _positive(seen.get(key)) for key in ("vcpus", "memory_mib")}
    found = {**texts, **numbers, "disks": _positive(seen.get("disks")) or 0}
    notes = [text for note in as_list(seen.get("notes")) if (text := as_text(note))]
    return {**found, "notes": notes, "summary": _summary(found)}


def described_by(observed: Mapping[str, Any]) -> Described:
    """Within what an import may give."""
    hardware = hardware_of(observed)
    if hardware is None or not any(hardware[key] for key in STATED):
        return Described()
    vcpus, memory_mib = hardware["vcpus"], hardware["memory_mib"]
    return Described(
        vcpus=vcpus and min(vcpus, IMPORT_VCPUS_MAX),
        memory_mib=memory_mib and min(max(memory_mib, MEMORY_MIB_MIN), IMPORT_MEMORY_MIB_MAX),
        # A machine whose description says nothing of firmware has BIOS.
        firmware="uefi" if hardware["firmware"] == "uefi" else "bios",
        os=guess_profile(hardware["os"] or ""),
        disk_bus=BUSES.get(hardware["controller"] or ""),
    )


def _summary(found: Mapping[str, Any]) -> str:
    memory_mib, disks = found["memory_mib"], found["disks"]
    in_gib = f"{round(memory_mib / 1024, 1):g} GiB" if (memory_mib or 0) >= 1024 else None
    parts = (
        counted(found["vcpus"], "processor", "processors") if found["vcpus"] else None,
        in_gib or (f"{memory_mib} MiB" if memory_mib else None),
        FIRMWARE.get(found["firmware"] or ""),
        found["os"],
        counted(disks, "disk", "disks") if disks else None,
    )
    return ", ".join(part for part in parts if part)


def _positive(value: object) -> int | None:
    number = as_number(value)
    return int(number) if number is not None and 1 <= number < 2**31 else None
