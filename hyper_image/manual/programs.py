"""The programs a hypervisor needs, and the packages of Debian and Ubuntu that bring them; elsewhere
they are only named. The same list as the image's, and what the engine's checks look for.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hyper_image.manual.finding import Change, Finding, Options, do, missing, ok

PROGRAMS = (
    ("libvirtd", "libvirt-daemon-system", "runs the desktops"),
    ("virsh", "libvirt-clients", "talks to libvirt"),
    ("qemu-system-x86_64", "qemu-system-x86", "is the virtual machine"),
    ("qemu-img", "qemu-utils", "works on disks"),
    ("swtpm", "swtpm", "is the TPM of guests that ask for one"),
    ("swtpm_setup", "swtpm-tools", "makes such a TPM"),
    ("dnsmasq", "dnsmasq-base", "gives addresses to guests"),
    ("iptables", "iptables", "is used by libvirt's networks"),
    ("ip", "iproute2", "makes the guests' networks"),
    ("sshd", "openssh-server", "lets the engine in"),
    ("curl", "curl", "downloads media"),
    ("openssl", "openssl", "looks at certificates"),
    ("flock", "util-linux", "keeps disk operations apart"),
    ("timeout", "coreutils", "ends what hangs"),
    ("find", "findutils", "looks through storage"),
)
FIRMWARE = Path("/usr/share/OVMF")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
QEMU = Path("/usr/bin/qemu-system-x86_64")
QEMU_KVM = Path("/usr/bin/qemu-kvm")
INSTALL_TIMEOUT_S = 1800.0


def look_at_programs(options: Options) -> list[Finding]:
    lacking = [row for row in PROGRAMS if find(row[0]) is None]
    findings = [
        package_missing(f"{name}, which {purpose}", package, options)
        for name, package, purpose in lacking
    ]
    if not FIRMWARE.is_dir():
        findings.append(package_missing("UEFI firmware for guests", "ovmf", options))
    return findings or [ok(f"all {len(PROGRAMS)} programs and the firmware")]


def package_missing(what: str, package: str, options: Options) -> Finding:
    if find("apt-get") is None:
        return missing(what, f"install what your distribution calls {package}")
    change = Change(f"apt-get install {package}", lambda: install(package))
    return missing(what, f"apt-get install {package}", change if options.packages else None)


def install(*packages: str) -> None:
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    argv = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    do(*argv, timeout_s=INSTALL_TIMEOUT_S)


def find(program: str) -> str | None:
    """Also where a person's own PATH does not lead, as to sbin."""
    return shutil.which(program, path=SYSTEM_PATH)


def look_at_qemu_kvm(_: Options) -> list[Finding]:
    """The name that the guide asks for, and that domains made elsewhere may call QEMU by."""
    if os.access(QEMU_KVM, os.X_OK):
        return [ok(f"{QEMU_KVM}")]
    todo = f"ln -s {QEMU} {QEMU_KVM}"
    if not QEMU.exists():
        return [missing(f"{QEMU_KVM}", f"install QEMU, then {todo}")]
    if QEMU_KVM.exists():
        return [missing(f"{QEMU_KVM} is no program", f"see what it is, then {todo}")]
    return [missing(f"{QEMU_KVM}", todo, Change(todo, link_qemu_kvm))]


def link_qemu_kvm() -> None:
    unfinished = QEMU_KVM.with_name(".new-qemu-kvm")
    unfinished.unlink(missing_ok=True)
    unfinished.symlink_to(QEMU)
    unfinished.replace(QEMU_KVM)
