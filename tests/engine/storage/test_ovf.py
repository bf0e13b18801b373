"""What is read from the description in an OVA, as programs write it and as nobody should."""

from __future__ import annotations

from typing import Any

import pytest

from engine.storage.ova import PackedDisk, build_ovf
from engine.storage.ovf import TEXT_MAX_BYTES, Hardware, read_hardware
from tests.engine.ovf_texts import BOMB, VIRTUALBOX, VMWARE, envelope, machine

NAMES = ["box.ovf", "box-disk1.vmdk"]


def test_a_description_by_vmware() -> None:
    assert read_hardware(envelope(VMWARE), NAMES) == Hardware(
        name="Office & more",
        vcpus=2,
        memory_mib=4096,
        firmware="uefi",
        os="Microsoft Windows 10 (64-bit)",
        controller="scsi",
        disks=1,
    )


@pytest.mark.parametrize(("said", "firmware"), [('<Firmware type="EFI"/>', "uefi"), ("", "bios")])
def test_a_description_by_virtualbox(said: str, firmware: Any) -> None:
    found = read_hardware(envelope(VIRTUALBOX.format(firmware=said)), NAMES)
    assert found == Hardware("deb", 1, 512, firmware, "Debian_64", "sata", 1)


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_what_we_write_ourselves_is_read_again(firmware: Any) -> None:
    disks = [PackedDisk("a.vmdk", 1, 2), PackedDisk("b.vmdk", 1, 2)]
    text = build_ovf("Büro", 3, 96, disks, firmware)
    found = read_hardware(text.encode(), ["machine.ovf", "a.vmdk", "b.vmdk"])
    assert found == Hardware("Büro", 3, 96, firmware, None, "sata", 2)
    assert read_hardware(text.encode("utf-16"), ["a.vmdk", "b.vmdk"]) == found


@pytest.mark.parametrize(
    ("amount", "units", "memory_mib"),
    [
        ("4096", "byte * 2^20", 4096),
        ("4096", "byte*2^20", 4096),
        ("4", "byte * 2^30", 4096),
        ("2048", "MegaBytes", 2048),
        ("2048", "MB", 2048),
        ("2", "GigaBytes", 2048),
        ("1048576", "KiloBytes", 1024),
        ("1073741824", "byte", 1024),
        ("1000", "byte * 10^6", 953),
        ("1024", "", 1024),
        ("1073741824", "", 1024),
    ],
)
def test_memory_in_every_unit(amount: str, units: str, memory_mib: int) -> None:
    found = read_hardware(machine(memory=amount, units=units), NAMES)
    assert (found.memory_mib, found.notes) == (memory_mib, [])


@pytest.mark.parametrize("vcpus", ["10000", "0", "-1", "two", "2.5", "9" * 400])
def test_processors_nobody_can_give_are_left_out_with_words(vcpus: str) -> None:
    found = read_hardware(machine(vcpus=vcpus), NAMES)
    assert (found.vcpus, found.memory_mib) == (None, 1024)
    (note,) = found.notes
    assert f"It asks for {vcpus[:40]} processors, which is left out: 1 to 512" in note


@pytest.mark.parametrize(
    ("amount", "units"),
    [
        ("-1", "byte * 2^20"),
        ("1", "byte"),
        ("9" * 20, "GB"),
        ("5", "byte * 2^99"),
        ("7", "furlong"),
    ],
)
def test_memory_nobody_can_give_is_left_out_with_words(amount: str, units: str) -> None:
    found = read_hardware(machine(memory=amount, units=units), NAMES)
    assert (found.vcpus, found.memory_mib) == (2, None)
    (note,) = found.notes
    assert f"It asks for {amount} {units} of memory, which is left out" in note


def test_only_the_default_configuration_counts() -> None:
    def item(attributes: str, count: int) -> str:
        kind = f"<rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>{count}"
        return f"<Item {attributes}>{kind}</rasd:VirtualQuantity></Item>"

    options = '<Configuration ovf:id="small"/><Configuration ovf:id="large" ovf:default="true"/>'
    items = (
        item("", 1)
        + item('ovf:configuration="large"', 8)
        + item('ovf:configuration="small"', 2)
        + item('ovf:bound="max"', 64)
    )
    text = (
        f"<DeploymentOptionSection>{options}</DeploymentOptionSection><VirtualSystem>"
        f"<VirtualHardwareSection>{items}</VirtualHardwareSection></VirtualSystem>"
    )
    assert read_hardware(envelope(text), NAMES).vcpus == 8


def test_several_machines_and_missing_disks_are_told() -> None:
    disks = "<DiskSection><Info/><Disk/><Disk/></DiskSection>"
    found = read_hardware(envelope(disks + VMWARE + VIRTUALBOX.format(firmware="")), NAMES)
    assert (found.vcpus, found.disks) == (2, 1)
    assert found.notes == [
        "It describes 2 machines; the hardware is the first one's, the disks are all.",
        "It describes 2 disks, and the archive has 1 to take over (.vmdk).",
    ]


FILE = (
    b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><Envelope><Name>&f;</Name></Envelope>'
)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "there is none"),
        (BOMB, "it declares a document type"),
        (BOMB.decode().encode("utf-16"), "it declares a document type"),
        (FILE, "it declares a document type"),
        (BOMB.decode().encode("utf-16-le"), "it is no XML"),
        (b"\xff\xd8\xff\xe0 a picture", "it is no XML"),
        (machine()[:-20], "it is no XML"),
        (b"<html/>", "it is no OVF envelope"),
        (b"<Envelope>" + b" " * TEXT_MAX_BYTES + b"</Envelope>", "it is larger than 1024 KiB"),
    ],
)
def test_what_is_no_description_is_told_and_nothing_else(content: bytes, why: str) -> None:
    found = read_hardware(content, NAMES)
    assert found == Hardware(disks=1, notes=found.notes)
    assert found.notes[0].startswith(f"Its description is not read: {why}")


def test_depth_and_markup_do_no_harm() -> None:
    deep = b"<Envelope>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</Envelope>"
    assert read_hardware(deep, NAMES).notes == ["Its description has no machine in it."]
    named = machine().replace(b'ovf:id="m"', b'ovf:id="&lt;b&gt;x&#10;y' + b"z" * 200 + b'"')
    name = read_hardware(named, NAMES).name or ""
    assert name.startswith("b x yzz")
    assert len(name) == 80


def test_only_disks_that_an_import_takes_are_counted() -> None:
    names = ["a.ovf", "a.mf", "one.vmdk", "two.vmdk", "../x.vmdk", "three.vhd", ""]
    assert read_hardware(machine(), names).disks == 2
