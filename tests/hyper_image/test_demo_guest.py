"""The demo desktop, built from the distribution's packages and booted on a real host."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial
from pathlib import Path

import libvirt
import pytest

from hyper_image import kvm_probe
from hyper_image.demo_guest import __main__ as builder
from hyper_image.demo_guest import initramfs, packages
from tests.lab import Lab, LabHost, tiny_guest, wait_until

MEMORY_MIB = 96
BOOT_TIMEOUT_S = 120
BLUE = (0, 0, 168)
TOOL_TIMEOUT_S = 120


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with demo.qcow2, vmlinuz and initramfs."""
    folder = tmp_path_factory.mktemp("demo")
    builder.build(folder / "images", folder / "cache")
    return folder / "images"


def start(host: LabHost, connection: libvirt.virConnect, disk: Path) -> libvirt.virDomain:
    xml = tiny_guest.domain_xml("demo", disk, network=True, memory_mib=MEMORY_MIB)
    return connection.createXML(xml)


def shows_its_screen(domain: libvirt.virDomain) -> bool:
    picture = tiny_guest.picture(domain)
    colours = {colour: count for count, colour in picture.getcolors(1 << 20) or []}
    return colours.get(BLUE, 0) > picture.width * picture.height // 10


def test_it_boots_gets_an_address_and_counts_its_boots(lab_host: LabHost, demo: Path) -> None:
    template = shutil.copy(demo / "demo.qcow2", lab_host.storage_root / "templates")
    disk = lab_host.make_disk(Path(template), "demo")
    with libvirt.open(lab_host.libvirt_uri) as connection:
        network = connection.networkLookupByName("default")
        for boot in (1, 2):
            domain = start(lab_host, connection, disk)
            wait_until(partial(shows_its_screen, domain), BOOT_TIMEOUT_S)
            wait_until(network.DHCPLeases, BOOT_TIMEOUT_S)
            domain.shutdown()
            wait_until(lambda: not connection.listAllDomains(), BOOT_TIMEOUT_S)
            assert boots(demo, disk) == boot
    assert (demo / "demo.qcow2").read_bytes() == Path(template).read_bytes()


def boots(demo: Path, disk: Path) -> int:
    """What the guest has written to its disk, read with the tools the disk was made with."""
    raw = disk.with_suffix(".raw")
    run("qemu-img", "convert", "-O", "raw", str(disk), str(raw))
    mtools = demo.parent / "cache" / "packages" / "usr/bin/mtools"
    text = run(str(mtools), "-c", "mtype", "-i", f"{raw}@@1M", "::boots")
    raw.unlink()
    return int(text)


def test_its_kernel_gets_to_the_marker_the_kvm_probe_waits_for(demo: Path) -> None:
    """Under emulation here: whether KVM works is the machine's affair."""
    process = subprocess.Popen(
        [
            *("qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", "256"),
            *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-kernel", str(demo / "vmlinuz"), "-initrd", str(demo / "initramfs")),
            *("-append", "console=ttyS0 quiet panic=-1 isard.probe"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    output, _ = process.communicate(timeout=BOOT_TIMEOUT_S)
    assert kvm_probe.MARKER in output


def test_kvm_is_tried_once_and_the_answer_kept(lab: Lab, demo: Path) -> None:
    probe = (demo / "vmlinuz", demo / "initramfs")
    host = lab.start("h1", probe=probe)
    kept = host.settings.trees / "etc/isard/kvm.json"
    if not Path("/dev/kvm").exists():
        assert not kept.exists()
        return
    first = kept.stat().st_mtime_ns, json.loads(kept.read_text())
    host.stop()
    again = lab.start("h1", probe=probe)
    assert (kept.stat().st_mtime_ns, json.loads(kept.read_text())) == first
    described = json.loads((again.settings.trees / "etc/isard/hypervisor.json").read_text())
    assert described["kvm"] == first[1]["works"]


def test_building_again_changes_nothing(demo: Path) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in demo.iterdir()}
    builder.build(demo, demo.parent / "cache")
    assert {file.name: file.stat().st_mtime_ns for file in demo.iterdir()} == before


def test_the_archive_is_one_that_others_can_read(demo: Path) -> None:
    busybox = packages.fetch(demo.parent / "cache").program("busybox")
    entries = [
        initramfs.Entry("folder", 0o40755),
        initramfs.Entry("folder/file", 0o100644, b"content\n"),
    ]
    archive = initramfs.archive(entries)
    listed = subprocess.run(
        [str(busybox), "cpio", "-t"], input=archive, capture_output=True, check=True, timeout=30
    )
    assert listed.stdout.split() == [b"folder", b"folder/file"]


def test_a_module_comes_after_what_it_needs() -> None:
    assert initramfs.needed_by(b"\0license=GPL\0depends=fat,nls-base\0name=vfat\0") == [
        "fat",
        "nls_base",
    ]
    assert initramfs.needed_by(b"\0depends=\0") == []


def run(*argv: str) -> str:
    return subprocess.run(
        argv, check=True, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S
    ).stdout
