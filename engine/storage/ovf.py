"""Reads the hardware that the OVF description in an OVA states. Pure.

The text is a stranger's: it is small or not read, a document type or entities are refused before
any parser sees it, and what is odd in it is left out with a sentence that says so. Nothing here
fails, because the disks beside it are as good without it. Elements are found by their local names:
OVF 1 and 2 differ in namespaces, and VMware and VirtualBox add theirs. Called by
engine.storage.downloads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from xml.etree import ElementTree as ET

from db.rowcheck import MEMORY_MIB_MAX, MEMORY_MIB_MIN, NAME_MAX, VCPUS_MAX
from db.sentences import counted

MEMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.vmdk")
"""A disk in an OVA that is taken over: a plain name, nothing with a folder in it."""
TEXT_MAX_BYTES = 1024**2
MIB = 1024**2
SHOWN_MAX = 40

Controller = Literal["ide", "sata", "scsi", "nvme", "virtio"]

PROCESSOR, MEMORY, IDE, SCSI, DISK, OTHER_STORAGE = "3", "4", "5", "6", "17", "20"
"""ResourceType, as CIM_ResourceAllocationSettingData counts them."""
SUBTYPES: tuple[tuple[str, Controller], ...] = (
    ("virtio", "virtio"),
    ("nvme", "nvme"),
    ("ahci", "sata"),
    ("sata", "sata"),
)
"""A word in a ResourceSubType that says more than the type."""
TYPES: dict[str, Controller] = {IDE: "ide", SCSI: "scsi", OTHER_STORAGE: "sata"}

POWER = re.compile(r"bytes?\s*\*\s*(2|10)\s*\^\s*([0-9]{1,2})")
WORD = re.compile(r"(?:(kilo|mega|giga|tera)?bytes?|([kmgt])i?b)")
SYSTEMS = {
    "36": "Linux",
    "93": "Ubuntu",
    "94": "Ubuntu (64-bit)",
    "95": "Debian",
    "96": "Debian (64-bit)",
    "101": "Linux (64-bit)",
}
"""The numbers of CIM_OperatingSystem that are worth a name where nothing else is said."""


@dataclass(frozen=True)
class Hardware:
    """What is stated; None where nothing is, or nothing one could take. `disks`: that an import
    takes from the archive. `notes`: sentences on what was left out.
    """

    name: str | None = None
    vcpus: int | None = None
    memory_mib: int | None = None
    firmware: Literal["bios", "uefi"] | None = None
    os: str | None = None
    controller: Controller | None = None
    disks: int = 0
    notes: list[str] = field(default_factory=list)

    def as_field(self) -> dict[str, Any]:
        """As it stands in the medium's `observed.hardware`."""
        return asdict(self)


def read_hardware(content: bytes, members: Sequence[str]) -> Hardware:
    """`content`: of the archive's OVF, empty where it has none; `members`: the archive's names."""
    disks = sum(1 for name in members if MEMBER.fullmatch(name))
    root = _parse(content)
    if isinstance(root, str):
        return Hardware(disks=disks, notes=[f"Its description is not read: {root}."])
    return _Reader(root, disks).read()


