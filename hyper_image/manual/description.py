"""What the host says of itself in /etc/isard/hypervisor.json: does KVM work, and where its viewer
proxy is. Without it the engine emulates all guests.

KVM is tried as everywhere (`kvm_probe.py`), with the kernel this host has in /boot and an
initramfs whose only program writes the marker: a device that is there proves nothing.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import tempfile
from pathlib import Path

from hyper_image import kvm_probe
from hyper_image.configuration import write
from hyper_image.kvm_probe import DESCRIPTION, DEVICE, MARKER, KvmAnswer
from hyper_image.manual.finding import CannotChange, Change, Finding, Options, missing, ok
from hyper_image.manual.programs import find

LOAD_ADDRESS = 0x400000
HEADERS = 64 + 56
DEFAULT_PORT = 6080
UNTRIED = "KVM was not tried on this host, for want of its kernel in /boot: guests are emulated."


def told_port() -> int:
    """The viewer port this host was given before."""
    port = read().get("viewer_port")
    return port if isinstance(port, int) and 0 < port < 65536 else DEFAULT_PORT


def read() -> dict[str, object]:
    try:
        value = json.loads(DESCRIPTION.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def look_at_description(options: Options) -> list[Finding]:
    told = read()
    if told.get("viewer_port") == options.viewer_port and is_up_to_date(told):
        return [ok(f"{DESCRIPTION}: {told.get('kvm_reason')}")]
    todo = f"try KVM with a kernel, and write {DESCRIPTION} (without it guests are emulated)"
    if find(kvm_probe.QEMU) is None:
        return [missing(f"{DESCRIPTION}", "install QEMU, then run this again")]
    return [missing(f"{DESCRIPTION}", todo, Change(todo, lambda: describe(options.viewer_port)))]


def is_up_to_date(told: dict[str, object]) -> bool:
    """The answer is of this kernel, this processor and this QEMU."""
    if not DEVICE.exists():
        return told.get("kvm") is False
    cached = kvm_probe.read_cache()
    if cached is None or find(kvm_probe.QEMU) is None:
        return False
    return cached.key == kvm_probe.machine_key() and told.get("kvm") is cached.works


def describe(viewer_port: int) -> None:
    try:
        answer = find_answer()
    except (subprocess.SubprocessError, KeyError) as error:
        raise CannotChange(f"KVM cannot be tried: {error}") from error
    description = {
        "id": os.uname().nodename,
        "kvm": answer.works,
        "kvm_reason": answer.reason,
        "viewer_port": viewer_port,
        "version": 1,
    }
    write(DESCRIPTION, json.dumps(description) + "\n")


def find_answer() -> KvmAnswer:
    if not DEVICE.exists():
        return KvmAnswer(False, "No KVM on this machine: guests are emulated, which is slower.", "")
    key = kvm_probe.machine_key()
    kernel = Path("/boot", f"vmlinuz-{os.uname().release}")
    answer = try_kvm(kernel, key) if kernel.is_file() else KvmAnswer(False, UNTRIED, key)
    write(kvm_probe.CACHE, json.dumps({"works": answer.works, "reason": answer.reason, "key": key}))
    return answer


def try_kvm(kernel: Path, key: str) -> KvmAnswer:
    """With copies that QEMU's user can read: some distributions keep kernels to root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "kernel").write_bytes(kernel.read_bytes())
        (folder / "initramfs").write_bytes(make_initramfs())
        for path in folder.iterdir():
            path.chmod(0o644)
        return kvm_probe.probe(folder / "kernel", folder / "initramfs", key)


def make_initramfs() -> bytes:
    """An archive (cpio, newc) of a console and the first program."""
    return b"".join(
        (
            entry("dev", 0o040755),
            entry("dev/console", 0o020600, device=(5, 1)),
            entry("init", 0o100755, make_init()),
            entry("TRAILER!!!", 0),
        )
    )


def entry(name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    number = 0 if name == "TRAILER!!!" else len(name)
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return padded(head) + padded(content)


def padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)


def make_init() -> bytes:
    """A program for x86-64 without any library: write(1, MARKER), then wait for the end."""
    text = MARKER + b"\n"
    code = (
        b"\xb8\x01\x00\x00\x00"  # mov eax, 1 (write)
        b"\xbf\x01\x00\x00\x00"  # mov edi, 1
        + b"\x48\x8d\x35\x10\x00\x00\x00"  # lea rsi, [rip + 16]: behind the last instruction
        + b"\xba"
        + struct.pack("<I", len(text))  # mov edx, length
        + b"\x0f\x05"  # syscall
        b"\xb8\x22\x00\x00\x00"  # mov eax, 34 (pause)
        b"\x0f\x05"  # syscall
        b"\xeb\xf7"  # jmp to the pause
    )
    size = HEADERS + len(code) + len(text)
    identification = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = identification + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, LOAD_ADDRESS + HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 0x1000)
    return header + segment + code + text
