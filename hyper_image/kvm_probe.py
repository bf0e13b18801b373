"""Does KVM really work here? Decided only by a real Linux kernel that reaches its first program
under it.

A device that opens, or libvirt's capabilities, prove nothing: on some virtual machines /dev/kvm
exists and a boot sector even runs, but no kernel does. So the demo guest's kernel is started once
with the host's own processor model, as QEMU's user; the first program writes a marker to the
serial line. The answer is kept as long as kernel, processor and QEMU stay the same, and published
in /etc/isard/hypervisor.json, which the engine reads over SSH.
"""

from __future__ import annotations

import json
import os
import pwd
import selectors
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, cast

from hyper_image import accounts
from hyper_image.configuration import ISARD, write
from hyper_image.settings import HostSettings

DEVICE = Path("/dev/kvm")
QEMU = "qemu-system-x86_64"
MARKER = b"ISARD-USERLAND-REACHED"
DEADLINE_S = 12.0
VERSION_TIMEOUT_S = 10.0
CACHE = ISARD / "kvm.json"
DESCRIPTION = ISARD / "hypervisor.json"


@dataclass(frozen=True)
class KvmAnswer:
    """`reason` is a sentence either way; `key` says for which kernel, processor and QEMU it
    holds.
    """

    works: bool
    reason: str
    key: str


def describe(settings: HostSettings, say: Callable[[str], None]) -> None:
    """Write what the engine wants to know of this host before anything else is up."""
    answer = find_answer(settings)
    say(answer.reason)
    description = {
        "id": settings.id,
        "kvm": answer.works,
        "kvm_reason": answer.reason,
        "viewer_port": settings.viewer_port,
        "version": 1,
    }
    write(DESCRIPTION, json.dumps(description) + "\n")


def find_answer(settings: HostSettings) -> KvmAnswer:
    if not DEVICE.exists():
        return KvmAnswer(False, "No KVM on this machine: guests are emulated, which is slower.", "")
    if settings.probe_kernel is None or settings.probe_initramfs is None:
        return KvmAnswer(False, "KVM was not tried on this host: guests are emulated.", "")
    key = machine_key()
    cached = read_cache()
    if cached is not None and cached.key == key:
        return cached
    answer = probe(settings.probe_kernel, settings.probe_initramfs, key)
    write(CACHE, json.dumps(asdict(answer)))
    return answer


def probe(kernel: Path, initramfs: Path, key: str) -> KvmAnswer:
    """Start the kernel under KVM and wait for its first program."""
    user = pwd.getpwnam(accounts.QEMU_USER)
    process = subprocess.Popen(
        [
            *("setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--init-groups"),
            QEMU,
            *("-machine", "q35,accel=kvm", "-cpu", "host", "-m", "256"),
            *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-kernel", str(kernel), "-initrd", str(initramfs)),
            *("-append", "console=ttyS0 quiet panic=-1 isard.probe"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output = read_until_marker(process, time.monotonic() + DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    if MARKER in output:
        return KvmAnswer(True, "KVM works: guests run at full speed.", key)
    return KvmAnswer(
        False,
        "KVM is offered but no Linux kernel runs under it: guests are emulated, which is slower.",
        key,
    )


def read_until_marker(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    stream = cast(IO[bytes], process.stdout)
    output = b""
    with selectors.DefaultSelector() as waiting:
        waiting.register(stream, selectors.EVENT_READ)
        while MARKER not in output and (left := deadline - time.monotonic()) > 0:
            if not waiting.select(left):
                break
            chunk = os.read(stream.fileno(), 65536)
            if not chunk:
                break
            output += chunk
    return output


def machine_key() -> str:
    """What the answer depends on: kernel release, processor, QEMU."""
    version = subprocess.run(
        [QEMU, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=True
    )
    first_line = version.stdout.splitlines()[0]
    return " / ".join((os.uname().release, processor_name(), first_line))


def processor_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine


def read_cache() -> KvmAnswer | None:
    try:
        kept = json.loads(CACHE.read_text())
        return KvmAnswer(bool(kept["works"]), str(kept["reason"]), str(kept["key"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
