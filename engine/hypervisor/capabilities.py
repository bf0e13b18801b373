"""What a host can do, in libvirt's words: CPUs, memory, versions, and what QEMU there offers.

KVM is deliberately not read from here: libvirt believes in the mere device (see
engine.hypervisor.profile). SPICE and the kinds of video are read from the domain capabilities,
because distributions leave them out of QEMU. Called by engine.hypervisor.connection; it goes into
`hypervisors.observed.info`.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import libvirt

from engine.domain_xml.builder import ARCH, MACHINE


def read_info(connection: Any) -> dict[str, Any]:
    cpus = connection.getInfo()[2]
    # getInfo adds up NUMA cells, which is too little where memory was added while running.
    memory = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    return {
        "hostname": connection.getHostname(),
        "cpus": cpus,
        "memory_mib": memory.get("total", 0) // 1024,
        "libvirt_version": version_text(connection.getLibVersion()),
        "qemu_version": version_text(connection.getVersion()),
        **read_domain_capabilities(
            connection.getDomainCapabilities(None, ARCH, MACHINE, "qemu", 0)
        ),
    }


def version_text(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def read_domain_capabilities(xml: str) -> dict[str, Any]:
    """What a desktop on this host can have. VNC is always there."""
    root = ElementTree.fromstring(xml)  # noqa: S314 (libvirt's own answer)
    return {
        "emulator": root.findtext("./path") or "",
        "machine": root.findtext("./machine") or "",
        "graphics": [
            g for g in ("vnc", "spice") if g in _values(root, "./devices/graphics", "type")
        ]
        or ["vnc"],
        "videos": _values(root, "./devices/video", "modelType"),
        "firmwares": [
            "bios",
            *(["uefi"] if "efi" in _values(root, "./os", "firmware") else []),
        ],
        "secure_boot": "yes" in _values(root, "./os/loader", "secure"),
        "tpm": "emulator" in _values(root, "./devices/tpm", "backendModel"),
        "cpu_modes": [
            mode.attrib["name"]
            for mode in root.iterfind("./cpu/mode[@supported='yes']")
            if "name" in mode.attrib
        ],
        "vcpus_max": _vcpus_max(root),
    }


def _values(root: ElementTree.Element, path: str, name: str) -> list[str]:
    return [value.text or "" for value in root.iterfind(f"{path}/enum[@name='{name}']/value")]


def _vcpus_max(root: ElementTree.Element) -> int:
    found = root.find("./vcpu")
    return int(found.get("max", "1")) if found is not None else 1
