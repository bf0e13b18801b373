"""The policy: which hardware a desktop gets, as libvirt's domain XML. Pure.

Everything comes from a DomainRequest, and every value goes through a declared property, so nothing
a row holds can become markup. Choices made here: q35 with virtio, an absolute pointer, consoles on
the host's loopback with a password, CPU passed through only where KVM really works (emulation
refuses it), a domain that ends when the guest powers off. The domain is transient: its name is its
UUID, and the metadata says whose it is and from which revision of the row. The override `spec.xml`
is not read here. Called by the domain reconciler.
"""

from __future__ import annotations

import posixpath
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from db.rowcheck import is_uuid
from db.states import Reason
from engine.domain_xml.domain import (
    Audio,
    Balloon,
    Channel,
    Controller,
    Disk,
    Domain,
    FirmwareFeature,
    Graphics,
    Input,
    Interface,
    Rng,
    Sound,
    Timer,
    Tpm,
    Video,
)
from engine.errors import Terminal
from engine.storage.paths import VARIABLES

ARCH = "x86_64"
MACHINE = "q35"
PASSWORD = re.compile(r"[A-Za-z0-9]{1,8}")
"""VNC has never had more than eight characters."""
ALIAS = re.compile(r"[A-Za-z0-9_-]{1,80}")

TARGETS: dict[str, tuple[str, str]] = {
    "virtio": ("vd", "virtio"),
    "sata": ("sd", "sata"),
    "scsi": ("sd", "scsi"),
    "ide": ("sd", "sata"),
    "fdc": ("fd", "fdc"),
}
"""Bus of the row -> prefix of the device's name and bus in the XML. q35 has no IDE: its guests'
drivers know SATA.
"""

SOUNDS = {"ich9": "ich9", "ac97": "ac97", "hda": "ich6"}
VIDEOS = frozenset({"virtio", "qxl", "vga", "bochs", "none"})
CPU_MODES = frozenset({"host-passthrough", "host-model", "maximum"})


@dataclass(frozen=True)
class DiskFile:
    """A disk of the desktop; `path` as computed by engine.storage.paths."""

    id: str
    path: str
    bus: str = "virtio"
    format: str = "qcow2"


@dataclass(frozen=True)
class MediaFile:
    """A drive; `path` is None where it is empty. `id` names the drive, not what is in it."""

    id: str
    path: str | None
    kind: Literal["iso", "floppy"] = "iso"


@dataclass(frozen=True)
class InterfaceCard:
    """`kind`: a libvirt network or a bridge of the host, named by `source`, or QEMU's user mode.
    `filter` keeps the guest from speaking as another; `learns`: how its address becomes known.
    """

    id: str
    mac: str
    kind: Literal["network", "bridge", "user"] = "network"
    source: str = "default"
    model: str = "virtio"
    filter: str | None = None
    learns: str | None = None


@dataclass(frozen=True)
class DomainRequest:
    """`graphics_available` is what the host's QEMU offers: SPICE is left out where it cannot be
    had.

    `cpu_mode` is the pool's wish; None chooses. `spec` is the row's, already judged by db.rowcheck.
    """

    id: str
    name: str
    spec: Mapping[str, Any]
    disks: Sequence[DiskFile]
    interfaces: Sequence[InterfaceCard]
    installation: str
    revision: str
    accelerator: Literal["kvm", "qemu"]
    console_password: str = field(repr=False)
    cpu_mode: str | None = None
    graphics_available: Sequence[str] = ("vnc",)
    listen: str = "127.0.0.1"
    media: Sequence[MediaFile] = ()


def build_domain_xml(request: DomainRequest) -> str:
    """The whole XML. Raises Terminal(InvalidRow) for what cannot be."""
    try:
        return _build(request).to_xml()
    except ValueError as error:
        raise Terminal(
            Reason.INVALID_ROW,
            f"This desktop's hardware cannot be described: {error}.",
            step="domain_xml",
        ) from error