def _parse(content: bytes) -> ET.Element | str:
    """The envelope, or the end of a sentence that says why not."""
    if not content.strip():
        return "there is none"
    if len(content) > TEXT_MAX_BYTES:
        return f"it is larger than {TEXT_MAX_BYTES // 1024} KiB"
    is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    # Decoded here, so that no encoding the text names can hide anything from the next line.
    text = content.decode("utf-16" if is_wide else "utf-8-sig", errors="replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return "it declares a document type or entities, which may lead elsewhere"
    try:
        root = ET.fromstring(text)  # noqa: S314 (small, and no entities: see above)
    except ET.ParseError as error:
        return f"it is no XML ({error})"
    return root if _name(root.tag) == "Envelope" else "it is no OVF envelope"


class _Reader:
    """One envelope. What it reads last of a kind counts: deployment options override that way."""

    def __init__(self, root: ET.Element, disks: int) -> None:
        self._root, self._disks = root, disks
        self._notes: list[str] = []

    def read(self) -> Hardware:
        systems = [one for one in self._root.iter() if _name(one.tag) == "VirtualSystem"]
        if not systems:
            self._notes.append("Its description has no machine in it.")
            return Hardware(disks=self._disks, notes=self._notes)
        if len(systems) > 1:
            count = f"It describes {len(systems)} machines"
            self._notes.append(f"{count}; the hardware is the first one's, the disks are all.")
        system = systems[0]
        items = list(self._items(system))
        found = Hardware(
            name=_plain(_child(system, "Name") or _attribute(system, "id"), NAME_MAX),
            vcpus=self._read_vcpus(items),
            memory_mib=self._read_memory_mib(items),
            firmware=_find_firmware(system),
            os=_find_system(system),
            controller=_find_controller(items),
            disks=self._disks,
            notes=self._notes,
        )
        self._compare_disks()
        return found

    def _items(self, system: ET.Element) -> Iterator[ET.Element]:
        """Those that hold in the configuration that is the description's default."""
        default = _default_configuration(self._root)
        for item in system.iter():
            if _name(item.tag) not in ("Item", "StorageItem") or _attribute(item, "bound"):
                continue
            only_in = (_attribute(item, "configuration") or "").split()
            if not only_in or default in only_in:
                yield item

    def _read_vcpus(self, items: Sequence[ET.Element]) -> int | None:
        said = _quantity(items, PROCESSOR)
        if said is None:
            return None
        count = _whole(said[0])
        if count is not None and 1 <= count <= VCPUS_MAX:
            return count
        self._leave_out(f"{_shown(said[0])} processors", f"1 to {VCPUS_MAX}")
        return None

    def _read_memory_mib(self, items: Sequence[ET.Element]) -> int | None:
        said = _quantity(items, MEMORY)
        if said is None:
            return None
        text, units = said
        amount, factor = _whole(text), _factor(units)
        if amount is not None and factor is not None:
            memory_mib = amount * factor // MIB
            # Without a unit it is bytes by the letter, and MiB in what programs write.
            if not units and amount <= MEMORY_MIB_MAX:
                memory_mib = amount
            if MEMORY_MIB_MIN <= memory_mib <= MEMORY_MIB_MAX:
                return memory_mib
        what = f"{_shown(text)} {_shown(units)}".rstrip()
        self._leave_out(f"{what} of memory", f"{MEMORY_MIB_MIN} to {MEMORY_MIB_MAX} MiB")
        return None

    def _leave_out(self, what: str, possible: str) -> None:
        self._notes.append(f"It asks for {what}, which is left out: {possible} can be had.")

    def _compare_disks(self) -> None:
        sections = [one for one in self._root if _name(one.tag) == "DiskSection"]
        described = sum(_name(one.tag) == "Disk" for section in sections for one in section)
        if described > self._disks:
            many = f"It describes {counted(described, 'disk', 'disks')}"
            self._notes.append(f"{many}, and the archive has {self._disks} to take over (.vmdk).")


def _default_configuration(root: ET.Element) -> str | None:
    options = [one for one in root.iter() if _name(one.tag) == "Configuration"]
    chosen = [one for one in options if _attribute(one, "default") in ("true", "1")]
    return _attribute((chosen or options)[0], "id") if options else None


def _quantity(items: Sequence[ET.Element], kind: str) -> tuple[str, str] | None:
    """(VirtualQuantity, AllocationUnits) of the last item of this kind that has one."""
    for item in reversed(items):
        text = _child(item, "VirtualQuantity")
        if _child(item, "ResourceType") == kind and text:
            return text, _child(item, "AllocationUnits")
    return None


def _factor(units: str) -> int | None:
    """Bytes in one of it: `byte * 2^20`, `MegaBytes`, …; None where nobody knows."""
    plain = units.strip().lower()
    power, word = POWER.fullmatch(plain), WORD.fullmatch(plain or "byte")
    if power:
        return int(power[1]) ** int(power[2])
    if word:
        return 1024 ** " kmgt".index((word[1] or word[2] or " ")[0])
    return None


def _find_firmware(system: ET.Element) -> Literal["bios", "uefi"] | None:
    for one in system.iter():
        kind = _name(one.tag)
        is_config = kind == "Config" and _attribute(one, "key") == "firmware"
        said = _attribute(one, "value") if is_config else None
        said = _attribute(one, "type") if kind == "Firmware" else said
        if said:
            return "uefi" if "efi" in said.lower() else "bios"
    # VirtualBox names the firmware of its machines only where it is not BIOS.
    is_virtualbox = any(_name(one.tag) == "Machine" for one in system.iter())
    return "bios" if is_virtualbox else None


def _find_system(system: ET.Element) -> str | None:
    section = next((one for one in system if _name(one.tag) == "OperatingSystemSection"), None)
    if section is None:
        return None
    said = (
        _child(section, "Description") or _child(section, "OSType") or _attribute(section, "osType")
    )
    return _plain(said or SYSTEMS.get(_attribute(section, "id") or ""), NAME_MAX)


def _find_controller(items: Sequence[ET.Element]) -> Controller | None:
    """The first disk's."""
    kinds: dict[str, Controller] = {}
    for item in items:
        kind = TYPES.get(_child(item, "ResourceType"))
        if kind is not None:
            subtype = _child(item, "ResourceSubType").lower()
            more = (name for word, name in SUBTYPES if word in subtype)
            kinds[_child(item, "InstanceID")] = next(more, kind)
    disks = (item for item in items if _child(item, "ResourceType") == DISK)
    parents = (_child(disk, "Parent") for disk in disks)
    return next((kinds[parent] for parent in parents if parent in kinds), None)


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]


def _child(element: ET.Element, name: str) -> str:
    found = (one.text for one in element if _name(one.tag) == name)
    return (next(found, None) or "").strip()


def _attribute(element: ET.Element, name: str) -> str | None:
    return next((value for key, value in element.attrib.items() if _name(key) == name), None)


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,20}", text) else None


def _plain(text: str | None, longest: int) -> str | None:
    """Text as names are: one line, nothing that looks like markup."""
    plain = re.sub(r"[\x00-\x1f\x7f<>]+", " ", text or "")
    return " ".join(plain.split())[:longest].rstrip() or None


def _shown(text: str) -> str:
    return _plain(text, SHOWN_MAX) or ""
