"""Named desktops for the tests of the domain XML: together they use everything the builder can
write.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from db.os_profiles import OS_PROFILES
from engine.domain_xml.builder import DiskFile, DomainRequest, InterfaceCard, MediaFile

ID = "0b9c3c6e-8d53-4b3f-9d0e-2f3a4b5c6d7e"
FOLDER = f"/opt/isard/groups/{ID}"

PLAIN = DomainRequest(
    id=ID,
    name="Maths, room 1",
    spec={"vcpus": 2, "memory_mib": 1024},
    disks=[DiskFile("disk0", f"{FOLDER}/disk0.qcow2")],
    interfaces=[InterfaceCard("default", "52:54:00:aa:bb:01")],
    installation="6f1f3a5e-0000-4000-8000-000000000001",
    revision="7",
    accelerator="qemu",
    console_password="Abcd1234",
)


def with_spec(request: DomainRequest = PLAIN, **spec: Any) -> DomainRequest:
    return replace(request, spec={**request.spec, **spec})


PROFILES = {profile["id"]: profile["spec"] for profile in OS_PROFILES}
INSTALLER_AND_DRIVERS = [
    MediaFile("drive0", "/opt/isard/media/installer.iso"),
    MediaFile("drive1", "/opt/isard/media/drivers.iso"),
]

CASES: dict[str, DomainRequest] = {
    "plain": PLAIN,
    "kvm": replace(PLAIN, accelerator="kvm"),
    "kvm-host-model": replace(PLAIN, accelerator="kvm", cpu_mode="host-model"),
    "uefi-installing-from-iso": replace(
        with_spec(firmware="uefi", boot=["cdrom", "disk", "network"], video="bochs"),
        media=[MediaFile("installer", "/opt/isard/media/installer.iso")],
    ),
    "spice-with-sound": replace(
        with_spec(graphics=["spice"], video="qxl", sound="ich9"),
        graphics_available=("vnc", "spice"),
    ),
    "spice-where-it-cannot-be-had": with_spec(graphics=["spice"], video="qxl", sound="hda"),
    "every-bus": replace(
        PLAIN,
        disks=[
            DiskFile(bus, f"{FOLDER}/{bus}.qcow2", bus=bus)
            for bus in ("virtio", "sata", "scsi", "ide")
        ],
        media=[MediaFile("tools", "/opt/isard/media/tools.img", kind="floppy")],
    ),
    "every-network": replace(
        with_spec(boot=["network"]),
        interfaces=[
            InterfaceCard("default", "52:54:00:aa:bb:01"),
            InterfaceCard(
                "lab.net",
                "52:54:00:aa:bb:02",
                kind="bridge",
                source="br0",
                filter="isard-addresses-1",
                learns="dhcp",
            ),
            InterfaceCard("own", "52:54:00:aa:bb:03", kind="user", model="e1000e"),
        ],
    ),
    "hostile-name": replace(PLAIN, name="\"><disk/>'$(reboot)'\n&amp;`id`"),
    "windows-11-on-kvm": replace(
        with_spec(**PROFILES["windows-11"]), accelerator="kvm", media=INSTALLER_AND_DRIVERS
    ),
    "empty-drive": replace(PLAIN, media=[MediaFile("drive0", None)]),
    **{
        f"profile-{name}": replace(
            with_spec(**spec),
            disks=[DiskFile("system", f"{FOLDER}/system.qcow2", bus=spec["disks"][0]["bus"])],
            media=INSTALLER_AND_DRIVERS
            if name.startswith("windows")
            else INSTALLER_AND_DRIVERS[:1],
        )
        for name, spec in PROFILES.items()
    },
    "no-screen": with_spec(video="none", boot=["floppy"]),
}