def _build(request: DomainRequest) -> Domain:
    _check(request)
    spec = request.spec
    vcpus = int(spec.get("vcpus") or 1)
    domain = Domain(
        type=request.accelerator,
        name=request.id,
        uuid=request.id,
        # libvirt takes no line ends in a title.
        title=" ".join(request.name.split()) or request.id,
        installation=request.installation,
        revision=request.revision,
        memory=int(spec.get("memory_mib") or 512),
        memory_unit="MiB",
        vcpus=vcpus,
        firmware="efi" if spec.get("firmware") == "uefi" else None,
        nvram=_nvram_path(request),
        os_type="hvm",
        arch=ARCH,
        machine=MACHINE,
        boot_menu=False,
        acpi=True,
        apic=True,
        sockets=1,
        cores=vcpus,
        threads=1,
        clock_offset=spec.get("clock") or "utc",
        on_poweroff="destroy",
        on_reboot="restart",
        on_crash="destroy",
        suspend_to_memory=False,
        suspend_to_disk=False,
    )
    _choose_firmware(domain, spec)
    _enlighten(domain, request)
    _choose_cpu(domain, request)
    domain.add(Timer(name="rtc", tick_policy="catchup"), under="clock")
    domain.add(Timer(name="pit", tick_policy="delay"), under="clock")
    domain.add(Timer(name="hpet", present=False), under="clock")
    if domain.hyperv_mode:
        domain.add(Timer(name="hypervclock", present=True), under="clock")
    for device in _devices(request):
        domain.add(device, under="devices")
    _order_boot(domain, spec.get("boot") or ["disk"])
    return domain


def _choose_firmware(domain: Domain, spec: Mapping[str, Any]) -> None:
    """Secure boot wants firmware of its own, with the usual keys in it, that guards itself with
    SMM; without it the firmware is to be the plain one, not whichever libvirt finds first.
    """
    secure = spec.get("secure_boot") is True
    if spec.get("firmware") != "uefi":
        if secure:
            raise ValueError("secure boot needs the firmware uefi")
        return
    for name in ("enrolled-keys", "secure-boot"):
        domain.add(FirmwareFeature(enabled=secure, name=name), under="os/firmware")
    if secure:
        domain.loader_secure, domain.smm = True, True


def _enlighten(domain: Domain, request: DomainRequest) -> None:
    """What makes Windows a good guest. It is KVM that answers to these: emulation does not."""
    if request.spec.get("hyperv") is not True or request.accelerator != "kvm":
        return
    domain.hyperv_mode = "custom"
    domain.hyperv_spinlocks, domain.hyperv_spinlock_retries = True, 8191
    for name in ("relaxed", "vapic", "vpindex", "runtime", "synic", "stimer", "reset"):
        setattr(domain, f"hyperv_{name}", True)
    domain.hyperv_frequencies = True


def _nvram_path(request: DomainRequest) -> str | None:
    """UEFI's variables lie with the disks: they go where those go, and are removed with them."""
    if request.spec.get("firmware") != "uefi" or not request.disks:
        return None
    return f"{posixpath.dirname(request.disks[0].path)}/{VARIABLES}"


def _check(request: DomainRequest) -> None:
    if not is_uuid(request.id):
        raise ValueError(f"{request.id!r} is not a UUID")
    if not PASSWORD.fullmatch(request.console_password):
        raise ValueError("the console's password must be 1 to 8 letters and digits")
    if request.accelerator not in ("kvm", "qemu"):
        raise ValueError(f"there is no accelerator {request.accelerator!r}")
    for path in (
        *(disk.path for disk in request.disks),
        *(m.path for m in request.media if m.path),
    ):
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is not an absolute path")
    ids = [disk.id for disk in request.disks]
    ids += [media.id for media in request.media]
    ids += [card.id for card in request.interfaces]
    for id in ids:
        if not ALIAS.fullmatch(id.replace(".", "-")):
            raise ValueError(f"{id!r} cannot be a device's id")


def _choose_cpu(domain: Domain, request: DomainRequest) -> None:
    mode = request.cpu_mode or "host-passthrough"
    if mode not in CPU_MODES:
        raise ValueError(f"there is no CPU mode {mode!r}")
    if request.accelerator != "kvm" and mode == "host-passthrough":
        mode = "maximum"
    domain.cpu_mode = mode
    if mode == "host-passthrough":
        domain.cpu_check, domain.cpu_migratable = "none", True


