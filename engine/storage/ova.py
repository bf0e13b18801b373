"""The description in an OVA: an OVF envelope for one machine with its disks. Pure.

As plain as the format allows, so that other programs take it: one system of VirtualBox's type, an
IDE or SATA controller, the disks as streamOptimized VMDK. Called by engine.reconcilers.task_export.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

OVF = "http://schemas.dmtf.org/ovf/envelope/1"
RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
VSSD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
VMW = "http://www.vmware.com/schema/ovf"
VMDK = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"

PROCESSOR, MEMORY, DISK, SATA = "3", "4", "17", "20"


@dataclass(frozen=True)
class PackedDisk:
    """`file`: its name in the archive. Sizes are bytes."""

    file: str
    size: int
    capacity: int


def build_ovf(
    name: str, vcpus: int, memory_mib: int, disks: Sequence[PackedDisk], firmware: str = "bios"
) -> str:
    """`firmware`: bios | uefi, said in VMware's way, which other programs pass over."""
    for prefix, uri in (("ovf", OVF), ("rasd", RASD), ("vssd", VSSD), ("vmw", VMW)):
        ET.register_namespace(prefix, uri)
    envelope = ET.Element(f"{{{OVF}}}Envelope")
    references = _add(envelope, OVF, "References")
    section = _add(envelope, OVF, "DiskSection")
    _add(section, OVF, "Info", "Its disks")
    for at, disk in enumerate(disks):
        _add(references, OVF, "File", href=disk.file, id=f"file{at}", size=str(disk.size))
        _add(
            section,
            OVF,
            "Disk",
            capacity=str(disk.capacity),
            diskId=f"disk{at}",
            fileRef=f"file{at}",
            format=VMDK,
        )
    system = _add(envelope, OVF, "VirtualSystem", id="machine")
    _add(system, OVF, "Info", "A virtual machine")
    _add(system, OVF, "Name", name)
    hardware = _add(system, OVF, "VirtualHardwareSection")
    _add(hardware, OVF, "Info", "Its hardware")
    kind = _add(hardware, OVF, "System")
    for key, value in (
        ("ElementName", "Virtual Hardware Family"),
        ("InstanceID", "0"),
        ("VirtualSystemIdentifier", name),
        ("VirtualSystemType", "virtualbox-2.2"),
    ):
        _add(kind, VSSD, key, value)
    _item(hardware, 1, PROCESSOR, f"{vcpus} processors", VirtualQuantity=str(vcpus))
    _item(
        hardware,
        2,
        MEMORY,
        f"{memory_mib} MiB of memory",
        AllocationUnits="byte * 2^20",
        VirtualQuantity=str(memory_mib),
    )
    _item(hardware, 3, SATA, "SATA controller", Address="0", ResourceSubType="AHCI")
    for at in range(len(disks)):
        _item(
            hardware,
            4 + at,
            DISK,
            f"disk {at}",
            AddressOnParent=str(at),
            HostResource=f"ovf:/disk/disk{at}",
            Parent="3",
        )
    config = ET.SubElement(hardware, f"{{{VMW}}}Config", {f"{{{OVF}}}required": "false"})
    config.set(f"{{{VMW}}}key", "firmware")
    config.set(f"{{{VMW}}}value", "efi" if firmware == "uefi" else "bios")
    ET.indent(envelope)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(envelope, encoding="unicode")


def _item(parent: ET.Element, number: int, kind: str, name: str, **more: str) -> None:
    """The elements of an item come in the order of the alphabet: the schema asks for it."""
    item = _add(parent, OVF, "Item")
    fields = {"ElementName": name, "InstanceID": str(number), "ResourceType": kind, **more}
    for key in sorted(fields):
        _add(item, RASD, key, fields[key])


def _add(parent: ET.Element, space: str, name: str, text: str = "", **more: str) -> ET.Element:
    element = ET.SubElement(parent, f"{{{space}}}{name}")
    element.text = text or None
    for key, value in more.items():
        element.set(f"{{{OVF}}}{key}", value)
    return element