def _devices(request: DomainRequest) -> Iterator[Any]:
    spec = request.spec
    yield Controller(type="usb", index=0, model="qemu-xhci")
    if any(disk.bus == "scsi" for disk in request.disks):
        yield Controller(type="scsi", index=0, model="virtio-scsi")
    yield from _disks(request)
    yield from (_interface(at, card) for at, card in enumerate(request.interfaces))
    kinds = _graphics_kinds(spec, request.graphics_available)
    for kind in kinds:
        yield Graphics(
            type=kind,
            autoport=True,
            password=request.console_password,
            listen=request.listen,
            share_policy="ignore" if kind == "vnc" else None,
            listen_type="address",
            listen_address=request.listen,
        )
    yield Video(model=_video(spec, kinds))
    yield from _sound(spec, kinds)
    # An absolute pointer: with a relative one the browser's and the guest's drift apart.
    yield Input(type="tablet", bus="usb")
    yield Channel(type="unix", target_type="virtio", target_name="org.qemu.guest_agent.0")
    if "spice" in kinds:
        yield Channel(type="spicevmc", target_type="virtio", target_name="com.redhat.spice.0")
    # QEMU asks the kernel itself: a host's device file is not always in reach of its private /dev.
    if spec.get("tpm") is True:
        yield Tpm(model="tpm-crb", backend="emulator", version="2.0")
    yield Rng(model="virtio", backend_model="builtin")
    yield Balloon(model="virtio", stats_period_s=10)


def _disks(request: DomainRequest) -> Iterator[Disk]:
    used: dict[str, int] = {}

    def target(bus: str) -> tuple[str, str]:
        if bus not in TARGETS:
            raise ValueError(f"there is no disk bus {bus!r}")
        prefix, real_bus = TARGETS[bus]
        at = used[prefix] = used.get(prefix, -1) + 1
        return prefix + _letters(at), real_bus

    for disk in request.disks:
        name, bus = target(disk.bus)
        yield Disk(
            type="file",
            device="disk",
            driver_name="qemu",
            driver_type=disk.format,
            discard="unmap",
            detect_zeroes="unmap",
            source_file=disk.path,
            target_name=name,
            target_bus=bus,
            alias=f"ua-disk-{disk.id}",
        )
    for media in request.media:
        name, bus = target("sata" if media.kind == "iso" else "fdc")
        yield Disk(
            type="file",
            device="cdrom" if media.kind == "iso" else "floppy",
            driver_name="qemu",
            driver_type="raw",
            source_file=media.path,
            target_name=name,
            target_bus=bus,
            read_only=True,
            alias=f"ua-media-{media.id}",
        )


def _letters(at: int) -> str:
    """a … z, aa, ab …, as disks are counted."""
    letters = string.ascii_lowercase
    return letters[at] if at < 26 else _letters(at // 26 - 1) + letters[at % 26]


def _interface(at: int, card: InterfaceCard) -> Interface:
    if card.kind not in ("network", "bridge", "user"):
        raise ValueError(f"there is no kind of network {card.kind!r}")
    return Interface(
        type=card.kind,
        mac=card.mac,
        network=card.source if card.kind == "network" else None,
        bridge=card.source if card.kind == "bridge" else None,
        filter=card.filter,
        filter_parameter="CTRL_IP_LEARNING" if card.filter and card.learns else None,
        filter_value=card.learns if card.filter else None,
        model=card.model,
        alias=f"ua-net-{at}-{card.id.replace('.', '-')}",
    )


def _graphics_kinds(spec: Mapping[str, Any], available: Sequence[str]) -> list[str]:
    """VNC is always there; SPICE when asked for and to be had."""
    asked = spec.get("graphics") or ["vnc"]
    return ["vnc", *(["spice"] if "spice" in asked and "spice" in available else [])]


def _video(spec: Mapping[str, Any], kinds: Sequence[str]) -> str:
    model = spec.get("video") or "virtio"
    if model not in VIDEOS:
        raise ValueError(f"there is no video {model!r}")
    # QXL belongs to SPICE, and QEMU without the one lacks the other.
    return "virtio" if model == "qxl" and "spice" not in kinds else model


def _sound(spec: Mapping[str, Any], kinds: Sequence[str]) -> Iterator[Sound | Audio]:
    name = spec.get("sound") or "none"
    if name == "none":
        return
    if name not in SOUNDS:
        raise ValueError(f"there is no sound {name!r}")
    yield Sound(model=SOUNDS[name])
    yield Audio(id=1, type="spice" if "spice" in kinds else "none")


def _order_boot(domain: Domain, boot: Sequence[str]) -> None:
    """Numbers the devices in the order asked for: those not asked for are never tried."""
    candidates: dict[str, list[Disk | Interface]] = {
        "disk": [],
        "cdrom": [],
        "floppy": [],
        "network": list(domain.each(Interface, under="devices")),
    }
    for disk in domain.each(Disk, under="devices"):
        candidates[disk.device or "disk"].append(disk)
    order = 0
    for kind in dict.fromkeys(boot):
        if kind not in candidates:
            raise ValueError(f"there is nothing to boot from called {kind!r}")
        for device in candidates[kind]:
            order += 1
            device.boot_order = order
